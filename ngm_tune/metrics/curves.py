"""Accuracy curves of a run, and the transitions between its tasks.

Notation: a_j(t) is the accuracy on the evaluation set of task j after iteration t, T_k the last
iteration of task k, K the number of tasks. Iterations count from 1 over the whole run.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

GapOf = Literal["previous", "first", "old"]
"""Accuracy that a gap measures: on the previous or the first task, or the mean over old tasks."""


class AccuracyCurves:
    """Accuracy on each task over the iterations of a run.

    Args:
        iterations: Iterations after which accuracy was evaluated, shape (E,), increasing.
        accuracy: a_j(t) as fractions, shape (E, K). NaN where a task was not evaluated, for example
            before its training began.
        task_ends: T_k, shape (K,), increasing. Each must be one of ``iterations``.

    Raises:
        ValueError: Shapes do not match, iterations do not increase, or the accuracy at the end of a
            task is missing.
    """

    def __init__(self, iterations: ArrayLike, accuracy: ArrayLike, task_ends: ArrayLike) -> None:
        self.iterations: Ints = np.asarray(iterations, dtype=np.int64)
        self.accuracy: Floats = np.asarray(accuracy, dtype=np.float64)
        self.task_ends: Ints = np.asarray(task_ends, dtype=np.int64)
        expected = (len(self.iterations), len(self.task_ends))
        if self.accuracy.shape != expected:
            raise ValueError(f"accuracy has shape {self.accuracy.shape}, expected {expected}")
        if np.any(np.diff(self.iterations) <= 0) or np.any(np.diff(self.task_ends) <= 0):
            raise ValueError("iterations and task_ends must increase")
        missing = np.setdiff1d(self.task_ends, self.iterations)
        if missing.size:
            raise ValueError(f"no accuracy after iteration {missing[0]}, the end of a task")

    @property
    def tasks(self) -> int:
        """K, the number of tasks."""
        return len(self.task_ends)

    def at_task_ends(self) -> Floats:
        """Return a_j(T_k), shape (K, K), with one row per task end k and one column per task j."""
        return self.accuracy[np.searchsorted(self.iterations, self.task_ends)]

    def between(self, after: int, until: int) -> tuple[Ints, Floats]:
        """Return the evaluated iterations in ``(after, until]`` and the accuracy after each.

        Returns:
            Iterations, shape (E',), and accuracy, shape (E', K).
        """
        part = slice(*np.searchsorted(self.iterations, [after, until], side="right"))
        return self.iterations[part], self.accuracy[part]


class Transition(NamedTuple):
    """Accuracy on old tasks across one transition."""

    before: float
    """a(T_{k-1}), the accuracy when the new task begins."""
    elapsed: Ints
    """Iterations since the transition, shape (E',), at most the length of task k."""
    accuracy: Floats
    """a(t) during the training of task k, shape (E',)."""


def transitions(curves: AccuracyCurves, of: GapOf = "previous") -> list[Transition]:
    """Return the K-1 transitions.

    Args:
        curves: The accuracy curves of a run.
        of: Accuracy to follow: on the previous task, on the first task, or the mean over all old
            tasks.
    """
    ends = curves.task_ends
    at_ends = curves.at_task_ends()
    result = []
    for task in range(1, curves.tasks):
        column = {
            "previous": slice(task - 1, task),
            "first": slice(0, 1),
            "old": slice(0, task),
        }[of]
        iterations, accuracy = curves.between(ends[task - 1], ends[task])
        result.append(
            Transition(
                before=float(at_ends[task - 1 : task, column].mean(axis=1)[0]),
                elapsed=iterations - ends[task - 1],
                accuracy=accuracy[:, column].mean(axis=1),
            )
        )
    return result
