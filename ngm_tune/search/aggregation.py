"""Aggregation: the outcomes of a configuration's runs, put together."""

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
        values: Objectives, means over its runs; None unless every run has them.
        violation: Violation of each constraint, means over its runs.
        each: Objectives of each run in order, followed by its violations.
    """

    status: Status | None
    values: Values | None
    violation: Values
    each: list[Values]

    def is_eligible(self, runs: int) -> bool:
        """Return whether the configuration may be on a front.

        Args:
            runs: Number of runs that a configuration needs to have every seed.
        """
        has_every_seed = len(self.each) == runs
        return is_eligible(self.status, self.values, self.violation, has_every_seed=has_every_seed)


PENDING = Aggregate(None, None, (), [])
"""A configuration of which no run has ended."""


def aggregate(outcomes: Iterable[tuple[int, Outcome]]) -> dict[int, Aggregate]:
    """Aggregate outcomes by configuration.

    Args:
        outcomes: Outcomes of runs, each with the number of its configuration.
    """
    runs: dict[int, list[Outcome]] = {}
    for configuration, outcome in outcomes:
        runs.setdefault(configuration, []).append(outcome)
    return {configuration: _aggregate(of_one) for configuration, of_one in runs.items()}


def _aggregate(runs: list[Outcome]) -> Aggregate:
    status = Status.worst(run.status for run in runs)
    values = [run.values for run in runs if run.values is not None]
    each = [run.values + run.violation for run in runs if run.values is not None]
    if len(each) < len(runs):
        return Aggregate(status, None, (), each)
    return Aggregate(status, _means(values), _means([run.violation for run in runs]), each)


def _means(rows: list[Values]) -> Values:
    if len(rows) == 1:
        return rows[0]
    return tuple(map(float, np.mean(rows, axis=0)))
