"""Observing the predictions of a network in its training passes."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ngm_tune.optim.layers import Weighted, weighted_layers
from ngm_tune.optim.predictions import (
    class_dimension,
    find_logits,
    is_joining,
    is_training_pass,
    is_transformed,
    predictive_entropy,
    total_entropy,
)


class PredictionObserver:
    """Sums the entropies of the predictions that a network makes in training passes.

    A training pass begins with a call of ``model``. If code never calls the model, only parts of
    it, the pass begins with the first part in training mode, and the predictions are what the last
    part returns.

    Args:
        outputs: Names of the modules that return the logits. If there are none, the predictions are
            what ``model`` returns.
        normalise_entropy: Divide the entropy by ln C.
        on_begin: Called when a pass begins, with whether it is a training pass.
    """

    depth: int
    """Number of observed modules that are being called."""
    last_layer: Weighted | None
    """The gained layer that was called last; it is the likeliest to have computed the logits."""
    expects_pass: bool
    """Whether no training pass was observed yet."""
    joins: bool
    """Whether the latest training pass was made in a ``join()`` of DistributedDataParallel."""

    def __init__(
        self, outputs: Iterable[str], *, normalise_entropy: bool, on_begin: Callable[[bool], None]
    ) -> None:
        self.outputs = list(outputs)
        self.normalise_entropy = normalise_entropy
        self.last_layer = None
        self.expects_pass = True
        self.joins = False
        self._on_begin = on_begin
        self._handles: list[Any] = []
        self.forget()

    def attach(self, model: nn.Module, gained: Iterable[Weighted]) -> None:
        """Observe the modules of a model, except for gained layers, which report their calls."""
        self.remove()
        self._model = model
        # The layer that is registered last is likely to compute the logits.
        self._candidates = [layer for _, layer in weighted_layers(model)][::-1]
        modules = dict(model.named_modules(remove_duplicate=False))
        weighted, reporting = set(self._candidates), set(gained)
        called = [m for name, m in modules.items() if "parametrizations" not in name.split(".")]
        for module in dict.fromkeys(called):
            if module not in reporting and (module in weighted or _may_predict(module)):
                self._handles += [
                    module.register_forward_pre_hook(self._enter),
                    module.register_forward_hook(self._leave, always_call=True),
                ]

    def attach_outputs(self) -> None:
        """Observe the named outputs. Call this after the hooks of gained layers are registered."""
        modules = dict(self._model.named_modules(remove_duplicate=False))
        for module in dict.fromkeys(modules[name] for name in self.outputs):
            self._handles.append(module.register_forward_hook(self._observe_output))

    def remove(self) -> None:
        """Stop observing."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def forget(self) -> None:
        """Discard the observed entropies."""
        self.depth = 0
        self._is_training = False
        self._seen: dict[nn.Module | None, tuple[Tensor, Tensor]] = {}
        self._source: nn.Module | None = None
        self._given: tuple[Tensor, Tensor] | None = None
        self._unreadable: str | None = None
        self._trained = False

    def begin(self, module: nn.Module) -> None:
        """Note that a pass begins with a call of a module."""
        if "_is_replica" in module.__dict__:
            raise RuntimeError(
                "nn.DataParallel runs copies of the model in several threads, which cannot share "
                "one gain; use DistributedDataParallel"
            )
        self._is_training = is_training_pass(module)
        if self._is_training:
            self._trained = True
            self.joins = is_joining()
        self._on_begin(self._is_training)

    def end(self, module: nn.Module, returned: Any) -> None:
        """Observe what the module returns with which the pass began."""
        if self._is_training and not self.outputs:
            self._observe_returned(module, returned)

    def _enter(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if self.depth == 0:
            self.begin(module)
        self.depth += 1

    def _leave(self, module: nn.Module, args: tuple[Any, ...], returned: Any) -> None:
        """Note the end of a call, also if it raised an exception."""
        self.depth -= 1
        if self.depth == 0 and returned is not None:
            self.end(module, returned)

    def _observe_output(self, module: nn.Module, args: tuple[Any, ...], returned: Any) -> None:
        """Observe what a named output returns."""
        if self._is_training if self.depth else is_training_pass(module):
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
            total, count = total_entropy(logits.detach(), dim)
            if self.normalise_entropy:
                total = total / math.log(logits.size(dim))
            self._seen[source] = _add(self._seen.get(source), (total, count))
            self._source = source

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
        likeliest = [] if self.last_layer is None else [self.last_layer]
        dim = class_dimension(logits, [*likeliest, *self._candidates])
        return None if dim is None or logits.size(dim) < 2 else dim

    def observe(
        self, logits: Tensor, *, mask: Tensor | None = None, dim: int | None = None
    ) -> None:
        """Take the predictions of a training pass from the training loop.

        They replace what modules returned since the last :meth:`take`. Several calls pool their
        predictions.

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
        finite = entropy.isfinite()
        total = entropy.detach().where(finite, torch.zeros_like(entropy)).sum()
        self._given = _add(self._given, (total, finite.sum()))

    def take(self) -> tuple[Tensor, Tensor] | None:
        """Return what was observed since the last call; warn if a training pass had no logits.

        Returns:
            The sum of the entropies and their number, scalars; None if there are none.
        """
        source = self._model if self._model in self._seen else self._source
        seen = self._seen.get(source) if self._given is None else self._given
        self.expects_pass = self.expects_pass and seen is None and not self._trained
        if seen is None and self._trained:
            self._warn_of_missing_logits()
        self.forget()
        return seen

    def _warn_of_missing_logits(self) -> None:
        if self.outputs:
            reason = f"{' and '.join(self.outputs)} took no part in the training pass"
        elif self._unreadable:
            reason = f"the model returned {self._unreadable}"
        else:
            reason = "calls inside torch.func transforms are not observed"
        warnings.warn(
            f"the gain observed no logits: {reason}; name the module that returns them with "
            "output=..., or pass them to the optimizer's observe()",
            stacklevel=6,
        )


def _add(
    former: tuple[Tensor, Tensor] | None, seen: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    return seen if former is None else (former[0] + seen[0], former[1] + seen[1])


def _may_predict(module: nn.Module) -> bool:
    """Whether a module has parameters, and is more than a single layer of torch."""
    is_layer = type(module).__module__.startswith("torch.nn.") and not any(module.children())
    return not is_layer and next(module.parameters(), None) is not None
