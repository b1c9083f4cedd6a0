"""Selection of configurations: for confirmation, or the knee of a front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from ngm_tune.metrics.pareto import as_points, hypervolume, shortfall
from ngm_tune.metrics.registry import Metric


def hypervolume_subset(
    values: ArrayLike,
    objectives: Sequence[Metric],
    reference_point: Mapping[str, float],
    count: int,
) -> list[int]:
    """Return the indices of at most ``count`` points with a large joint hypervolume.

    Greedy hypervolume subset selection (Guerreiro, Fonseca and Paquete, Evolutionary Computation
    24, 2016): each point adds the most to the hypervolume of the previous ones. Points that add
    nothing come last, in order of their distance to the ideal.

    Args:
        values: One row per point, one column per objective, shape (N, M).
        objectives: The M metrics.
        reference_point: A value per objective.
        count: Largest number of points.
    """
    points = as_points(values, objectives)
    distance = np.linalg.norm(shortfall(points, objectives, reference_point), axis=1)
    remaining = [int(i) for i in distance.argsort(kind="stable")]
    chosen: list[int] = []
    while remaining and len(chosen) < count:
        volumes = [
            hypervolume(points[[*chosen, i]], objectives, reference_point) for i in remaining
        ]
        chosen.append(remaining.pop(int(np.argmax(volumes))))
    return chosen


def select_to_confirm(
    values: ArrayLike,
    objectives: Sequence[Metric],
    reference_point: Mapping[str, float],
    count: int,
) -> list[int]:
    """Return the indices of at most ``count`` points of a search to confirm, in this order.

    These are the points that :func:`hypervolume_subset` selects among those that are better than
    the reference point in every objective; if none is, the point nearest to the ideal. Points
    behind the front are selected too, if ``count`` allows: scores are noisy, so what is just
    behind the front may well be on it.

    Args:
        values: One row per point, one column per objective, shape (N, M).
        objectives: The M metrics.
        reference_point: A value per objective.
        count: Largest number of points.
    """
    points = as_points(values, objectives)
    is_useful = np.all(shortfall(points, objectives, reference_point) < 1.0, axis=1)
    useful = np.flatnonzero(is_useful)
    if not len(useful):
        return hypervolume_subset(points, objectives, reference_point, min(count, 1))
    order = hypervolume_subset(points[useful], objectives, reference_point, count)
    return [int(index) for index in useful[order]]


def find_knee(
    values: ArrayLike, objectives: Sequence[Metric], reference_point: Mapping[str, float]
) -> int:
    """Return the index of the point nearest to the ideal: the compromise solution of Zeleny (1973).

    Each objective is measured in units of the distance from the reference point to the ideal, so
    the choice between two points does not depend on other points. A point that is worse than the
    reference point in an objective is of no use; it is only returned if all points are.

    Args:
        values: One row per point, one column per objective, shape (N, M), N > 0.
        objectives: The M metrics.
        reference_point: A value per objective.
    """
    short = shortfall(values, objectives, reference_point)
    is_useless = (short >= 1.0).any(axis=1)
    return int(np.lexsort([np.linalg.norm(short, axis=1), is_useless])[0])
