"""Neuronal gain: a scalar that multiplies a network's weights and follows its predictive entropy.

The equations of NGM-SGD (arXiv 2507.14056):

    z_t     = f(x_t; g_t * W_t)                               logits of a training batch
    H_t     = mean over the batch of -sum_c pi_c log pi_c     nats, pi = softmax(z_t)
    g_{t+1} = gamma * g_t + (1 - gamma) * g_0 + eta * H_t
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ngm_tune.optim.dynamics import check_dynamics, next_gain
from ngm_tune.optim.gain_buffer import NAME, GainBuffer
from ngm_tune.optim.layers import (
    Places,
    Weighted,
    multiply_weights,
    select_layers,
    spatial_dimensions,
)
from ngm_tune.optim.observer import PredictionObserver
from ngm_tune.optim.predictions import is_transforming

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
        buffer: Keep g_t and g_{t+1} in a buffer of the model, so that they are part of its
            ``state_dict``. If the model has such a buffer already, it is kept, and the gains start
            from its values.

    Raises:
        ValueError: A setting is out of range, a name does not belong to a module, or the
            ``forward`` of a gained layer is not that of a linear or convolutional layer.
    """

    model: nn.Module
    """The network."""
    value: Tensor
    """g_t, the gain of the latest training pass; a scalar."""
    following: Tensor
    """g_{t+1}, the gain of the next training pass; a scalar."""
    layers: tuple[Weighted, ...]
    """The gained layers."""
    observer: PredictionObserver
    """What observes the predictions."""

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
        buffer: bool = False,
    ) -> None:
        self.model = model
        self.observer = PredictionObserver(
            [output] if isinstance(output, str) else output or [],
            normalise_entropy=normalise_entropy,
            on_begin=self._begin,
        )
        self._selected = layers if isinstance(layers, str) else list(layers)
        self._handles: list[Any] = []
        self._steps_without_pass = 0
        self._buffer: GainBuffer | None = None
        self._owner = model if buffer else None
        self._lacks_gain = self._has_new_gain = False
        self.value = self.following = torch.tensor(baseline, dtype=torch.float32, device="cpu")
        self.configure(
            sensitivity=sensitivity,
            smoothing=smoothing,
            baseline=baseline,
            normalise_entropy=normalise_entropy,
        )
        self.attach()

    def configure(
        self, *, sensitivity: float, smoothing: float, baseline: float, normalise_entropy: bool
    ) -> None:
        """Change the settings of the dynamics. The arguments are those of the constructor.

        Raises:
            ValueError: A setting is out of range.
        """
        check_dynamics(sensitivity, smoothing, baseline)
        self.sensitivity = sensitivity
        self.smoothing = smoothing
        self.baseline = baseline
        self.observer.normalise_entropy = normalise_entropy
        self._rest = torch.full_like(self.value, baseline)

    def attach(self) -> None:
        """Attach the gain to the layers that the model has now, and keep its value.

        Call this after modules of the model were replaced, such as the head of a growing network.

        Raises:
            ValueError: As for the constructor. The gain then stays as it was.
        """
        model, outputs = self.model, self.observer.outputs
        modules = dict(model.named_modules(remove_duplicate=False))
        for name in outputs:
            if name not in modules:
                raise ValueError(
                    f"output names {name!r}, which is not a module of {type(model).__name__}"
                )
        gained = select_layers(model, self._selected, outputs[0] if outputs else None)
        device = gained[0].weight.device
        if device.type == "meta":
            raise ValueError("the model is on the meta device; give it weights before a gain")
        formers = attached_gains(model)
        kept = next((former._buffer for former in formers if former._buffer is not None), None)
        owner = self._owner if kept is None else kept.owner
        buffer = None if owner is None else GainBuffer(owner, gained)
        value, following = self.value, self.following
        if kept is not None and buffer is not None and kept.is_used():
            buffer.require_layers_of(kept)
            value, following = kept.read()

        for former in (self, *formers):  # two attached gains would both multiply
            former.remove()
        _forget_compiled_code()
        self.layers = tuple(gained)
        self._places = Places(model, gained)
        self.observer.attach(model, gained)
        self._handles = [
            layer.register_forward_hook(self._modulate, prepend=True) for layer in gained
        ]
        self.observer.attach_outputs()
        self._buffer = buffer
        if buffer is not None:
            buffer.register()
        loads = (model if owner is None else owner).register_load_state_dict_post_hook
        self._handles.append(loads(self._note_loaded_weights))  # type: ignore[no-untyped-call]
        self.assign(value.to(device), following.to(device))
        self._rest = self._rest.to(device)

    def assign(self, value: Tensor, following: Tensor) -> None:
        """Set g_t, the gain of evaluation passes, and g_{t+1}, that of the next training pass."""
        self.value, self.following = value, following
        if self._buffer is not None:
            self._buffer.write(value, following)
        self._lacks_gain, self._has_new_gain = False, True

    def _begin(self, is_training: bool) -> None:
        """Set the gain to g_{t+1} at the start of a training pass."""
        buffer = None if self._buffer is None or is_transforming() else self._buffer
        if buffer is not None:  # an average of models is written to the buffers of a copy
            self.value, self.following = buffer.read()
        if self._lacks_gain and not torch.compiler.is_compiling():
            self._warn_of_lacking_gain()
        if is_training:
            self.value = self.following
            self._has_new_gain = False
            if buffer is not None:
                buffer.write(self.value, self.following)

    def _note_loaded_weights(self, module: nn.Module, incompatible_keys: Any) -> None:
        """Note that weights were loaded, with their gain or without it."""
        missing = {key.rpartition(".")[2] for key in incompatible_keys.missing_keys}
        if self._buffer is not None and NAME not in missing:
            self._buffer.check()
            self.assign(*self._buffer.read())
        elif not self._has_new_gain:
            self._lacks_gain = bool(self.value != self._rest) or bool(self.following != self._rest)

    def _warn_of_lacking_gain(self) -> None:
        self._lacks_gain = False
        warnings.warn(
            "weights were loaded into the model, but not the gain they were trained with; load the "
            "optimizer's state, too, or keep the gain in the weights with gain_buffer=True",
            stacklevel=2,
        )

    def _modulate(self, layer: Weighted, args: tuple[Any, ...], output: Tensor) -> Tensor:
        observer = self.observer
        observer.last_layer = layer
        if observer.depth:
            return self._multiply(layer, args, output)
        observer.begin(layer)  # not called by another module
        modulated = self._multiply(layer, args, output)
        observer.end(layer, modulated)
        return modulated

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

    def advance(self, processes: ProcessGroup | None = None, *, expects_pass: bool = True) -> None:
        """Compute g_{t+1} from the entropy of the training passes since the last call.

        The next training pass uses g_{t+1}. Without a training pass since the last call, the gain
        does not change. A warning is issued if a gained layer is no longer part of the model, if a
        training pass returned no logits, or if no training pass precedes the second expected one.

        Args:
            processes: The process group of the replicas of the network. All of its processes must
                call this method. The entropy is averaged over the predictions of all processes, so
                their gains stay equal.
            expects_pass: Whether a training pass should have preceded this call.
        """
        if self._lacks_gain:
            self._warn_of_lacking_gain()
        if replaced := self._places.find_replaced():
            warnings.warn(
                f"{replaced} was replaced and is no longer part of the model, so its successor has "
                "no gain; call the optimizer's reattach() after replacing modules",
                stacklevel=4,
            )
        seen = self.observer.take()
        if seen is None:
            if expects_pass:
                self._warn_of_missing_passes()
            if processes is None:
                return
            seen = torch.zeros_like(self.value), torch.zeros_like(self.value)
        with torch.inference_mode(False):
            if processes is not None:
                pooled = torch.stack([_whole(each).to(self.value.dtype) for each in seen])
                torch.distributed.all_reduce(pooled, group=processes)
                seen = pooled[0], pooled[1]
            total, count = (_whole(each) for each in seen)
            following = self.compute_next((total / count).to(self.value.dtype))
            self.following = torch.where(following.isnan(), self.following, following)
            if self._buffer is not None:
                self._buffer.write(self.value, self.following)

    def _warn_of_missing_passes(self) -> None:
        if self.observer.expects_pass:
            self._steps_without_pass += 1
            if self._steps_without_pass == 2 and self.sensitivity > 0.0:
                warnings.warn(
                    "the gain observed no training pass before the second step; pass the trained "
                    "model to the optimizer and call model.train()",
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
            baseline=self._rest.to(self.value.device),
        )

    def override(self, gain: Tensor) -> None:
        """Use ``gain``, a scalar, in the next training pass instead of the computed g_{t+1}."""
        self.assign(self.value, gain)

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
            gain.assign(self.value, self.value)

    def remove(self) -> None:
        """Detach the gain; the model then computes with its plain weights."""
        self.observer.remove()
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        if self._buffer is not None:
            self._buffer.remove()
            self._buffer = None

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
        multiply_weights(self.layers, self.value, self.model)
        self.remove()

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the dynamics, by name."""
        return {
            "sensitivity": self.sensitivity,
            "smoothing": self.smoothing,
            "baseline": self.baseline,
            "normalise_entropy": self.observer.normalise_entropy,
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the settings, g_t (``value``) and g_{t+1} (``next``)."""
        return {
            **self.settings,
            "value": self.value.clone(),
            "next": self.following.clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load a state from :meth:`state_dict`; entropies observed since the last step are lost."""
        with torch.inference_mode(False):
            self.configure(**{name: state[name] for name in self.settings})
            value, following = state["value"], state["next"]
            device = self.value.device
            self.assign(value.to(device, copy=True), following.to(device, copy=True))
        self.observer.forget()


def _whole(value: Tensor) -> Tensor:
    """Return a tensor that is not distributed."""
    return value.full_tensor() if hasattr(value, "full_tensor") else value


def _forget_compiled_code() -> None:
    """Discard compiled code: torch does not check whether a compiled module has new hooks."""
    if "torch._dynamo" in sys.modules:
        torch._dynamo.reset()


def attached_gains(model: nn.Module) -> list[NeuronalGain]:
    """Return the gains attached to a model or to its submodules, without duplicates."""
    hooks = (hook for module in model.modules() for hook in module._forward_hooks.values())
    owners = (getattr(hook, "__self__", None) for hook in hooks)
    return [*dict.fromkeys(owner for owner in owners if isinstance(owner, NeuronalGain))]
