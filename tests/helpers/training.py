"""Training runs on Split-Digits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, Optimizer

from ngm_tune.benchmarks import get_benchmark
from ngm_tune.training.evaluation import Evaluator
from ngm_tune.training.loop import ContinualTraining, TaskRecord
from ngm_tune.training.options import StreamOptions

DIGITS = get_benchmark("split-digits").load()


def sgd(model: nn.Module) -> Optimizer:
    return SGD(model.parameters(), lr=0.1)


def start(build: Callable[[nn.Module], Optimizer] = sgd, **settings: Any) -> ContinualTraining:
    """Build a run with some of its settings changed."""
    defaults = {"seed": 3, "iterations_per_task": 30, "stream": StreamOptions(batch_size=16)}
    return ContinualTraining(
        DIGITS.train,
        Evaluator(DIGITS.validation),
        get_benchmark("split-digits").build_model,
        build,
        **{**defaults, **settings},
    )


def finish(run: ContinualTraining) -> ContinualTraining:
    """Train a run to its end."""
    while not run.finished:
        run.train_task()
    return run


def are_equal(a: TaskRecord, b: TaskRecord) -> bool:
    """Whether two records of a task are equal, bit for bit."""
    return all(
        torch.equal(torch.nan_to_num(x, -1.0), torch.nan_to_num(y, -1.0))
        for x, y in ((a.steps, b.steps), (a.accuracy, b.accuracy), (a.loss, b.loss))
    )
