"""Neuronal gain: a scalar that multiplies a network's weights and follows its predictive entropy.

The equations of NGM-SGD (arXiv 2507.14056):

    z_t     = f(x_t; g_t * W_t)                               logits of a training batch
    H_t     = mean over the batch of -sum_c pi_c log pi_c     nats, pi = softmax(z_t)
    g_{t+1} = gamma * g_t + (1 - gamma) * g_0 + eta * H_t
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ngm_tune.optim.dynamics import check_dynamics, next_gain
from ngm_tune.optim.layers import (
    Weighted,
    find_tied_modules,
    select_layers,
    spatial_dimensions,
    weighted_layers,
)
from ngm_tune.optim.predictions import (
    class_dimension,
    find_logits,
    is_training_pass,
    is_transformed,
    predictive_entropy,
)

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


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
    frozen layers (``eval()``, ``no_grad``) and checkpointed layers. The predictions are what
    ``model`` returns: a tensor, an attribute or key ``logits``, or the first tensor of a tuple that
    has two or more dimensions. If code never calls the model, only parts of it, as in
    ``model.head(model.body(x))``, the pass begins with the first part in training mode, and the
    predictions are what the last part returns. Passes inside transforms of ``torch.func`` are not
    observed.

    Args:
        model: The network. Its parameter names and ``state_dict`` keys do not change. A gain that
            was attached earlier is removed.
        sensitivity: eta >= 0, the increase of the gain per nat of entropy and step.
        smoothing: gamma in [0, 1), the fraction of ``g - g_0`` that remains after a step.
        baseline: g_0 > 0, the resting gain.
        layers: ``"all"`` for all linear and convolutional layers, ``"output"`` for the output layer
            only (the module ``output``, or the layer that is registered last), or a list of module
            names. The gain acts in the layer's ``forward``. It has no effect where code uses the
            weight directly, as ``nn.MultiheadAttention`` does.
        output: Name of the module that returns the logits, or names of several whose predictions
            are pooled. By default the predictions are what ``model`` returns.
        normalise_entropy: Divide the entropy by ln C, which maps it to [0, 1]. One sensitivity then
            transfers between benchmarks with different numbers of classes.

    Raises:
        ValueError: A setting is out of range, a name does not belong to a module, or the
            ``forward`` of a gained layer is not that of a linear or convolutional layer.
    """

    model: nn.Module
    """The network."""
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
        output: str | Iterable[str] | None = None,
        normalise_entropy: bool = False,
    ) -> None:
        check_dynamics(sensitivity, smoothing, baseline)
        self.sensitivity = sensitivity
        self.smoothing = smoothing
        self.baseline = baseline
        self.normalise_entropy = normalise_entropy
        self.model = model
        self._selected = layers if isinstance(layers, str) else list(layers)
        self._outputs = [output] if isinstance(output, str) else list(output or [])
        self._handles: list[Any] = []
        self._unseen_steps: int | None = 0
        self._last: Weighted | None = None
        self.attach()
        device = self.layers[0].weight.device
        self.value = torch.tensor(baseline, dtype=torch.float32, device=device)
        self._next = self.value
        self._forget()

    def attach(self) -> None:
        """Attach the gain to the layers that the model has now, and keep its value.

        Call this after modules of the model were replaced, such as the head of a growing network.

        Raises:
            ValueError: As for the constructor. The gain then stays as it was.
        """
        model, outputs = self.model, self._outputs
        modules = dict(model.named_modules(remove_duplicate=False))
        for name in outputs:
            if name not in modules:
                raise ValueError(
                    f"output names {name!r}, which is not a module of {type(model).__name__}"
                )
        gained = select_layers(model, self._selected, outputs[0] if outputs else None)
        self.layers = tuple(gained)
        self._tied = find_tied_modules(gained, model)
        # The layer that is registered last is likely to compute the logits.
        self._candidates = [layer for _, layer in weighted_layers(model)][::-1]
        paths = [name.split(".") for name, module in modules.items() if module in gained]
        prefixes = {".".join(path[:end]) for path in paths for end in range(1, len(path) + 1)}
        prefixes.discard("")
        self._places = [
            (name, modules[name.rpartition(".")[0]], name.rpartition(".")[2], modules[name])
            for name in prefixes
        ]

        for former in (self, *attached_gains(model)):  # two attached gains would both multiply
            former.remove()
        _forget_compiled_code()
        weighted = set(self._candidates)
        called = [m for name, m in modules.items() if "parametrizations" not in name.split(".")]
        for module in dict.fromkeys(called):
            if module not in gained and (module in weighted or _may_predict(module)):
                self._handles += [
                    module.register_forward_pre_hook(self._enter),
                    module.register_forward_hook(self._leave, always_call=True),
                ]
        self._handles += [layer.register_forward_hook(self._modulate) for layer in gained]
        for module in dict.fromkeys(modules[name] for name in outputs):  # after the modulation
            self._handles.append(module.register_forward_hook(self._observe_output))

    def _forget(self) -> None:
        """Discard the observed entropies."""
        self._depth = 0
        self._is_training = False
        self._seen: dict[nn.Module | None, Tensor] = {}
        self._source: nn.Module | None = None
        self._given: Tensor | None = None
        self._unreadable: str | None = None
        self._trained = False

    def _enter(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        """Note the call of a module that may return the predictions."""
        if self._depth == 0:
            self._begin(module)
        self._depth += 1

    def _leave(self, module: nn.Module, args: tuple[Any, ...], returned: Any) -> None:
        """Note the end of such a call, also if it raised an exception."""
        self._depth -= 1
        if self._depth == 0 and returned is not None:
            self._observe_call(module, returned)

    def _begin(self, module: nn.Module) -> None:
        """Set the gain to g_{t+1} if this call is the start of a training pass."""
        self._is_training = is_training_pass(module)
        if self._is_training:
            self.value = self._next
            self._trained, self._unseen_steps = True, None

    def _modulate(self, layer: Weighted, args: tuple[Any, ...], output: Tensor) -> Tensor:
        self._last = layer
        if self._depth == 0:  # not called by another module
            self._begin(layer)
            modulated = self._multiply(layer, args, output)
            self._observe_call(layer, modulated)
            return modulated
        return self._multiply(layer, args, output)

    def _multiply(self, layer: Weighted, args: tuple[Any, ...], output: Tensor) -> Tensor:
        """Return the output that the layer would have with the weight ``g * W``."""
        if output.is_nested:  # nested tensors do not support the addition of a bias
            return F.linear(args[0], self.value * layer.weight, layer.bias)
        if layer.bias is None:
            return output * self.value
        bias = layer.bias
        if spatial := spatial_dimensions(layer):
            bias = bias.view(-1, *[1] * spatial)
        if bias.dtype == output.dtype == self.value.dtype:
            return torch.lerp(bias, output, self.value)  # b + g (W x + b - b), in one pass
        return output * self.value + ((1 - self.value) * bias).to(output.dtype)

    def _observe_call(self, module: nn.Module, returned: Any) -> None:
        """Observe what the model returns, or a part of it that was called without the model."""
        if not self._outputs and self._is_training:
            self._observe_returned(module, returned)

    def _observe_output(self, module: nn.Module, args: tuple[Any, ...], returned: Any) -> None:
        """Observe what a named output returns."""
        if self._is_training if self._depth else is_training_pass(module):
            self._observe_returned(None, returned)

    def _observe_returned(self, source: nn.Module | None, returned: Any) -> None:
        logits = find_logits(returned)
        if logits is None:
            self._unreadable = f"a {type(returned).__name__} without logits"
        elif not is_transformed(logits):
            dim = self._class_dimension(logits)
            if dim is None:
                self._unreadable = f"values of shape {tuple(logits.shape)}, with a single class"
                return
            seen = self._sum(self.entropies(logits.detach(), dim))
            self._seen[source] = self._seen[source] + seen if source in self._seen else seen
            self._source = source
            self._unseen_steps = None

    def _sum(self, entropies: Tensor) -> Tensor:
        """Return the sum of the entropies that are numbers, and how many these are, shape (2,)."""
        flat = entropies.to(self.value.dtype).flatten()
        return torch.stack((flat, flat.isfinite().to(flat.dtype))).nansum(dim=1)

    def entropies(self, logits: Tensor, dim: int | None = None) -> Tensor:
        """Return the entropies of predictions.

        Args:
            logits: Logits of any shape.
            dim: The class dimension. By default it is found from the layers of the model.

        Returns:
            Entropies in nats, or between 0 and 1 with ``normalise_entropy``, in the shape of
            ``logits`` without the class dimension.

        Raises:
            ValueError: There is a single class.
        """
        dim = self._class_dimension(logits) if dim is None else dim
        if dim is None or logits.size(dim) < 2:
            raise ValueError(
                f"logits of shape {tuple(logits.shape)} have a single class, whose softmax has no "
                "entropy"
            )
        entropies = predictive_entropy(logits, dim)
        return entropies / math.log(logits.size(dim)) if self.normalise_entropy else entropies

    def _class_dimension(self, logits: Tensor) -> int | None:
        """Return the class dimension of logits; None if there is a single class."""
        # The layer that ran last is the likeliest to have computed them.
        likeliest = [] if self._last is None else [self._last]
        dim = class_dimension(logits, [*likeliest, *self._candidates])
        return None if dim is None or logits.size(dim) < 2 else dim

    def observe(
        self, logits: Tensor, *, mask: Tensor | None = None, dim: int | None = None
    ) -> None:
        """Take the predictions of a training pass from the training loop.

        Until the next step, the gain follows these predictions only, and not what modules return.
        Several calls pool their predictions.

        Args:
            logits: Logits of any shape.
            mask: Predictions that count, such as those of tokens that are not padding: boolean, in
                the shape of ``logits`` without the class dimension. By default all count.
            dim: The class dimension. The default is that of the model's layers.

        Raises:
            ValueError: There is a single class, or the mask has another shape.
        """
        entropies = self.entropies(logits.detach(), dim)
        if mask is not None:
            if mask.shape != entropies.shape:
                raise ValueError(
                    f"mask has shape {tuple(mask.shape)}; the predictions have shape "
                    f"{tuple(entropies.shape)}"
                )
            entropies = entropies[mask.bool()]
        self.observe_entropy(entropies)

    def observe_entropy(self, entropy: Tensor) -> None:
        """Take the entropies of the predictions of a training pass, as :meth:`observe` does.

        Args:
            entropy: Entropies of any shape, in nats, or between 0 and 1 with ``normalise_entropy``.
        """
        entropy = entropy.detach()
        seen = self._sum(entropy.where(entropy.isfinite(), torch.nan))
        self._given = seen if self._given is None else self._given + seen
        self._unseen_steps = None

    def advance(self, processes: ProcessGroup | None = None) -> None:
        """Compute g_{t+1} from the entropy of the training passes since the last call.

        The next training pass uses g_{t+1}. Without a training pass since the last call, the gain
        does not change. A warning is issued if a gained layer is no longer part of the model, if a
        training pass returned no logits, or if no training pass precedes the second step. The first
        step may lack one, because distributed checkpoints initialise optimizers with such a step.

        Args:
            processes: The process group of the replicas of the network. All of its processes must
                call this method. The entropy is averaged over the predictions of all processes, so
                their gains stay equal.
        """
        self._warn_of_replaced_modules()
        source = self.model if self.model in self._seen else self._source
        seen = self._seen.get(source) if self._given is None else self._given
        if seen is None:
            self._warn_of_missing_passes()
            if processes is None:
                self._forget()
                return
            seen = torch.zeros(2, device=self.layers[0].weight.device)
        with torch.inference_mode(False):
            if processes is not None:
                seen = seen.clone()
                torch.distributed.all_reduce(seen, group=processes)
            following = self.compute_next(seen[0] / seen[1])
            self._next = torch.where(following.isnan(), self._next, following)
        self._forget()

    def _warn_of_replaced_modules(self) -> None:
        replaced = [
            name
            for name, parent, key, module in self._places
            if parent._modules.get(key) is not module
        ]
        if replaced:  # but a module that was wrapped is still there
            present = set(self.model.modules())
            replaced = [name for name, _, _, module in self._places if module not in present]
        if replaced:
            warnings.warn(
                f"{min(replaced, key=len)} was replaced and is no longer part of the model, so its "
                "successor has no gain; call the optimizer's reattach() after replacing modules",
                stacklevel=5,
            )

    def _warn_of_missing_passes(self) -> None:
        if self._unseen_steps is not None:
            self._unseen_steps += 1
            if self._unseen_steps == 2 and self.sensitivity > 0.0:
                warnings.warn(
                    "the gain observed no training pass before the second step; pass the trained "
                    "model to the optimizer and call model.train()",
                    stacklevel=5,
                )
        if self._trained:
            if self._outputs:
                reason = f"{' and '.join(self._outputs)} took no part in the training pass"
            elif self._unreadable:
                reason = f"the model returned {self._unreadable}"
            else:
                reason = "calls inside torch.func transforms are not observed"
            warnings.warn(
                f"the gain observed no logits: {reason}; name the module that returns them with "
                "output=..., or pass them to the optimizer's observe()",
                stacklevel=5,
            )

    def compute_next(self, entropy: Tensor) -> Tensor:
        """Return g_{t+1}, a scalar, if the latest training pass has this entropy.

        Args:
            entropy: H_t, a scalar, in nats, or between 0 and 1 with ``normalise_entropy``.
        """
        return next_gain(
            self.value,
            entropy,
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
        with torch.inference_mode(False):
            self.value = state["value"].to(self.value.device, copy=True)
            self._next = state["next"].to(self.value.device, copy=True)
        self._forget()


def _may_predict(module: nn.Module) -> bool:
    """Whether a module has parameters, and is more than a single layer of torch."""
    is_layer = type(module).__module__.startswith("torch.nn.") and not any(module.children())
    return not is_layer and next(module.parameters(), None) is not None


def _forget_compiled_code() -> None:
    """Discard compiled code: torch does not check whether a compiled module has new hooks."""
    if "torch._dynamo" in sys.modules:
        torch._dynamo.reset()


def attached_gains(model: nn.Module) -> list[NeuronalGain]:
    """Return the gains attached to a model or to its submodules, without duplicates."""
    hooks = (hook for module in model.modules() for hook in module._forward_hooks.values())
    owners = (getattr(hook, "__self__", None) for hook in hooks)
    return [*dict.fromkeys(owner for owner in owners if isinstance(owner, NeuronalGain))]
