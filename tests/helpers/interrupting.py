"""Interrupting a study that runs in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from ngm_tune.training.loop import ContinualTraining


@contextmanager
def interrupted_in_task(number: int) -> Iterator[None]:
    """Raise KeyboardInterrupt when the ``number``-th task of a seed is to be trained, from 1."""
    train, begun = ContinualTraining.train_task, 0

    def train_task(run: ContinualTraining) -> None:
        nonlocal begun
        begun += 1
        if begun == number:
            raise KeyboardInterrupt
        train(run)

    with patch.object(ContinualTraining, "train_task", train_task):
        yield
