"""Outcomes of trials: status, objectives and violations, computed from their rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ngm_tune.metrics.constraints import Constraint
from ngm_tune.results.columns import SEARCH_PREFIX
from ngm_tune.results.directory import Results
from ngm_tune.results.schema import Status

Row = dict[str, Any]
"""A row of a table, by column name."""
Values = tuple[float, ...]
"""One number per objective or constraint, in the study's order."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of a trial.

    Attributes:
        status: The most severe status of its runs.
        values: Objectives, means over seeds; None for a stopped or failed trial.
        violation: Violation of each constraint of the study, mean over seeds; zero or negative if
            the constraint is satisfied.
        seeds: Number of its seeds.
        coordinates: Search coordinates; empty if the results do not contain them.
        is_recomputed: Whether an earlier schema defined the objectives otherwise, so that a search
            record of that time can have other values.
    """

    status: str
    values: Values | None
    violation: Values = ()
    seeds: int = field(default=1, compare=False)
    coordinates: Mapping[str, Any] = field(default_factory=dict, compare=False)
    is_recomputed: bool = field(default=False, compare=False)

    def finite(self) -> Outcome:
        """Return the outcome, or a failed outcome if an objective or violation is not finite.

        Optuna does not accept NaN and infinity.
        """
        if all(map(math.isfinite, (*(self.values or ()), *self.violation))):
            return self
        return replace(self, status=Status.FAILED, values=None, violation=())


def compute_outcome(
    rows: Sequence[Row], objectives: Sequence[str], constraints: Sequence[str]
) -> Outcome:
    """Compute the outcome of a trial from its rows in ``trials/``, one per seed.

    The row of a diverged seed contains the worst value of each metric.
    """
    status = Status.worst(row["status"] for row in rows)
    seeds, coordinates = len(rows), extract_coordinates(rows[0])
    if status in (Status.FAILED, Status.STOPPED):
        return Outcome(status, None, seeds=seeds, coordinates=coordinates)
    limits = [Constraint.parse(text) for text in constraints]
    violation = tuple(limit.violation(_mean(rows, limit.metric.name)) for limit in limits)
    values = tuple(_mean(rows, name) for name in objectives)
    return Outcome(status, values, violation, seeds, coordinates)


def read_outcome(
    results: Results, run_id: str, objectives: Sequence[str], constraints: Sequence[str]
) -> Outcome | None:
    """Read the outcome of a run; None if the run has not ended."""
    rows = results.read_run("trials", run_id)
    return None if rows is None else compute_outcome(rows.to_pylist(), objectives, constraints)


def extract_coordinates(row: Row) -> dict[str, Any]:
    """Return the search coordinates of a row in ``trials/``; empty for fixed hyper-parameters."""
    return {
        name.removeprefix(SEARCH_PREFIX): value
        for name, value in row.items()
        if name.startswith(SEARCH_PREFIX) and value is not None
    }


def _mean(rows: Sequence[Row], name: str) -> float:
    """Return the mean of a metric over rows; NaN if a row has no value."""
    return float(np.array([row.get(name) for row in rows], dtype=np.float64).mean())
