"""Whether a run that continues from its checkpoint equals an uninterrupted one, bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from ngm_tune.benchmarks.models import MLP
from ngm_tune.benchmarks.tasks import TaskSplit
from ngm_tune.learners import Learner
from ngm_tune.methods import Config, Method
from ngm_tune.training.checkpoints import pack, unpack
from ngm_tune.training.evaluation import Evaluator
from ngm_tune.training.loop import ContinualTraining, TaskRecord
from ngm_tune.training.options import EvaluationSchedule, StreamOptions

_ITERATIONS = 60
"""Iterations of each of two tasks in the check of a method. State of which no effect shows within
the second task is not found, except that of a scheduler."""


def train_and_save(run: ContinualTraining) -> list[bytes]:
    """Train a run to its end, and return its state after each task but the last, as checkpoints."""
    states = []
    while not run.finished:
        run.train_task()
        states.append(pack({"run_id": ""}, [run.state_dict()]))
    return states[:-1]


def find_difference_after_resuming(
    whole: ContinualTraining, saved: bytes, resumed: ContinualTraining
) -> str:
    """Resume a run, and describe its first difference to an uninterrupted one; empty if none.

    Args:
        whole: The uninterrupted run, finished.
        saved: A state of it.
        resumed: A new run with the same arguments.

    Raises:
        ValueError: ``torch.load(weights_only=True)`` cannot load the state.
    """
    resumed.load_state_dict(unpack(saved).states[0])
    difference = first_difference(whole.records, finish(resumed))
    # A scheduler can have an effect after these few iterations only. It may be built for each task.
    if not difference and _scheduler_states(resumed.learner) != _scheduler_states(whole.learner):
        return "the state of a learning-rate scheduler differs"
    return difference


def explain_lost_state(method: Method, settings: Config) -> str | None:
    """Return why a method cannot be resumed; None if a resumed run equals an uninterrupted one.

    The runs are short, on random data and a small network. None is also returned where they give
    no answer: the method raises an exception, or its runs with one seed differ.

    Args:
        method: The method.
        settings: Arguments of its ``build``.
    """
    start = partial(_start_small_run, method, settings)
    try:
        whole = start()
        difference = next(
            filter(
                None,
                (
                    find_difference_after_resuming(whole, saved, start())
                    for saved in train_and_save(whole)
                ),
            ),
            None,
        )
        if difference is None or first_difference(whole.records, finish(start())):
            return None
    except Exception:  # the method is user code; the study records what it raises
        return None
    return (
        f"{method.name} cannot be resumed: a run that continues from a checkpoint differs from an "
        f"uninterrupted one ({difference}), because training changes something that is not in the "
        "optimizer's state_dict; put it into state_dict, or return a Learner whose state_dict and "
        "load_state_dict include it"
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


def _scheduler_states(learner: Learner) -> list[dict[str, Any]]:
    """Return the plain values in the states of the schedulers of a learner and its optimizer."""
    attributes = [*vars(learner).values(), *vars(learner.optimizer).values()]
    return [
        {k: v for k, v in scheduler.state_dict().items() if isinstance(v, int | float | list)}
        for scheduler in attributes
        if isinstance(scheduler, LRScheduler)
    ]


def _start_small_run(method: Method, settings: Config) -> ContinualTraining:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(64, 8, generator=generator)
    examples = TaskSplit(inputs, torch.arange(64) // 16, (32, 32))

    return ContinualTraining(
        examples,
        Evaluator(examples),
        lambda: MLP((8, 8, 4), hidden_std=0.3, output_std=0.3),
        partial(method.build, **settings),
        seed=0,
        iterations_per_task=_ITERATIONS,
        stream=StreamOptions(batch_size=8),
        evaluation=EvaluationSchedule(every=_ITERATIONS),
    )
