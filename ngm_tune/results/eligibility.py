"""Eligibility of trials for a front: one rule for search, warm start and analysis."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from ngm_tune.metrics.constraints import is_feasible
from ngm_tune.results.schema import Status


def is_eligible(
    status: str | None,
    values: Sequence[float] | None,
    violation: Iterable[float],
    *,
    has_every_seed: bool,
) -> bool:
    """Return whether a trial may be on a front.

    Methods are compared at equal effort, so a trial is eligible only if it completed with every
    seed. It must also have finite objectives and satisfy all constraints of the study.

    Args:
        status: The most severe status of the trial's seeds; None if no seed has ended.
        values: Objectives, means over seeds; None if a seed has no objectives.
        violation: Violation of each constraint, means over seeds.
        has_every_seed: Whether the trial has results for every seed that the study requires.

    Example:
        >>> is_eligible("completed", (0.9, 0.1), (-0.05,), has_every_seed=True)
        True
        >>> is_eligible("diverged", (0.0, 1.0), (-0.05,), has_every_seed=True)
        False
    """
    return (
        status == Status.COMPLETED
        and has_every_seed
        and values is not None
        and all(map(math.isfinite, values))
        and all(map(is_feasible, violation))
    )
