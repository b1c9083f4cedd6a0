"""Aggregation of the outcomes of a configuration over its runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from ngm_tune.results.eligibility import is_eligible
from ngm_tune.results.outcome import Outcome, Values
from ngm_tune.results.schema import Status


class Aggregate(NamedTuple):
    """State of a configuration after some of its runs.

    Attributes:
        status: The most severe status of its runs; None if no run has ended.
        values: Mean of each objective over its runs; None unless every run has objectives.
        violation: Mean violation of each constraint over its runs.
        run_values: Objectives of each run in order, followed by the violations of the run.
    """

    status: Status | None
    values: Values | None
    violation: Values
    run_values: list[Values]

    def is_eligible(self, runs: int) -> bool:
        """Return whether the configuration may be on a front.

        Args:
            runs: Number of runs that a configuration needs to have every seed.
        """
        has_every_seed = len(self.run_values) == runs
        return is_eligible(self.status, self.values, self.violation, has_every_seed=has_every_seed)


PENDING = Aggregate(None, None, (), [])
"""Aggregate of a configuration without an ended run."""


def aggregate(outcomes: Iterable[tuple[int, Outcome]]) -> dict[int, Aggregate]:
    """Aggregate the outcomes of runs by configuration.

    Args:
        outcomes: Pairs of the number of a configuration and the outcome of one of its runs.
    """
    runs: dict[int, list[Outcome]] = {}
    for configuration, outcome in outcomes:
        runs.setdefault(configuration, []).append(outcome)
    return {configuration: _aggregate_runs(ended) for configuration, ended in runs.items()}


def _aggregate_runs(runs: list[Outcome]) -> Aggregate:
    status = Status.worst(run.status for run in runs)
    values = [run.values for run in runs if run.values is not None]
    run_values = [run.values + run.violation for run in runs if run.values is not None]
    if len(run_values) < len(runs):
        return Aggregate(status, None, (), run_values)
    violation = _mean([run.violation for run in runs])
    return Aggregate(status, _mean(values), violation, run_values)


def _mean(rows: list[Values]) -> Values:
    if len(rows) == 1:
        return rows[0]
    return tuple(map(float, np.mean(rows, axis=0)))
