"""Endpoints of the verdict: the quantities in which two methods are compared, per replicate.

The confirmed configurations of a method are points in the space of the objectives, each the mean
over its confirmation seeds. The primary endpoint is the normalised hypervolume of these points.
With two objectives there are two secondary endpoints, in the units of the objectives: the distance
of the two attainment fronts along either axis. No threshold selects a configuration.

An attainment front is the boundary of what a set of points weakly dominates; see Fonseca,
Guerreiro, López-Ibáñez and Paquete, On the computation of the empirical attainment function,
EMO 2011.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ngm_tune.metrics.curves import Floats
from ngm_tune.metrics.pareto import minimized, normalised_hypervolume, ranges
from ngm_tune.metrics.registry import Metric

Difference = Callable[[Floats, Floats], float]
"""Function of the points of two methods, shapes (C, M) and (D, M), that returns how much better the
first method is. It is NaN where the difference is undefined."""

HYPERVOLUME = "hypervolume"
"""Name of the primary endpoint of several objectives."""


@dataclass(frozen=True)
class Endpoint:
    """A quantity in which two methods are compared.

    Attributes:
        name: Key in tables.
        title: Display name.
        difference: How much better the first of two methods is in one replicate.
        metric: The metric in whose unit the difference is; None for the hypervolume, which is a
            share of the volume between the reference point and the ideal.
        margin: Largest difference without practical use; None if the study declares none.
        primary: Whether the verdict rests on this endpoint.
    """

    name: str
    title: str
    difference: Difference
    metric: Metric | None = None
    margin: float | None = None
    primary: bool = False

    @property
    def sign(self) -> float:
        """Factor from "how much better" to a difference in the metric: -1 if it is minimized."""
        return 1.0 if self.metric is None else -self.metric.sign


def search_endpoints(
    objectives: Sequence[Metric],
    reference_point: Mapping[str, float],
    margins: Mapping[str, float],
) -> list[Endpoint]:
    """Return the endpoints of a study that searches, the primary one first.

    With a single objective this is its best value; with two, the hypervolume and either objective
    at equal values of the other; with more, the hypervolume.

    Args:
        objectives: The M metrics.
        reference_point: The least useful value of each objective.
        margins: Largest difference without practical use, of any of the objectives.
    """
    if len(objectives) == 1:
        return [_value_endpoint(objectives[0], 0, margins, primary=True)]
    primary = Endpoint(
        HYPERVOLUME,
        "Hypervolume",
        partial(hypervolume_difference, objectives=objectives, reference_point=reference_point),
        margin=hypervolume_margin(objectives, reference_point, margins),
        primary=True,
    )
    if len(objectives) > 2:
        return [primary]
    first, second = objectives
    return [
        primary,
        *(
            Endpoint(
                f"{measured.name} at equal {equal.name}",
                f"{measured.title} at equal {equal.title.lower()}",
                partial(
                    front_distance,
                    objectives=objectives,
                    reference_point=reference_point,
                    equal=equal,
                ),
                measured,
                margins.get(measured.name),
            )
            for measured, equal in ((second, first), (first, second))
        ),
    ]


def value_endpoints(objectives: Sequence[Metric], margins: Mapping[str, float]) -> list[Endpoint]:
    """Return the endpoints of fixed runs: the value of each objective; the first one is primary.

    A method of a study of fixed runs has a single configuration, and its seeds are the replicates.

    Args:
        objectives: The M metrics.
        margins: Largest difference without practical use, of any of the objectives.
    """
    return [
        _value_endpoint(metric, column, margins, primary=column == 0)
        for column, metric in enumerate(objectives)
    ]


def hypervolume_difference(
    points: Floats,
    others: Floats,
    objectives: Sequence[Metric],
    reference_point: Mapping[str, float],
) -> float:
    """Return how much larger the normalised hypervolume of ``points`` is than that of ``others``.

    Args:
        points: One row per configuration, shape (C, M).
        others: The same of the other method, shape (D, M).
        objectives: The M metrics.
        reference_point: The least useful value of each objective.
    """
    share, other = (
        normalised_hypervolume(each, objectives, reference_point) for each in (points, others)
    )
    return share - other


def hypervolume_margin(
    objectives: Sequence[Metric],
    reference_point: Mapping[str, float],
    margins: Mapping[str, float],
) -> float | None:
    """Return the largest difference in normalised hypervolume without practical use.

    If every point shifts by the margin of one objective, the hypervolume changes by at most this
    margin divided by the distance from the reference point to the ideal. The smallest of these
    bounds is returned; None unless every objective has a margin.
    """
    if any(metric.name not in margins for metric in objectives):
        return None
    given = np.array([margins[metric.name] for metric in objectives])
    return float((given / ranges(objectives, reference_point)).min())


def front_distance(
    points: Floats,
    others: Floats,
    objectives: Sequence[Metric],
    reference_point: Mapping[str, float],
    equal: Metric,
) -> float:
    """Return how much better one method is in one of two objectives at equal values of the other.

    The attainment front of a method gives, at each value of ``equal``, the best measured value
    among the configurations that are at least as good in ``equal``. The distance of two fronts is
    averaged over the values of ``equal`` that both methods reach and that are better than the
    reference point. Both fronts are step functions, so the average is exact. A measured value worse
    than the reference point counts as the reference point.

    Args:
        points: One row per configuration, shape (C, 2).
        others: The same of the other method, shape (D, 2).
        objectives: The two metrics.
        reference_point: The least useful value of each objective.
        equal: The objective that is equal; the other one is measured.

    Returns:
        In the unit of the measured objective; NaN if a method does not reach a value of ``equal``
        that is better than the reference point.
    """
    columns = [*objectives].index(equal), 1 - [*objectives].index(equal)
    worst_equal, worst_measured = (
        objectives[i].sign * reference_point[objectives[i].name] for i in columns
    )
    fronts = [minimized(each, objectives)[:, columns] for each in (points, others)]
    best_common = max(front[:, 0].min(initial=np.inf) for front in fronts)
    if best_common >= worst_equal:
        return np.nan
    values = np.concatenate([[best_common, worst_equal], *(front[:, 0] for front in fronts)])
    edges = np.unique(values.clip(best_common, worst_equal))
    steps = [_attained(front, edges[:-1]).clip(max=worst_measured) for front in fronts]
    return float(np.average(steps[1] - steps[0], weights=np.diff(edges)))


def _attained(front: Floats, values: Floats) -> Floats:
    """Return the smallest second coordinate of the points whose first is at most each value.

    Args:
        front: Points with both coordinates minimized, shape (C, 2).
        values: Values of the first coordinate that the points reach, shape (V,).

    Returns:
        Shape (V,).
    """
    reached = front[:, :1] <= values
    return np.asarray(np.where(reached, front[:, 1:], np.inf).min(axis=0))


def _value_endpoint(
    metric: Metric, column: int, margins: Mapping[str, float], *, primary: bool
) -> Endpoint:
    difference = partial(_value_difference, metric=metric, column=column)
    return Endpoint(
        metric.name, metric.title, difference, metric, margins.get(metric.name), primary
    )


def _value_difference(points: Floats, others: Floats, metric: Metric, column: int) -> float:
    """Return how much better the best value of a metric is; the worst one without points."""
    best, other = (
        metric.best_among(each[:, column].tolist() or [_worst(metric)]) for each in (points, others)
    )
    return -metric.sign * (best - other)


def _worst(metric: Metric) -> float:
    if metric.worst is None:
        raise ValueError(f"{metric.name} has no worst value, so it cannot be an objective")
    return metric.worst
