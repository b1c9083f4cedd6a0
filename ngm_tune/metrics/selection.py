"""Selection of configurations from a front: by hypervolume, at equal accuracy, or the knee."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ngm_tune.metrics.pareto import hypervolume, minimised, rows_of, shortfall
from ngm_tune.metrics.registry import Metric

NEAR = 0.01
"""How far below the best first objective a configuration may lie to be compared in the second."""


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
    points = rows_of(values, objectives)
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
    points = rows_of(values, objectives)
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
    (limit,) = minimised([best], objectives[:1])[0] + NEAR
    return np.asarray(minimised(values, objectives)[:, 0] <= limit + 1e-9)


def best_in_second(values: ArrayLike, objectives: Sequence[Metric]) -> int:
    """Index of the point that is best in the second objective, and of those in the first.

    Args:
        values: One row per point, one column per objective, shape (N, M), N > 0, M > 1.
        objectives: The M metrics.
    """
    points = minimised(values, objectives)
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
