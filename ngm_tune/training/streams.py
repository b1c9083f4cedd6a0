"""Streams of training batches for the three strategies of continual learning.

- ``joint``: batches are drawn uniformly from all tasks seen so far, as in arXiv 2507.14056.
- ``replay``: half of a batch is drawn from the current task and half from a buffer of bounded size.
  Reservoir sampling (Vitter 1985) fills the buffer with training examples, as in Chaudhry et al.
  2019, "On tiny episodic memories in continual learning". While the buffer is empty, the whole
  batch is drawn from the current task.
- ``naive``: batches are drawn from the current task.

A seed fixes every batch of a run, independently of the optimizer and of interruptions.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ngm_tune.learners.reservoir import Reservoir
from ngm_tune.training.options import StreamOptions
from ngm_tune.training.seeding import derive_seed


class Stream:
    """The batches of one run, as indices of training examples that are ordered by task.

    Examples are drawn with replacement.

    Args:
        sizes: Number of training examples of each task.
        options: How batches are drawn.
        iterations: Number of batches per task.
        seed: Fixes every batch.
    """

    def __init__(
        self, sizes: Sequence[int], options: StreamOptions, *, iterations: int, seed: int
    ) -> None:
        self._ends = np.cumsum(sizes)
        self._starts = self._ends - np.asarray(sizes)
        self._strategy = options.strategy
        self._shape = (iterations, options.batch_size)
        self._seed = seed
        self._buffer_size = options.buffer_size or 0

    def batches(self, task: int) -> Tensor:
        """Return the indices of a task's examples, shape (iterations, batch_size), int64."""
        if self._strategy == "replay":
            return self._replayed[task]
        start = 0 if self._strategy == "joint" else int(self._starts[task])
        return torch.randint(
            start, int(self._ends[task]), self._shape, generator=self._generator(task)
        )

    def _generator(self, task: int) -> torch.Generator:
        return torch.Generator().manual_seed(derive_seed(self._seed, "batches", task))

    @cached_property
    def _replayed(self) -> list[Tensor]:
        """Batches of every task; the content of the buffer depends on all earlier tasks."""
        buffer = Reservoir(self._buffer_size)
        fresh = (self._shape[1] + 1) // 2
        tasks = []
        for task, (start, end) in enumerate(zip(self._starts, self._ends, strict=True)):
            generator = self._generator(task)
            batches = torch.randint(int(start), int(end), self._shape, generator=generator)
            for batch in batches:
                if len(buffer):
                    (batch[fresh:],) = buffer.draw(self._shape[1] - fresh, generator)
                    buffer.offer(batch[:fresh], generator=generator)
                else:
                    buffer.offer(batch, generator=generator)
            tasks.append(batches)
        return tasks
