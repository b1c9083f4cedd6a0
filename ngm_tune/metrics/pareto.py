"""Pareto fronts, ranks and hypervolumes of several objectives, computed by moocore.

Each metric has a direction. A value better than the ideal counts as the ideal. For example, the
signed stability gap is negative if accuracy only rises over a transition because the network still
learns the old task; this is not more stable than a gap of zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ngm_tune.metrics.registry import Metric


def on_front(values: ArrayLike, objectives: Sequence[Metric]) -> NDArray[np.bool_]:
    """Return a mask of the points that no other point dominates, shape (N,).

    Equal points are on the front together.

    Args:
        values: One row per point, one column per objective, shape (N, M).
        objectives: The M metrics.
    """
    points = minimized(values, objectives)
    if not len(points):
        return np.zeros(0, dtype=np.bool_)
    return np.asarray(moocore.is_nondominated(points, keep_weakly=True), dtype=np.bool_)


def hypervolume(
    values: ArrayLike, objectives: Sequence[Metric], reference_point: Mapping[str, float]
) -> float:
    """Return the volume that the points dominate, up to the reference point.

    Its unit is the product of the units of the objectives.

    Args:
        values: One row per point, one column per objective, shape (N, M).
        objectives: The M metrics.
        reference_point: A value per objective. A point must be better in each to contribute.
    """
    points = minimized(values, objectives)
    if not len(points):
        return 0.0
    reference = [metric.sign * reference_point[metric.name] for metric in objectives]
    return float(moocore.hypervolume(points, ref=reference))


def normalised_hypervolume(
    values: ArrayLike, objectives: Sequence[Metric], reference_point: Mapping[str, float]
) -> float:
    """Return the share of the volume between reference point and ideal that the points dominate.

    Args:
        values: One row per point, one column per objective, shape (N, M). Without rows, it is 0.
        objectives: The M metrics.
        reference_point: The least useful value of each objective.
    """
    whole = float(np.prod(ranges(objectives, reference_point)))
    return hypervolume(values, objectives, reference_point) / whole


def ranges(
    objectives: Sequence[Metric], reference_point: Mapping[str, float]
) -> NDArray[np.float64]:
    """Return the distances from the reference point to the ideal, shape (M,)."""
    return np.array([abs(metric.best - reference_point[metric.name]) for metric in objectives])


def ranks(values: ArrayLike, objectives: Sequence[Metric]) -> NDArray[np.int64]:
    """Return the non-dominated rank of each point, shape (N,): 0 on the front, 1 on the next front.

    Source: NSGA-II (Deb et al., IEEE Transactions on Evolutionary Computation 6, 2002).

    Args:
        values: One row per point, one column per objective, shape (N, M), N > 0.
        objectives: The M metrics.
    """
    return np.asarray(moocore.pareto_rank(minimized(values, objectives)), dtype=np.int64)


def shortfall(
    values: ArrayLike, objectives: Sequence[Metric], reference_point: Mapping[str, float]
) -> NDArray[np.float64]:
    """Return the distance of each value from the ideal, relative to that of the reference point.

    It is 0 at the ideal and beyond, and 1 at the reference point.

    Args:
        values: One row per point, one column per objective, shape (N, M).
        objectives: The M metrics.
        reference_point: A value per objective.

    Returns:
        Shape (N, M), dimensionless.
    """
    ideal = np.array([metric.best for metric in objectives])
    reference = np.array([reference_point[metric.name] for metric in objectives])
    points = as_points(values, objectives)
    return np.asarray(np.maximum(0.0, (ideal - points) / (ideal - reference)))


def minimized(values: ArrayLike, objectives: Sequence[Metric]) -> NDArray[np.float64]:
    """Return the values negated where larger is better, shape (N, M), clipped at the ideal."""
    points = as_points(values, objectives)
    ideal = [metric.sign * metric.best for metric in objectives]
    return np.maximum(points * [metric.sign for metric in objectives], ideal)


def as_points(values: ArrayLike, objectives: Sequence[Metric]) -> NDArray[np.float64]:
    """Return one row per point, shape (N, M), rounded so that summation order does not matter."""
    return np.asarray(values, dtype=np.float64).reshape(-1, len(objectives)).round(12)
