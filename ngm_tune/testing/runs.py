"""Short runs on Split-Digits for the conformance suite of methods."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import nn

from ngm_tune.benchmarks import TaskData, TaskSplit, get_benchmark
from ngm_tune.methods import Config, Method
from ngm_tune.methods.finite_space import centre, corner
from ngm_tune.training.evaluation import Evaluator
from ngm_tune.training.loop import ContinualTraining
from ngm_tune.training.options import EvaluationSchedule, Strategy, StreamOptions

TASKS = 3
"""Number of tasks of a run: one transition before, and one after, the point of interruption."""


def corners(method: Method) -> list[Config]:
    """Return the two corners of a search space with all lowest and all highest values."""
    return [corner(method.space, high=high) for high in (False, True)]


def middle(method: Method) -> Config:
    """Return the centre of a search space: the geometric mean of bounds on a logarithmic scale."""
    return centre(method.space)


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
