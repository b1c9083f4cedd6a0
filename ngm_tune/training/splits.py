"""Training and evaluation examples of each phase of a study."""

from __future__ import annotations

from typing import Literal

from ngm_tune.benchmarks.arrangement import Arrangement
from ngm_tune.benchmarks.pool import DataPool
from ngm_tune.benchmarks.tasks import TaskSplit


def splits_for(
    pool: DataPool,
    phase: Literal["search", "confirm", "transfer"],
    arrangement: Arrangement,
    eval_examples: int | None = None,
) -> tuple[TaskSplit, TaskSplit]:
    """Return the training and the evaluation examples of a phase.

    A search trains on the training split and evaluates on the validation split; it sees no test
    data. Confirmations, transfers and fixed runs train on all training data and evaluate on the
    test data.

    Args:
        pool: The data of a benchmark.
        phase: The phase.
        arrangement: Class order and validation split.
        eval_examples: Maximal number of evaluated examples of each task; None for all.
    """
    splits = pool.search_splits if phase == "search" else pool.confirm_splits
    train, evaluation = splits(arrangement)
    return train, evaluation if eval_examples is None else evaluation.capped(eval_examples)
