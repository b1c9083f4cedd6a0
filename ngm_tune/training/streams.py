"""Which training examples each batch is drawn from: the three regimes of continual learning.

- ``joint``: uniformly from all tasks seen so far, the protocol of arXiv 2507.14056.
- ``replay``: half from the current task and half from a buffer of bounded size, filled by reservoir
  sampling (Vitter 1985) from the examples that were trained on, as in Chaudhry et al. 2019, "On
  tiny episodic memories in continual learning"; until it holds something, all from the task.
- ``naive``: from the current task only.

A seed fixes every batch of a run, whatever the optimizer and whether or not it was interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ngm_tune.learners.reservoir import Reservoir
from ngm_tune.training.options import Strategy
from ngm_tune.training.seeding import derive_seed


class Stream:
    """The batches of one run, as indices into training examples that are ordered by task.

    Args:
        sizes: Training examples per task.
        strategy: What a batch is drawn from, always with replacement.
        batch_size: Examples per batch.
        iterations: Batches per task.
        seed: Fixes every batch.
        buffer_size: Examples that ``"replay"`` keeps.

    Raises:
        ValueError: A buffer size is missing or given for a strategy that has no buffer.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        strategy: Strategy = "joint",
        *,
        batch_size: int,
        iterations: int,
        seed: int,
        buffer_size: int | None = None,
    ) -> None:
        if (buffer_size is not None) != (strategy == "replay"):
            raise ValueError(f"buffer_size is {buffer_size} with strategy {strategy!r}")
        self._ends = np.cumsum(sizes)
        self._starts = self._ends - np.asarray(sizes)
        self._strategy = strategy
        self._shape = (iterations, batch_size)
        self._seed = seed
        self._buffer_size = buffer_size or 0

    def batches(self, task: int) -> Tensor:
        """Indices of the examples of every batch of a task, shape (iterations, batch), int64."""
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
        """The batches of every task: what a buffer holds depends on all that came before."""
        buffer = Reservoir(self._buffer_size)
        fresh = (self._shape[1] + 1) // 2
        tasks = []
        for task, (start, end) in enumerate(zip(self._starts, self._ends, strict=True)):
            generator = self._generator(task)
            batches = torch.randint(int(start), int(end), self._shape, generator=generator)
            for batch in batches:
                if buffer.filled:
                    (batch[fresh:],) = buffer.draw(self._shape[1] - fresh, generator)
                    buffer.offer(batch[:fresh], generator=generator)
                else:
                    buffer.offer(batch, generator=generator)
            tasks.append(batches)
        return tasks
