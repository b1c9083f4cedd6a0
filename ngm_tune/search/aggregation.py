"""What is known of configurations: their runs put together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from optuna.trial import TrialState

from ngm_tune.metrics.pareto import is_feasible
from ngm_tune.results.outcome import Outcome
from ngm_tune.results.schema import Status
from ngm_tune.search.optuna_journal import STATES

Values = tuple[float, ...]


class Knowledge(NamedTuple):
    """What is known of a configuration.

    Attributes:
        status: The worst of its runs; empty if none has ended.
        values: Objectives as means over its runs; None unless every one has them.
        violation: By how much each constraint is violated, likewise.
        each: The objectives of each run, in their order, and after them its violation.
    """

    status: str
    values: Values | None
    violation: Values
    each: list[Values]

    @property
    def eligible(self) -> bool:
        """Whether it could be on a front: no run was cut short, and the constraints hold."""
        return self.status == "completed" and all(is_feasible(amount) for amount in self.violation)

    @property
    def state(self) -> TrialState:
        """What a sampler is told: running, or how it ended."""
        return STATES.get(self.status, TrialState.RUNNING)


UNKNOWN = Knowledge("", None, (), [])
"""Of a configuration that has not ended any run."""


def gather(outcomes: Iterable[tuple[int, Outcome]]) -> dict[int, Knowledge]:
    """Put the runs of each configuration together.

    Args:
        outcomes: Of runs, with the number of the configuration each is of.
    """
    runs: dict[int, list[Outcome]] = {}
    for configuration, outcome in outcomes:
        runs.setdefault(configuration, []).append(outcome)
    return {configuration: _together(found) for configuration, found in runs.items()}


def _together(runs: list[Outcome]) -> Knowledge:
    status = Status.worst(run.status for run in runs)
    values = [run.values for run in runs if run.values is not None]
    each = [run.values + run.violation for run in runs if run.values is not None]
    if len(each) < len(runs):
        return Knowledge(status, None, (), each)
    return Knowledge(status, _means(values), _means([run.violation for run in runs]), each)


def _means(rows: list[Values]) -> Values:
    if len(rows) == 1:
        return rows[0]
    return tuple(map(float, np.mean(rows, axis=0)))
