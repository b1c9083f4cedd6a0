"""Experience replay (Chaudhry et al. 2019, "On tiny episodic memories", arXiv 1902.10486)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from ngm_tune.learners.learner import Batch, Learner, Step
from ngm_tune.learners.reservoir import Reservoir


class ExperienceReplay(Learner):
    """Trains on each batch together with as many examples from a buffer of its own.

    The buffer is filled by reservoir sampling from the current task's examples, as they come:
    augmented, where training examples are. A step looks at twice the examples that the batch has.

    Args:
        model: The network.
        optimizer: Of its parameters.
        buffer_size: Examples to keep.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer, buffer_size: int) -> None:
        super().__init__(model, optimizer)
        self._buffer = Reservoir(buffer_size)
        self._task = 0

    def begin_task(self, task: int) -> None:
        """Tell new examples from those that a stream with a buffer of its own repeats."""
        self._task = task

    def learn(self, batch: Batch) -> Step:
        """A step on the batch and as many replayed examples; it reports on both."""
        if not self._buffer.filled:
            step = super().learn(batch)
        else:
            replayed = self._buffer.draw(len(batch.labels))
            step = super().learn(Batch(*map(torch.cat, zip(batch, replayed, strict=True))))
        new = batch.tasks == self._task
        self._buffer.offer(*(column[new] for column in batch))
        return step

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on."""
        return {**super().state_dict(), "buffer": self._buffer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        super().load_state_dict(state)
        self._buffer.load_state_dict(state["buffer"])
