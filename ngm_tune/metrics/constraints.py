"""Constraints on metrics: a bound that a configuration must satisfy to be on a front."""

from __future__ import annotations

import re
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ngm_tune.metrics.registry import METRICS, Metric

Amount = TypeVar("Amount", float, NDArray[np.float64])


_DIGITS = 6
"""Beyond which two values of a metric differ by rounding only: accuracies are kept in float32."""


_CONSTRAINT = re.compile(r"\s*(\w+)\s*(>=|<=)\s*(\S+)\s*")


class Constraint(NamedTuple):
    """A bound on a metric that a trial must keep to be on a front."""

    metric: Metric
    at_least: bool
    bound: float

    @classmethod
    def parse(cls, text: str) -> Constraint:
        """Read ``"avg_acc >= 0.9"``.

        Raises:
            ValueError: It says nothing of that kind.
        """
        parts = _CONSTRAINT.fullmatch(text)
        bounded = [name for name, metric in METRICS.items() if metric.worst is not None]
        try:
            if parts is None:
                raise ValueError("no comparison")
            bound = float(parts[3])
        except ValueError:
            raise ValueError(
                f"{text!r} is no constraint; it must be like 'avg_acc >= 0.9' or 'avg_sg <= 0.1'"
            ) from None
        if parts[1] not in bounded or not np.isfinite(bound):
            raise ValueError(f"{text!r}: must be a finite bound on one of {', '.join(bounded)}")
        return cls(METRICS[parts[1]], parts[2] == ">=", bound)

    def violation(self, value: Amount) -> Amount:
        """By how much a value, or each of several, violates it; zero or less where it holds."""
        return self.bound - value if self.at_least else value - self.bound


def is_feasible(violation: float) -> bool:
    """Whether a constraint is kept, whichever way its violation was averaged."""
    return bool(are_feasible(np.float64(violation)))


def are_feasible(violation: NDArray[np.float64] | np.float64) -> NDArray[np.bool_]:
    """The same of several values, element by element."""
    return np.asarray(np.round(violation, _DIGITS) <= 0.0)
