"""Training and evaluation examples of each phase of a study."""

from __future__ import annotations

from typing import Any, Literal

from ngm_tune.benchmarks import TaskData


def splits_for(
    data: TaskData, phase: Literal["search", "confirm"], eval_examples: int | None = None
) -> dict[str, Any]:
    """Return the arrays ``train`` and ``evaluation`` of a phase.

    A search trains on the training split and evaluates on the validation split; it sees no test
    data. Confirmations and fixed runs train on all training data and evaluate on the test data.

    Args:
        data: The splits of a benchmark.
        phase: The phase.
        eval_examples: Maximal number of evaluated examples of each task; None for all.
    """
    if phase == "search":
        train, evaluation = data.train, data.validation
    else:
        train, evaluation = data.train.joined(data.validation), data.test
    if eval_examples is not None:
        evaluation = evaluation.capped(eval_examples)
    return {"train": train.arrays(), "evaluation": evaluation.arrays()}
