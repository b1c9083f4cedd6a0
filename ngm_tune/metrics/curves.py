"""Accuracy curves of a run, and their transitions between tasks.

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


class AccuracyCurves:
    """Accuracy on every task over the iterations of one run.

    Args:
        iterations: Iterations after which accuracy was evaluated, shape (E,), increasing.
        accuracy: a_j(t) as fractions, shape (E, K); NaN where a task was not evaluated, as before
            it was first seen.
        task_ends: T_k, shape (K,), increasing; each one of ``iterations``.

    Raises:
        ValueError: Shapes do not fit, iterations do not increase, or a task's end was not
            evaluated.
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
        """K."""
        return len(self.task_ends)

    def at_task_ends(self) -> Floats:
        """a_j(T_k), shape (K, K): row k after task k, column j for task j."""
        return self.accuracy[np.searchsorted(self.iterations, self.task_ends)]

    def between(self, after: int, until: int) -> tuple[Ints, Floats]:
        """Iterations in ``(after, until]``, shape (E',), and accuracy there, shape (E', K)."""
        part = slice(*np.searchsorted(self.iterations, [after, until], side="right"))
        return self.iterations[part], self.accuracy[part]


class Transition(NamedTuple):
    """One old-task accuracy curve across one transition."""

    before: float
    """a(T_{k-1}), the accuracy when the new task appears."""
    elapsed: Ints
    """Iterations since the transition, shape (E',), from 1 to the length of task k."""
    accuracy: Floats
    """a(t) while task k is trained, shape (E',)."""


def transitions(curves: AccuracyCurves, of: GapOf = "previous") -> list[Transition]:
    """The K-1 transitions, seen by the previous task, the first, or the mean of all old ones."""
    ends = curves.task_ends
    at_ends = curves.at_task_ends()
    found = []
    for task in range(1, curves.tasks):
        column = {
            "previous": slice(task - 1, task),
            "first": slice(0, 1),
            "old": slice(0, task),
        }[of]
        iterations, accuracy = curves.between(ends[task - 1], ends[task])
        found.append(
            Transition(
                before=float(at_ends[task - 1 : task, column].mean(axis=1)[0]),
                elapsed=iterations - ends[task - 1],
                accuracy=accuracy[:, column].mean(axis=1),
            )
        )
    return found
