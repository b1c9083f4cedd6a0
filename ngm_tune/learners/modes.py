"""Optimizers that train at other weights than those that they are evaluated at.

Schedule-Free optimizers (Defazio et al. 2024, arXiv 2405.15682) are an example. They have methods
``train()`` and ``eval()``, which change the weights of the model from one to the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, cast

import torch
from torch import nn

from ngm_tune.learners.learner import Learner


class _HasModes(Protocol):
    def train(self) -> object: ...
    def eval(self) -> object: ...


def set_training_mode(learner: Learner) -> None:
    """Set the model, and an optimizer with modes, to training mode: call it before a step."""
    learner.model.train()
    set_training_weights(learner)


def set_training_weights(learner: Learner) -> None:
    """Set an optimizer with modes to training mode, the mode of the states that are stored."""
    optimizer = _optimizer_with_modes(learner)
    if optimizer is not None:
        optimizer.train()


def has_modes(learner: Learner) -> bool:
    """Return whether the optimizer of a learner has the methods ``train`` and ``eval``."""
    return _optimizer_with_modes(learner) is not None


@contextmanager
def evaluation_weights(learner: Learner, *, is_new: bool = False) -> Iterator[nn.Module]:
    """Return a context with the model at the weights that the method is evaluated at.

    Afterwards the weights are those of training, bit for bit: ``eval()`` followed by ``train()``
    rounds, so the context restores them from a copy. Without an optimizer that has both methods
    nothing is copied.

    Args:
        learner: The method and its network.
        is_new: Whether no step was taken yet. The weights of both modes are then equal, and some
            optimizers, such as SPlus, cannot change their mode.
    """
    optimizer = _optimizer_with_modes(learner)
    if optimizer is None or is_new:
        yield learner.evaluated
        return
    optimizer.train()
    weights = [p for p in learner.model.parameters() if p.requires_grad]
    trained = [weight.detach().clone() for weight in weights]
    optimizer.eval()
    try:
        yield learner.evaluated
    finally:
        optimizer.train()
        with torch.no_grad():
            for weight, value in zip(weights, trained, strict=True):
                weight.copy_(value)


def _optimizer_with_modes(learner: Learner) -> _HasModes | None:
    """Return the optimizer of a learner if it has the methods ``train`` and ``eval``."""
    optimizer = learner.optimizer
    modes = (getattr(optimizer, "train", None), getattr(optimizer, "eval", None))
    return cast("_HasModes", optimizer) if all(map(callable, modes)) else None
