"""The interface between the training loop and a training rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer


class Batch(NamedTuple):
    """A batch of training examples.

    Attributes:
        inputs: Inputs of the network, shape (B, ...), float32.
        labels: Class indices, shape (B,), int64.
        tasks: Task of each example, shape (B,), for task-aware methods only.
    """

    inputs: Tensor
    labels: Tensor
    tasks: Tensor


class Step(NamedTuple):
    """The loss and logits of a training step.

    Attributes:
        loss: Mean cross-entropy of the batch before the update, a detached scalar in nats.
        logits: Logits of the batch before the update, detached, shape (B, C).
    """

    loss: Tensor
    logits: Tensor


Draw = Callable[[int], Batch]
"""A function that draws the requested number of examples from the batches of a task."""


class Learner:
    """A training rule that does one step of an optimizer per batch.

    Methods that are more than an optimizer derive from this class. They can add a term to the loss
    (:meth:`penalty`), change the training step (:meth:`learn`), act when tasks begin and end
    (:meth:`begin_task`, :meth:`end_task`), or evaluate other weights than the trained ones
    (:attr:`evaluated`). They may draw random numbers from the global generators of torch, NumPy and
    Python, which the run seeds.

    Args:
        model: The network.
        optimizer: Optimizer of the network's parameters. If it has an attribute ``gain``, a scalar
            tensor, the run records it.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer) -> None:
        self.model = model
        self.optimizer = optimizer

    @property
    def gain(self) -> Tensor | None:
        """The gain of the latest training pass, a scalar; None if the method has no gain."""
        return getattr(self.optimizer, "gain", None)

    @property
    def evaluated(self) -> nn.Module:
        """The model that is evaluated."""
        return self.model

    def begin_task(self, task: int) -> None:
        """Called before the first batch of a task; tasks count from 0."""

    def end_task(self, task: int, draw: Draw) -> None:
        """Called after the last batch of a task.

        Args:
            task: Number of the task, from 0.
            draw: Draws examples from the batches of the task.
        """

    def penalty(self) -> Tensor | None:
        """Return a scalar that is added to the loss, or None."""
        return None

    def learn(self, batch: Batch) -> Step:
        """Do one training step. The caller sets the model to training mode."""
        step = self.backward(batch)
        self.optimizer.step()
        return step

    def backward(self, batch: Batch) -> Step:
        """Compute the gradients of the batch's loss plus the penalty."""
        logits = self.model(batch.inputs)
        loss = F.cross_entropy(logits, batch.labels)
        penalty = self.penalty()
        self.optimizer.zero_grad()
        (loss if penalty is None else loss + penalty).backward()  # type: ignore[no-untyped-call]
        return Step(loss.detach(), logits.detach())

    def state_dict(self) -> dict[str, Any]:
        """Return everything that is needed to resume training: tensors and plain Python values."""
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load a state from :meth:`state_dict`."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
