"""Fronts and hypervolumes of trials, by moocore; every metric knows which way is better.

A value beyond the ideal counts as ideal: accuracy that only rises over a transition, as while a
network is still learning the old task, has a negative gap but is no more stable than one without a
gap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ngm_tune.metrics import Metric


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


def knee(
    values: ArrayLike, objectives: Sequence[Metric], reference_point: Mapping[str, float]
) -> int:
    """Index of the point nearest to the ideal.

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
    """How far each value is from ideal: 0 there and beyond, 1 at the reference point."""
    ideal = np.array([metric.best for metric in objectives])
    reference = np.array([reference_point[metric.name] for metric in objectives])
    points = np.asarray(values, dtype=np.float64).reshape(-1, len(objectives))
    return np.asarray(np.maximum(0.0, (ideal - points) / (ideal - reference)))


def _minimised(values: ArrayLike, objectives: Sequence[Metric]) -> NDArray[np.float64]:
    points = np.asarray(values, dtype=np.float64).reshape(-1, len(objectives))
    ideal = [metric.sign * metric.best for metric in objectives]
    return np.maximum(points * [metric.sign for metric in objectives], ideal)
