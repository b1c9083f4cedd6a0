"""Fronts, ranks and hypervolumes of several objectives, by moocore.

Every metric knows its direction. A value beyond the ideal counts as the ideal: accuracy that only
rises over a transition, as while a network still learns the old task, has a negative gap but is no
more stable than accuracy without a gap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ngm_tune.metrics.registry import Metric


def on_front(values: ArrayLike, objectives: Sequence[Metric]) -> NDArray[np.bool_]:
    """Which points no other point dominates, shape (N,). Equal points are on the front together.

    Args:
        values: One row per point, one column per objective, shape (N, M).
        objectives: The M metrics.
    """
    points = minimised(values, objectives)
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
    points = minimised(values, objectives)
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
    return np.asarray(moocore.pareto_rank(minimised(values, objectives)), dtype=np.int64)


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
    points = rows_of(values, objectives)
    return np.asarray(np.maximum(0.0, (ideal - points) / (ideal - reference)))


def minimised(values: ArrayLike, objectives: Sequence[Metric]) -> NDArray[np.float64]:
    """Return values with every objective to be minimised, shape (N, M), clipped at the ideal."""
    points = rows_of(values, objectives)
    ideal = [metric.sign * metric.best for metric in objectives]
    return np.maximum(points * [metric.sign for metric in objectives], ideal)


def rows_of(values: ArrayLike, objectives: Sequence[Metric]) -> NDArray[np.float64]:
    """One row per point, without digits that depend on the order in which a mean was summed."""
    return np.asarray(values, dtype=np.float64).reshape(-1, len(objectives)).round(12)
