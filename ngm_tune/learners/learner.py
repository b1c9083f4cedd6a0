"""A model and the way it learns: one batch at a time, and perhaps something at a task's edges."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer


class Batch(NamedTuple):
    """Training examples.

    Attributes:
        inputs: As the network takes them, shape (B, ...).
        labels: Class indices, shape (B,).
        tasks: The task each belongs to, shape (B,); for methods that are told.
    """

    inputs: Tensor
    labels: Tensor
    tasks: Tensor


class Step(NamedTuple):
    """What a training step saw.

    Attributes:
        loss: Mean cross-entropy of the batch before the step, a detached scalar in nats.
        logits: Of the batch before the step, detached, shape (B, C).
    """

    loss: Tensor
    logits: Tensor


Draw = Callable[[int], Batch]
"""Draws that many examples from what a task is trained on."""


class Learner:
    """A model trained by an optimizer: one step per batch, and nothing else.

    Methods that are more than an optimizer derive from this: they add to the loss
    (:meth:`penalty`), do a step differently (:meth:`learn`), act when tasks begin and end, or are
    evaluated with other weights than they train. What they draw at random may come from the global
    generators of torch, NumPy or Python: the seed of the run fixes them.

    Args:
        model: The network.
        optimizer: Of its parameters. One with a ``gain`` (a scalar tensor) has it recorded.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer) -> None:
        self.model = model
        self.optimizer = optimizer

    @property
    def gain(self) -> Tensor | None:
        """The gain of the latest training pass, a scalar; None for methods that have none."""
        return getattr(self.optimizer, "gain", None)

    @property
    def evaluated(self) -> nn.Module:
        """The model that is evaluated."""
        return self.model

    def begin_task(self, task: int) -> None:
        """Called before the first batch of a task, counted from 0."""

    def end_task(self, task: int, draw: Draw) -> None:
        """Called after the last batch of a task."""

    def penalty(self) -> Tensor | None:
        """A scalar to be added to the loss, of the present parameters."""
        return None

    def learn(self, batch: Batch) -> Step:
        """One training step; the model is in training mode."""
        step = self.backward(batch)
        self.optimizer.step()
        return step

    def backward(self, batch: Batch) -> Step:
        """Replace the gradients by those of the batch's loss and the penalty."""
        logits = self.model(batch.inputs)
        loss = F.cross_entropy(logits, batch.labels)
        penalty = self.penalty()
        self.optimizer.zero_grad()
        (loss if penalty is None else loss + penalty).backward()  # type: ignore[no-untyped-call]
        return Step(loss.detach(), logits.detach())

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on; tensors and plain values."""
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
