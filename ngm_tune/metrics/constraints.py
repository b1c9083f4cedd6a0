"""Constraints: bounds on metrics that a configuration must satisfy to be on a front."""

from __future__ import annotations

import re
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ngm_tune.metrics.registry import METRICS, Metric

Value = TypeVar("Value", float, NDArray[np.float64])

_DIGITS = 6
"""Decimals of a violation that are significant: accuracies are stored as float32."""

_CONSTRAINT = re.compile(r"\s*(\w+)\s*(>=|<=)\s*(\S+)\s*")


class Constraint(NamedTuple):
    """A bound on a metric.

    Attributes:
        metric: The metric.
        at_least: Whether the bound is a lower bound.
        bound: The bound.
    """

    metric: Metric
    at_least: bool
    bound: float

    @classmethod
    def parse(cls, text: str) -> Constraint:
        """Parse a constraint such as ``"avg_acc >= 0.9"``.

        Raises:
            ValueError: The text has another form, the metric cannot be bounded, or the bound is
                not finite.
        """
        parts = _CONSTRAINT.fullmatch(text)
        bounded = [name for name, metric in METRICS.items() if metric.worst is not None]
        try:
            if parts is None:
                raise ValueError("not a comparison")
            bound = float(parts[3])
        except ValueError:
            raise ValueError(
                f"{text!r} is not a constraint; it must have the form 'avg_acc >= 0.9' or "
                "'avg_sg <= 0.1'"
            ) from None
        if parts[1] not in bounded or not np.isfinite(bound):
            raise ValueError(f"{text!r}: must be a finite bound on one of {', '.join(bounded)}")
        return cls(METRICS[parts[1]], parts[2] == ">=", bound)

    def violation(self, value: Value) -> Value:
        """Return by how much a value violates the constraint; zero or negative if it does not.

        Args:
            value: A value of the metric, or an array of values.
        """
        return self.bound - value if self.at_least else value - self.bound


def is_feasible(violation: float) -> bool:
    """Return whether a violation is zero or negative, up to rounding errors of float32."""
    return bool(are_feasible(np.float64(violation)))


def are_feasible(violation: NDArray[np.float64] | np.float64) -> NDArray[np.bool_]:
    """Apply :func:`is_feasible` to each element of an array."""
    return np.asarray(np.round(violation, _DIGITS) <= 0.0)
