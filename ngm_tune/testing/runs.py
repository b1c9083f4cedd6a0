"""Short runs on Split-Digits for the conformance suite of methods."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from torch import Tensor, nn

from ngm_tune.benchmarks import TaskData, TaskSplit, get_benchmark
from ngm_tune.methods import Config, Method
from ngm_tune.methods.finite_space import corner
from ngm_tune.training.evaluation import Evaluator
from ngm_tune.training.loop import ContinualTraining, TaskRecord
from ngm_tune.training.options import EvaluationSchedule, Strategy, StreamOptions

TASKS = 3
"""Number of tasks of a run: one transition before, and one after, the point of interruption."""


def corners(method: Method) -> list[Config]:
    """Return the two corners of a search space with all lowest and all highest values."""
    return [corner(method.space, high=high) for high in (False, True)]


def middle(method: Method) -> Config:
    """Return the centre of a search space: the geometric mean of bounds on a logarithmic scale."""
    point: Config = {}
    for name, distribution in method.space.items():
        if isinstance(distribution, CategoricalDistribution):
            point[name] = distribution.choices[len(distribution.choices) // 2]
            continue
        assert isinstance(distribution, FloatDistribution | IntDistribution)
        low, high = distribution.low, distribution.high
        centre = (low * high) ** 0.5 if distribution.log else (low + high) / 2
        if distribution.step is not None:
            centre = low + round((centre - low) / distribution.step) * distribution.step
        point[name] = type(low)(centre)
    return point


@cache
def digits() -> TaskData:
    """Load the first tasks of Split-Digits, with few examples to evaluate."""
    data = get_benchmark("split-digits").load()
    return TaskData(
        *(_first_tasks(split) for split in (data.train, data.validation.capped(40), data.test))
    )


def _first_tasks(split: TaskSplit) -> TaskSplit:
    count = split.seen(TASKS)
    return split.select(torch.arange(count), split.sizes[:TASKS])


def digits_network() -> nn.Module:
    """Build the MLP of Split-Digits: 64 inputs, 10 outputs, no biases."""
    return get_benchmark("split-digits").build_model()


def build(method: Method, point: Config, model: nn.Module, **settings: Any) -> Any:
    """Build a method at search coordinates; ``settings`` replace and extend hyper-parameters."""
    return method.build(model, **{**method.settings_at(point), **settings})


def start_run(
    method: Method,
    point: Config,
    *,
    iterations: int,
    strategy: Strategy = "joint",
    eval_every: int | None = None,
    **settings: Any,
) -> ContinualTraining:
    """Start a run of a method on the first tasks of Split-Digits, always with the same seed.

    Args:
        method: The method.
        point: Its search coordinates.
        iterations: Training iterations on each task.
        strategy: Tasks that batches are drawn from.
        eval_every: Iterations between evaluations; by default only the end of a task.
        settings: Hyper-parameters that replace and extend those at the point.
    """
    return ContinualTraining(
        digits().train,
        Evaluator(digits().validation),
        digits_network,
        lambda model: build(method, point, model, **settings),
        seed=5,
        iterations_per_task=iterations,
        stream=StreamOptions(16, strategy, 40 if strategy == "replay" else None),
        evaluation=EvaluationSchedule(every=eval_every or iterations),
    )


def finish(run: ContinualTraining) -> list[TaskRecord]:
    """Train the remaining tasks of a run and return the records of all tasks."""
    while not run.finished:
        run.train_task()
    return run.records


def first_difference(
    a: Sequence[TaskRecord], b: Sequence[TaskRecord], names: Sequence[str] = ("steps", "accuracy")
) -> str:
    """Describe the first difference between the records of two runs; empty if they are equal."""
    if len(a) != len(b):
        return f"they trained {len(a)} and {len(b)} tasks"
    for task, (one, other) in enumerate(zip(a, b, strict=True)):
        for name in names:
            difference = _different_row(getattr(one, name), getattr(other, name))
            if difference is not None:
                return f"{name} of task {task} differ, first at index {difference}"
    return ""


def _different_row(a: Tensor, b: Tensor) -> int | None:
    if a.shape != b.shape:
        return min(len(a), len(b))
    rows = (a.nan_to_num(-1.0) != b.nan_to_num(-1.0)).flatten(1).any(dim=1).nonzero()
    return int(rows[0]) if len(rows) else None
