"""Neuronal gain: a scalar that multiplies a network's weights and follows its predictive entropy.

The equations of NGM-SGD (arXiv 2507.14056):

    z_t     = f(x_t; g_t * W_t)                               logits of a training batch
    H_t     = mean over the batch of -sum_c pi_c log pi_c     nats, pi = softmax(z_t)
    g_{t+1} = gamma * g_t + (1 - gamma) * g_0 + eta * H_t
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ngm_tune.optim.dynamics import check_dynamics, next_gain
from ngm_tune.optim.layers import Weighted, count_units, find_tied_modules, select_layers

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


def predictive_entropy(logits: Tensor, dim: int = -1) -> Tensor:
    """Compute the entropy of the softmax of ``logits``.

    Args:
        logits: Unnormalised log-probabilities, classes along ``dim``.
        dim: The class dimension.

    Returns:
        Entropies in nats, from 0 to ln C. The shape is that of ``logits`` without ``dim``. Inputs
        in half precision give float32.
    """
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    entropy: Tensor = torch.special.entr(logits.softmax(dim)).sum(dim)
    return entropy


class NeuronalGain:
    """A gain that is attached to the layers of a network and follows its predictive entropy.

    Every gained layer computes with ``W_eff = g * W``; biases are not multiplied. All gains start
    at the baseline and follow the same batch entropy, so the paper's gain per neuron is one scalar
    per network. Layers are linear in their weights, so the gain multiplies their outputs:
    ``(g W) x = g (W x)``. This costs one multiplication per output element and no memory.

    The gain changes between training passes only. A training pass is a forward pass in training
    mode with gradients enabled. Evaluation passes use the gain of the latest training pass. If
    several passes precede a step (gradient accumulation), the entropy is averaged over all of their
    predictions. Predictions with a non-finite entropy are left out, so a batch whose logits
    overflow has no effect. If only the gradients overflow and a ``GradScaler`` skips the step, the
    predictions of the batch count in the next step.

    A training pass begins with a call of ``model``, and all layers then use the new gain, including
    frozen layers (``eval()``, ``no_grad``) and checkpointed layers. If submodules are called
    without ``model``, the pass begins with the first gained layer in training mode. Passes inside
    transforms of ``torch.func`` are not observed.

    Args:
        model: The network. Its parameter names and ``state_dict`` keys do not change. A gain that
            was attached earlier is removed.
        sensitivity: eta >= 0, the increase of the gain per nat of entropy and step.
        smoothing: gamma in [0, 1), the fraction of ``g - g_0`` that remains after a step.
        baseline: g_0 > 0, the resting gain.
        layers: ``"all"`` for all linear and convolutional layers, ``"output"`` for the output layer
            only, or names of modules. The gain acts in the layer's ``forward``. It has no effect
            where code uses the weight directly, as ``nn.MultiheadAttention`` does.
        output: Name of the module that returns the logits. The default is the linear or
            convolutional layer that is registered last.
        normalise_entropy: Divide the entropy by ln C, which maps it to [0, 1]. One sensitivity then
            transfers between benchmarks with different numbers of classes.

    Raises:
        ValueError: A setting is out of range, a name does not belong to a linear or convolutional
            layer, or the output layer has a single unit.
    """

    value: Tensor
    """g_t, the gain of the latest training pass; a scalar."""
    layers: tuple[Weighted, ...]
    """The gained layers."""

    def __init__(
        self,
        model: nn.Module,
        *,
        sensitivity: float,
        smoothing: float,
        baseline: float = 1.0,
        layers: str | Iterable[str] = "all",
        output: str | None = None,
        normalise_entropy: bool = False,
    ) -> None:
        check_dynamics(sensitivity, smoothing, baseline)
        self.sensitivity = sensitivity
        self.smoothing = smoothing
        self.baseline = baseline
        self.normalise_entropy = normalise_entropy

        output_layer, gained = select_layers(model, layers, output)
        self.layers = tuple(gained)
        self._tied = find_tied_modules(gained, model)
        weight = output_layer.weight
        self.value = torch.tensor(baseline, dtype=torch.float32, device=weight.device)
        self._next = self.value
        self._forget()
        self._unseen_steps: int | None = 0

        for former in attached_gains(model):  # two attached gains would both multiply
            former.remove()
        self._handles = [
            model.register_forward_pre_hook(self._begin),
            *(layer.register_forward_hook(self._modulate) for layer in gained),  # before _observe
            output_layer.register_forward_hook(self._observe),
        ]
        linear = isinstance(output_layer, nn.Linear)
        self._class_dim = -1 if linear else -1 - len(output_layer.kernel_size)  # type: ignore[arg-type]
        self._classes = count_units(output_layer)

    def _forget(self) -> None:
        """Discard the observed entropies."""
        self._seen: Tensor | None = None
        self._trained = False

    def _begin(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        """Set the gain to g_{t+1} if this call of a module is part of a training pass."""
        if module.training and torch.is_grad_enabled():
            self.value = self._next
            self._trained, self._unseen_steps = True, None

    def _modulate(self, layer: Weighted, args: tuple[Any, ...], output: Tensor) -> Tensor:
        self._begin(layer, args)
        if output.is_nested:  # nested tensors do not support the addition of a bias
            return F.linear(args[0], self.value * layer.weight, layer.bias)
        if layer.bias is None:
            return output * self.value
        spatial = 0 if isinstance(layer, nn.Linear) else len(layer.kernel_size)
        bias = (1 - self.value) * layer.bias.view(-1, *[1] * spatial)
        return output * self.value + bias.to(output.dtype)

    def _observe(self, layer: nn.Module, args: tuple[Any, ...], logits: Tensor) -> None:
        if layer.training and torch.is_grad_enabled() and not _is_transformed(logits):
            entropy = predictive_entropy(logits.detach(), self._class_dim)
            finite = entropy.isfinite()
            seen = torch.stack([entropy.where(finite, 0.0).sum(), finite.sum()])
            self._seen = seen if self._seen is None else self._seen + seen
            self._unseen_steps = None

    def advance(self, processes: ProcessGroup | None = None) -> None:
        """Compute g_{t+1} from the entropy of the training passes since the last call.

        The next training pass uses g_{t+1}. Without a training pass since the last call, the gain
        does not change. A warning is issued if the output layer took no part in a training pass, or
        if no training pass precedes the second step. The first step may lack one, because
        distributed checkpoints initialise optimizers with such a step.

        Args:
            processes: The process group of the replicas of the network. All of its processes must
                call this method. The entropy is averaged over the predictions of all processes, so
                their gains stay equal.
        """
        seen = self._seen
        if seen is None:
            self._warn_of_missing_passes()
            if processes is None:
                return
            seen = torch.zeros(2, device=self.value.device)
        if processes is not None:
            seen = seen.to(self.value.dtype)
            torch.distributed.all_reduce(seen, group=processes)
        entropy_sum, predictions = seen
        self._next = torch.where(
            predictions > 0, self.compute_next(entropy_sum / predictions), self._next
        )
        self._forget()

    def _warn_of_missing_passes(self) -> None:
        if self._unseen_steps is not None:
            self._unseen_steps += 1
            if self._unseen_steps == 2 and self.sensitivity > 0.0:
                warnings.warn(
                    "the gain observed no training pass before the second step; pass the trained "
                    "model to the optimizer, call model.train(), and build the optimizer before "
                    "the first call of a compiled model",
                    stacklevel=5,
                )
        if self._trained:
            warnings.warn(
                "the gain observed no logits: the output layer took no part in the training pass, "
                "or is in evaluation mode; name the output layer with output=... (calls inside "
                "torch.func transforms are not observed)",
                stacklevel=5,
            )

    def compute_next(self, entropy: Tensor) -> Tensor:
        """Return g_{t+1}, a scalar, if the latest training pass has this entropy.

        Args:
            entropy: H_t in nats, a scalar.
        """
        return next_gain(
            self.value,
            entropy / math.log(self._classes) if self.normalise_entropy else entropy,
            sensitivity=self.sensitivity,
            smoothing=self.smoothing,
            baseline=self.baseline,
        )

    def override(self, gain: Tensor) -> None:
        """Use ``gain``, a scalar, in the next training pass instead of the computed g_{t+1}."""
        self._next = gain

    def copy_to(self, copy: nn.Module) -> None:
        """Set the gain of a deep copy of the model to the current gain.

        A deep copy, such as a teacher or an average of ``torch.optim.swa_utils``, keeps the gain
        that the model had when it was copied. The gain of the copy does not follow the model.

        Args:
            copy: A deep copy of the model, made while the gain was attached, or a module that
                contains such a copy.

        Raises:
            ValueError: ``copy`` has no gain.
        """
        gains = attached_gains(copy)
        if not gains:
            raise ValueError(
                f"{type(copy).__name__} has no gain: it is not a copy of a gained model"
            )
        for gain in gains:
            gain.value = gain._next = self.value

    def remove(self) -> None:
        """Detach the gain; the model then computes with its plain weights."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    @torch.no_grad()
    def fold(self) -> None:
        """Multiply the weights by the gain in place, and detach the gain from the model.

        The ``state_dict`` of the model then describes the network completely, for evaluation
        without ngm-tune or for export.

        Raises:
            RuntimeError: The gain is not attached, or the weight of a gained layer is computed from
                other parameters, as by ``torch.nn.utils.parametrizations``, or is shared with a
                module without a gain, such as an embedding.
        """
        if not self._handles:
            raise RuntimeError("the gain is not attached to the model, so it cannot be folded")
        for layer in self.layers:
            if "weight" not in layer._parameters:
                raise RuntimeError(
                    f"the weight of {layer} is computed from other parameters, into which the gain "
                    "cannot be multiplied; remove the parametrization first"
                )
        if self._tied:
            raise RuntimeError(
                f"a gained layer shares its weight with {', '.join(self._tied)}, which has no gain "
                "and would be multiplied as well; give one of them a copy of the weight, and build "
                "the gain after that"
            )
        for weight in dict.fromkeys(layer.weight for layer in self.layers):  # shared weights once
            weight.mul_(self.value)
        self.remove()

    def state_dict(self) -> dict[str, Any]:
        """Return the settings, g_t (``value``) and g_{t+1} (``next``)."""
        return {
            "sensitivity": self.sensitivity,
            "smoothing": self.smoothing,
            "baseline": self.baseline,
            "normalise_entropy": self.normalise_entropy,
            "value": self.value.clone(),
            "next": self._next.clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load a state from :meth:`state_dict`; entropies observed since the last step are lost."""
        self.sensitivity = state["sensitivity"]
        self.smoothing = state["smoothing"]
        self.baseline = state["baseline"]
        self.normalise_entropy = state["normalise_entropy"]
        self.value = state["value"].to(self.value.device, copy=True)
        self._next = state["next"].to(self.value.device, copy=True)
        self._forget()


def _is_transformed(values: Tensor) -> bool:
    """Whether a tensor belongs to a ``torch.func`` transform, which it must not outlive."""
    return not torch.compiler.is_compiling() and torch._C._functorch.is_functorch_wrapped_tensor(
        values
    )


def attached_gains(model: nn.Module) -> list[NeuronalGain]:
    """Return the gains attached to a model or to its submodules, without duplicates."""
    hooks = (hook for module in model.modules() for hook in module._forward_hooks.values())
    owners = (getattr(hook, "__self__", None) for hook in hooks)
    return [*dict.fromkeys(owner for owner in owners if isinstance(owner, NeuronalGain))]
