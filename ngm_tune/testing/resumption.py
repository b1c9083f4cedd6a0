"""Whether a run that continues from its checkpoint equals an uninterrupted one, bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from ngm_tune.learners import Learner
from ngm_tune.training.checkpoints import pack, unpack
from ngm_tune.training.loop import ContinualTraining, TaskRecord


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
    # A scheduler may act only after more iterations than these. It may be built for each task.
    if not difference and _scheduler_states(resumed.learner) != _scheduler_states(whole.learner):
        return "the state of a learning-rate scheduler differs"
    return difference


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
