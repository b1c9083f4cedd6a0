"""Experience replay (Chaudhry et al. 2019, "On tiny episodic memories", arXiv 1902.10486)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from ngm_tune.learners.learner import Batch, Learner, Step
from ngm_tune.learners.reservoir import Reservoir


class ExperienceReplay(Learner):
    """Train on each batch together with an equal number of examples from a buffer.

    Reservoir sampling fills the buffer with examples of the current task, after augmentation if the
    benchmark has one. A step processes twice the batch size.

    Args:
        model: The network.
        optimizer: Optimizer of the network's parameters.
        buffer_size: Capacity of the buffer in examples.

    Raises:
        ValueError: ``buffer_size`` is less than 1.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer, buffer_size: int) -> None:
        super().__init__(model, optimizer)
        self._buffer = Reservoir(buffer_size)
        self._task = 0

    def begin_task(self, task: int) -> None:
        """Remember the current task: only its examples enter the buffer."""
        self._task = task

    def learn(self, batch: Batch) -> Step:
        """Do one step on the batch and the replayed examples; the returned step covers both."""
        if not len(self._buffer):
            step = super().learn(batch)
        else:
            replayed = self._buffer.draw(len(batch.labels))
            step = super().learn(Batch(*map(torch.cat, zip(batch, replayed, strict=True))))
        new = batch.tasks == self._task
        self._buffer.offer(*(column[new] for column in batch))
        return step

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the learner: tensors and plain Python values."""
        return {**super().state_dict(), "buffer": self._buffer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load a state from :meth:`state_dict`."""
        super().load_state_dict(state)
        self._buffer.load_state_dict(state["buffer"])
