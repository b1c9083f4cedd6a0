"""Aggregation: the outcomes of a configuration's runs, put together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from ngm_tune.metrics.constraints import is_feasible
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
        """Whether the configuration may be on a front.

        It must have completed with every seed and be feasible (rule 4 of fair comparison).

        Args:
            runs: Number of runs that a configuration needs.
        """
        return (
            self.status is Status.COMPLETED
            and self.values is not None
            and len(self.each) == runs
            and all(map(is_feasible, self.violation))
        )


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
