"""Interrupt a study that runs in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

from ngm_tune.execution import local_executor
from ngm_tune.training.loop import ContinualTraining


@contextmanager
def call_before_task(number: int, action: Callable[[], object]) -> Iterator[None]:
    """Call ``action`` before the training of the ``number``-th task, over all seeds, from 1."""
    train, n_started = ContinualTraining.train_task, 0

    def train_task(run: ContinualTraining) -> None:
        nonlocal n_started
        n_started += 1
        if n_started == number:
            action()
        train(run)

    with patch.object(ContinualTraining, "train_task", train_task):
        yield


@contextmanager
def interrupt_before_task(number: int) -> Iterator[None]:
    """Raise KeyboardInterrupt before the training of the ``number``-th task, over all seeds."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    with call_before_task(number, interrupt):
        yield


@contextmanager
def advance_clock_per_task() -> Iterator[None]:
    """Advance the clock of the local executor by one second with each task of a trial."""

    class Clock:
        now = 0.0

        def monotonic(self) -> float:
            self.now += 1.0
            return self.now

    with patch.object(local_executor, "time", Clock()):
        yield
