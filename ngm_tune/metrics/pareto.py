"""Fronts and hypervolumes of trials, by moocore; every metric knows which way is better.

A value beyond the ideal counts as ideal: accuracy that only rises over a transition, as while a
network is still learning the old task, has a negative gap but is no more stable than one without a
gap.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ngm_tune.metrics.functional import METRICS, Metric

Amount = TypeVar("Amount", float, NDArray[np.float64])

_DIGITS = 6
"""Beyond which two values of a metric differ by rounding only: accuracies are kept in float32."""
NEAR = 0.01
"""How far below the best first objective a configuration may lie to be compared in the second."""
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

    excess = violation


def is_feasible(violation: float) -> bool:
    """Whether a constraint is kept, whichever way its violation was averaged."""
    return bool(are_feasible(np.float64(violation)))


def are_feasible(violation: NDArray[np.float64] | np.float64) -> NDArray[np.bool_]:
    """The same of several values, element by element."""
    return np.asarray(np.round(violation, _DIGITS) <= 0.0)


def on_front(values: ArrayLike, objectives: Sequence[Metric]) -> NDArray[np.bool_]:
    """Which points no other point dominates, shape (N,). Equal points are on the front together.

    Args:
        values: One row per point, one column per objective, shape (N, M).
        objectives: The M metrics.
    """
    points = _minimised(values, objectives)
    if not len(points):
        return np.zeros(0, dtype=np.bool_)
    return np.asarray(moocore.is_nondominated(points, keep_weakly=True), dtype=np.bool_)


def hypervolume(
    values: ArrayLike, objectives: Sequence[Metric], reference_point: Mapping[str, float]
) -> float:
    """Volume that the points dominate, up to the reference point; in the product of the units.

    Args:
        values: One row per point, one column per objective, shape (N, M).
        objectives: The M metrics.
        reference_point: A value per objective; what is not better contributes nothing.
    """
    points = _minimised(values, objectives)
    if not len(points):
        return 0.0
    reference = [metric.sign * reference_point[metric.name] for metric in objectives]
    return float(moocore.hypervolume(points, ref=reference))


def ranks(values: ArrayLike, objectives: Sequence[Metric]) -> NDArray[np.int64]:
    """Non-dominated rank of each point, shape (N,): 0 on the front, 1 on the next one, and so on.

    That of NSGA-II (Deb et al., IEEE Transactions on Evolutionary Computation 6, 2002).

    Args:
        values: One row per point, one column per objective, shape (N, M), N > 0.
        objectives: The M metrics.
    """
    return np.asarray(moocore.pareto_rank(_minimised(values, objectives)), dtype=np.int64)


def hypervolume_subset(
    values: ArrayLike,
    objectives: Sequence[Metric],
    reference_point: Mapping[str, float],
    count: int,
    first: Sequence[int] = (),
) -> list[int]:
    """Indices of at most ``count`` points of a front that together dominate much.

    Chosen greedily (Guerreiro, Fonseca and Paquete, Evolutionary Computation 24, 2016): the first
    is the one that dominates most, each further one adds most to those before; those that add
    nothing come last, nearest to the ideal first.

    Args:
        values: One row per point, one column per objective, shape (N, M).
        objectives: The M metrics.
        reference_point: A value per objective.
        count: How many.
        first: Points that are chosen already, and come first.
    """
    points = _rows(values, objectives)
    distance = np.linalg.norm(shortfall(points, objectives, reference_point), axis=1)
    left = [int(i) for i in distance.argsort(kind="stable") if i not in first]
    chosen = list(first[:count])
    while left and len(chosen) < count:
        volumes = [hypervolume(points[[*chosen, i]], objectives, reference_point) for i in left]
        chosen.append(left.pop(int(np.argmax(volumes))))
    return chosen


def contender(values: ArrayLike, objectives: Sequence[Metric], best: float) -> int | None:
    """Index of the point to compare with other methods' in the second objective.

    It is the best one there of those whose first objective lies within :data:`NEAR` of the best
    that any method has; None if there is none, or a single objective.

    Args:
        values: One row per point, one column per objective, shape (N, M).
        objectives: The M metrics.
        best: The best value of the first objective.
    """
    points = _rows(values, objectives)
    near = np.flatnonzero(are_near(points, objectives, best))
    if len(objectives) < 2 or not len(near):
        return None
    return int(near[best_in_second(points[near], objectives)])


def are_near(values: ArrayLike, objectives: Sequence[Metric], best: float) -> NDArray[np.bool_]:
    """Which points' first objective lies within :data:`NEAR` of the best, shape (N,).

    Args:
        values: One row per point, one column per objective, shape (N, M).
        objectives: The M metrics.
        best: The best value of the first objective.
    """
    (limit,) = _minimised([best], objectives[:1])[0] + NEAR
    return np.asarray(_minimised(values, objectives)[:, 0] <= limit + 1e-9)


def best_in_second(values: ArrayLike, objectives: Sequence[Metric]) -> int:
    """Index of the point that is best in the second objective, and of those in the first.

    Args:
        values: One row per point, one column per objective, shape (N, M), N > 0, M > 1.
        objectives: The M metrics.
    """
    points = _minimised(values, objectives)
    return int(np.lexsort((points[:, 0], points[:, 1]))[0])


def to_confirm(
    values: ArrayLike,
    objectives: Sequence[Metric],
    reference_point: Mapping[str, float],
    count: int,
    best: float,
) -> list[int]:
    """Indices of at most ``count`` points of a front that are to be confirmed, in this order.

    First the :func:`contender`, which the answer of the study is about, and then what together
    dominates most.

    Args:
        values: One row per point, one column per objective, shape (N, M).
        objectives: The M metrics.
        reference_point: A value per objective.
        count: How many.
        best: The best value of the first objective that any method has.
    """
    first = contender(values, objectives, best)
    return hypervolume_subset(
        values, objectives, reference_point, count, [] if first is None else [first]
    )


def knee(
    values: ArrayLike, objectives: Sequence[Metric], reference_point: Mapping[str, float]
) -> int:
    """Index of the point nearest to the ideal: the compromise solution of Zeleny (1973).

    Every objective is measured in units of the distance from the reference point to the ideal, so
    that the choice does not depend on which other points there are.

    Args:
        values: One row per point, one column per objective, shape (N, M), N > 0.
        objectives: The M metrics.
        reference_point: A value per objective.
    """
    return int(np.linalg.norm(shortfall(values, objectives, reference_point), axis=1).argmin())


def shortfall(
    values: ArrayLike, objectives: Sequence[Metric], reference_point: Mapping[str, float]
) -> NDArray[np.float64]:
    """How far each value is from ideal: 0 there and beyond, 1 at the reference point.

    Args:
        values: One row per point, one column per objective, shape (N, M).
        objectives: The M metrics.
        reference_point: A value per objective.

    Returns:
        Shape (N, M), without units.
    """
    ideal = np.array([metric.best for metric in objectives])
    reference = np.array([reference_point[metric.name] for metric in objectives])
    points = _rows(values, objectives)
    return np.asarray(np.maximum(0.0, (ideal - points) / (ideal - reference)))


def _minimised(values: ArrayLike, objectives: Sequence[Metric]) -> NDArray[np.float64]:
    points = _rows(values, objectives)
    ideal = [metric.sign * metric.best for metric in objectives]
    return np.maximum(points * [metric.sign for metric in objectives], ideal)


def _rows(values: ArrayLike, objectives: Sequence[Metric]) -> NDArray[np.float64]:
    """One row per point, without digits that depend on the order in which a mean was summed."""
    return np.asarray(values, dtype=np.float64).reshape(-1, len(objectives)).round(12)


is_kept, are_kept = is_feasible, are_feasible
