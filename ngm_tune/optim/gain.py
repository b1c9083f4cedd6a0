"""Neuronal gain: one number that scales the effective weights of a network and follows its entropy.

The equations are those of NGM-SGD (arXiv 2507.14056, section 2 of the method):

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
from ngm_tune.optim.layers import Weighted, layers_with_weights_of, select_layers, units

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


def predictive_entropy(logits: Tensor, dim: int = -1) -> Tensor:
    """Entropy of the softmax of ``logits``, one value per prediction.

    Args:
        logits: Unnormalised log-probabilities, classes along ``dim``.
        dim: The class dimension.

    Returns:
        Entropies in nats, between 0 and ln C, of the shape of ``logits`` without ``dim``. Half
        precision is computed in float32.
    """
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    entropy: Tensor = torch.special.entr(logits.softmax(dim)).sum(dim)
    return entropy


class NeuronalGain:
    """The gain of a network: attached to its layers, moved by the entropy of its own predictions.

    Every gained layer computes with ``W_eff = g * W`` (a bias is not multiplied). All gains start
    at the baseline and are driven by the same batch entropy, so the gain per neuron of the paper is
    one number per network, and since layers are linear in their weights it is applied to their
    output: ``g (W x) = (g W) x``, at the cost of one multiplication per output element and of no
    memory, as the backward pass needs neither the product nor what it was made of.

    The gain changes only between training passes (``module.training`` and gradients enabled): an
    evaluation pass computes with the gain of the last training pass and leaves it alone. Entropies
    of several passes before one step (gradient accumulation) are averaged over all predictions, but
    for those that are no numbers: a batch whose logits overflow leaves no mark. Where only its
    gradients do, and a ``GradScaler`` skips the step, its predictions count with those of the next.

    A training pass begins with a call of ``model`` and takes up the gain for all layers, also for
    those that are frozen (``eval()``, ``no_grad``) or checkpointed. Where parts of the model are
    called by themselves, it begins with the first gained layer that is in training mode with
    gradients. Passes within the transforms of ``torch.func`` are not observed.

    Args:
        model: The network. Names of parameters and keys of its ``state_dict`` stay as they are. A
            gain attached to it earlier is removed.
        sensitivity: eta >= 0, how strongly entropy raises the gain.
        smoothing: gamma in [0, 1), the share of the gain's elevation kept from step to step.
        baseline: g_0 > 0, the resting gain.
        layers: ``"all"`` linear and convolutional layers, only the ``"output"`` layer, or the names
            of modules. A layer is gained where it is called: not within ``nn.MultiheadAttention``,
            which computes with the weights of its layers instead, or where your code does the same.
        output: Name of the module that returns the logits; by default the linear or convolutional
            layer registered last.
        normalise_entropy: Divide the entropy by ln C, so that it lies in [0, 1] whatever the number
            of classes and one sensitivity can be carried between benchmarks.

    Raises:
        ValueError: A setting is out of range, a name is not that of a linear or convolutional
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
        self._tied = layers_with_weights_of(gained, model)
        weight = output_layer.weight
        self.value = torch.tensor(baseline, dtype=torch.float32, device=weight.device)
        self._next = self.value
        self._forget()
        self._unseen_steps: int | None = 0

        for former in attached_gains(model):  # or both would multiply, unnoticed
            former.remove()
        self._handles = [
            model.register_forward_pre_hook(self._begin),
            *(layer.register_forward_hook(self._modulate) for layer in gained),  # before _observe
            output_layer.register_forward_hook(self._observe),
        ]
        linear = isinstance(output_layer, nn.Linear)
        self._class_dim = -1 if linear else -1 - len(output_layer.kernel_size)  # type: ignore[arg-type]
        self._classes = units(output_layer)

    def _forget(self) -> None:
        """Start to observe anew."""
        self._seen: Tensor | None = None
        self._trained = False

    def _begin(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        """Take up the gain, if a training pass comes through the module."""
        if module.training and torch.is_grad_enabled():
            self.value = self._next
            self._trained, self._unseen_steps = True, None

    def _modulate(self, layer: Weighted, args: tuple[Any, ...], output: Tensor) -> Tensor:
        self._begin(layer, args)
        if output.is_nested:  # which no bias can be added to
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
        """Compute g_{t+1}, for the next training pass, from the entropy seen since the last call.

        Without a training pass in between the gain stays as it is. It also does, with a warning,
        where the output layer took no part in the training pass, or none was seen by the second
        step (a first step without one is how distributed checkpoints set an optimizer up).

        Args:
            processes: Those that train replicas of the network, each on examples of its own, and
                all call this: their predictions count together and their gains stay the same.
        """
        seen = self._seen
        if seen is None:
            self._warn_if_blind()
            if processes is None:
                return
            seen = torch.zeros(2, device=self.value.device)
        if processes is not None:
            seen = seen.to(self.value.dtype)
            torch.distributed.all_reduce(seen, group=processes)
        entropy_sum, predictions = seen
        self._next = torch.where(predictions > 0, self.after(entropy_sum / predictions), self._next)
        self._forget()

    def _warn_if_blind(self) -> None:
        if self._unseen_steps is not None:
            self._unseen_steps += 1
            if self._unseen_steps == 2 and self.sensitivity > 0.0:
                warnings.warn(
                    "the gain saw no training pass before the second step: give the optimizer the "
                    "model that is trained, call model.train(), and build the optimizer before a "
                    "compiled model is first called",
                    stacklevel=5,
                )
        if self._trained:
            warnings.warn(
                "the gain saw no logits: the layer taken for the output layer took no part in the "
                "training pass, or is in evaluation mode; name the right one with output=... (what "
                "torch.func transforms is not seen)",
                stacklevel=5,
            )

    def after(self, entropy: Tensor) -> Tensor:
        """g_{t+1}, were ``entropy``, a scalar in nats, that of the latest training pass."""
        return next_gain(
            self.value,
            entropy / math.log(self._classes) if self.normalise_entropy else entropy,
            sensitivity=self.sensitivity,
            smoothing=self.smoothing,
            baseline=self.baseline,
        )

    def override(self, gain: Tensor) -> None:
        """Take up this gain, a scalar, at the next training pass instead of that found."""
        self._next = gain

    def copy_to(self, copy: nn.Module) -> None:
        """Give a deep copy of the model the gain of now.

        A copy, such as a teacher or the moving average of ``torch.optim.swa_utils``, is made with
        the gain of that moment, which moves no more, also where its weights are replaced later.

        Args:
            copy: A deep copy of the model, made with the gain attached, or a module around one.

        Raises:
            ValueError: It has no gain.
        """
        gains = attached_gains(copy)
        if not gains:
            raise ValueError(f"{type(copy).__name__} has no gain: it is no copy of a gained model")
        for gain in gains:
            gain.value = gain._next = self.value

    def remove(self) -> None:
        """Detach from the model, which from then on computes with its plain weights."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    @torch.no_grad()
    def fold(self) -> None:
        """Multiply the weights by the gain, for good, and detach from the model.

        Its ``state_dict`` is then all that the network is: for evaluation elsewhere, or for export.

        Raises:
            RuntimeError: The gain is not attached (any longer), or the weight of a gained layer is
                not its own: computed from other parameters, as by
                ``torch.nn.utils.parametrizations``, or that of a layer without gain, such as an
                embedding, which would be multiplied with it.
        """
        if not self._handles:
            raise RuntimeError("the gain is not attached to the model: there is nothing to fold")
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
        for weight in dict.fromkeys(layer.weight for layer in self.layers):  # some may be shared
            weight.mul_(self.value)
        self.remove()

    def state_dict(self) -> dict[str, Any]:
        """Settings and both gains: g_t, which evaluation uses, and g_{t+1}."""
        return {
            "sensitivity": self.sensitivity,
            "smoothing": self.smoothing,
            "baseline": self.baseline,
            "normalise_entropy": self.normalise_entropy,
            "value": self.value.clone(),
            "next": self._next.clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned; entropy not yet used by a step is dropped."""
        self.sensitivity = state["sensitivity"]
        self.smoothing = state["smoothing"]
        self.baseline = state["baseline"]
        self.normalise_entropy = state["normalise_entropy"]
        self.value = state["value"].to(self.value.device, copy=True)
        self._next = state["next"].to(self.value.device, copy=True)
        self._forget()


def _is_transformed(values: Tensor) -> bool:
    """Whether these are of a ``torch.func`` transform, which they must not be kept beyond."""
    return not torch.compiler.is_compiling() and torch._C._functorch.is_functorch_wrapped_tensor(
        values
    )


def attached_gains(model: nn.Module) -> list[NeuronalGain]:
    """The gains attached to a model or to parts of it, each once: usually one, or none."""
    hooks = (hook for module in model.modules() for hook in module._forward_hooks.values())
    owners = (getattr(hook, "__self__", None) for hook in hooks)
    return [*dict.fromkeys(owner for owner in owners if isinstance(owner, NeuronalGain))]
