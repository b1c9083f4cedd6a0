"""Options of training and evaluation. Importing this module does not load torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

Strategy = Literal["joint", "replay", "naive"]
"""Examples that batches are drawn from.

- ``"joint"``: those of all tasks seen so far.
- ``"replay"``: those of the current task and of a buffer.
- ``"naive"``: those of the current task.
"""

EvalTasks = Literal["seen", "first-and-previous"]
"""Tasks that are evaluated during training.

- ``"seen"``: all tasks seen so far.
- ``"first-and-previous"``: the first and the previous task. This costs less and suffices for their
  stability gaps. All seen tasks are still evaluated at the end of each task.
"""

EvaluationMode = Literal["full", "adaptive"]
"""Examples on which old tasks are evaluated during training.

- ``"full"``: all examples of a task.
- ``"adaptive"``: those that can change an accuracy near its minimum
  (:class:`ngm_tune.training.adaptive.AdaptiveEvaluation`).
"""

SplitKind = Literal["drawn", "fixed"]
"""Validation split of a search: drawn at random, or that of the benchmark."""

ClassOrder = Literal["drawn", "paper"]
"""Order of classes or pixels: drawn at random, or that of the benchmark."""

Precision = Literal["float32", "mixed", "bfloat16"]
"""Precision of evaluation.

- ``"float32"``: single precision.
- ``"bfloat16"``: 2 to 4 times faster on hardware with bfloat16, many times slower where it is
  emulated, and less exact: a prediction can flip where two logits are close.
- ``"mixed"``: bfloat16, then float32 for every example whose two largest logits are so close that
  rounding could have swapped them; float32 on hardware without bfloat16. Accuracy equals that of
  float32; the loss is close to it.
"""

ProbeName = Literal["curvature", "fast-and-slow"]
"""Quantities measured in addition to accuracy during training."""


@dataclass(frozen=True)
class StreamOptions:
    """How batches are drawn from the training examples.

    Attributes:
        batch_size: Number of examples per batch.
        strategy: Examples that batches are drawn from.
        buffer_size: Capacity of the replay buffer in examples. Required with the strategy
            ``"replay"``, not allowed with another one.

    Raises:
        ValueError: ``batch_size`` is not positive; ``strategy`` is no such word; ``buffer_size`` is
            missing, or does not apply to the strategy.
    """

    batch_size: int
    strategy: Strategy = "joint"
    buffer_size: int | None = None

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"Invalid batch_size: {self.batch_size}")
        _require(self.strategy, Strategy, "strategy")
        if (self.buffer_size is not None) != (self.strategy == "replay"):
            raise ValueError(f"buffer_size is {self.buffer_size} with strategy {self.strategy!r}")


@dataclass(frozen=True)
class EvaluationSchedule:
    """When tasks are evaluated during training, and which.

    All seen tasks are evaluated after the last iteration of every task, with any schedule.

    Attributes:
        every: Number of iterations from one evaluation to the next.
        dense: Number of iterations after each transition in which every iteration is evaluated.
        tasks: Tasks that are evaluated.
        mode: Examples that are evaluated. At the end of a task, these are all.

    Raises:
        ValueError: ``every`` is not positive, ``dense`` is negative, or ``tasks`` or ``mode`` is no
            such word.
    """

    every: int = 1
    dense: int = 0
    tasks: EvalTasks = "seen"
    mode: EvaluationMode = "full"

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"Invalid every: {self.every}")
        if self.dense < 0:
            raise ValueError(f"Invalid dense: {self.dense}")
        _require(self.tasks, EvalTasks, "tasks")
        _require(self.mode, EvaluationMode, "mode")

    def tasks_at(self, task: int, step: int, steps: int) -> Sequence[int]:
        """Return the tasks to evaluate after a step of a task; empty if none are due.

        Args:
            task: The current task, counted from 0.
            step: The step within the task, counted from 0.
            steps: Number of steps of the task.
        """
        if step == steps - 1:
            return range(task + 1)
        dense = task > 0 and step < self.dense
        return () if not dense and (step + 1) % self.every else self.tasks_during(task)

    def tasks_during(self, task: int) -> Sequence[int]:
        """Return the tasks to evaluate before the last step of a task."""
        return range(task + 1) if self.tasks == "seen" else sorted({0, max(0, task - 1)})


def _require(value: str, allowed: Any, name: str) -> None:
    """Raise ValueError unless a value is one of the words of a ``Literal``."""
    if value not in get_args(allowed):
        words = ", ".join(get_args(allowed))
        raise ValueError(f"Invalid {name}: {value!r}; allowed are {words}")


EVERY_ITERATION = EvaluationSchedule()
"""All seen tasks are evaluated after every iteration."""
