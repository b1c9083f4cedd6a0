"""Interrupting a study that runs in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

from ngm_tune.execution import local_executor
from ngm_tune.training.loop import ContinualTraining


@contextmanager
def before_task(number: int, action: Callable[[], object]) -> Iterator[None]:
    """Call ``action`` before the ``number``-th task of a seed is trained, counted from 1."""
    train, begun = ContinualTraining.train_task, 0

    def train_task(run: ContinualTraining) -> None:
        nonlocal begun
        begun += 1
        if begun == number:
            action()
        train(run)

    with patch.object(ContinualTraining, "train_task", train_task):
        yield


@contextmanager
def interrupted_in_task(number: int) -> Iterator[None]:
    """Raise KeyboardInterrupt when the ``number``-th task of a seed is to be trained."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    with before_task(number, interrupt):
        yield


@contextmanager
def a_second_per_task() -> Iterator[None]:
    """Let the time budget of the local executor pass by one second with every task of a trial."""

    class Clock:
        now = 0.0

        def monotonic(self) -> float:
            self.now += 1.0
            return self.now

    with patch.object(local_executor, "time", Clock()):
        yield
