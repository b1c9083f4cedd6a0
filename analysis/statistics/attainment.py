"""Where in the plane of the objectives the first method attains more than its best rival.

A point is attained by a search if one of its confirmed configurations is at least as good in both
objectives. The empirical attainment function of a method is the share of its repetitions and seeds
that attain a point; the difference between two methods shows where either is better. Source:
Fonseca, Guerreiro, López-Ibáñez and Paquete, On the computation of the empirical attainment
function, EMO 2011 (:func:`moocore.eafdiff`).
"""

from __future__ import annotations

from typing import NamedTuple

import moocore
import numpy as np
import polars as pl

from ngm_tune.metrics.curves import Floats
from ngm_tune.metrics.registry import Metric

from ..loaded_study import LoadedStudy
from .answer import Answer
from .replicates import replicate_values


class AttainmentInfo(NamedTuple):
    """Data of the chart of attainment differences.

    Attributes:
        differences: Rectangles of the plane, with the columns ``x``, ``x2``, ``y``, ``y2`` and
            ``difference``: the share of the first method's replicates that attain its points minus
            that of the rival, from -1 to 1. Where both attain the same share there is no rectangle.
        focus: Display name of the study's first method.
        rival: Display name of its rival with the largest hypervolume.
        n_replicates: Number of replicates of each method: repetitions times seeds.
        x: Metric of the horizontal axis, the study's second objective.
        y: Metric of the vertical axis, the first objective.
        x_domain: Range of ``x``: from the best value that either method attains to the reference.
        y_domain: Range of ``y``.
    """

    differences: pl.DataFrame
    focus: str
    rival: str
    n_replicates: int
    x: Metric
    y: Metric
    x_domain: tuple[float, float]
    y_domain: tuple[float, float]


def attainment_info(loaded: LoadedStudy, answer: Answer) -> AttainmentInfo | None:
    """Compare the attainment of the study's first method with that of its best rival.

    Returns:
        None without a comparison, without a confirmation, for fixed runs, with a number of
        objectives other than two, and with a single replicate.
    """
    rivals = [each.method for each in answer.hypervolumes if each.method != answer.focus]
    if not (answer.comparisons and answer.confirmed and rivals) or len(loaded.objectives) != 2:
        return None
    y, x = loaded.objectives
    values = replicate_values(loaded, answer.benchmark)
    n_seeds = max(runs.shape[1] for each in values.values() for runs in each)
    n_replicates = n_seeds * answer.n_replicates
    if n_replicates < 2:
        return None
    reference_point = loaded.reference_point(answer.benchmark)
    signs = np.array([x.sign, y.sign])
    worst = signs * [reference_point[x.name], reference_point[y.name]]
    sets = [
        _points_by_replicate(values[method], n_seeds, signs, worst)
        for method in (answer.focus, rivals[0])
    ]
    rectangles = moocore.eafdiff(*sets, rectangles=True)
    corners = np.minimum(rectangles[:, :4], np.tile(worst, 2))
    is_visible = (corners[:, :2] < corners[:, 2:]).all(axis=1) & (rectangles[:, 4] != 0)
    low_x, low_y, high_x, high_y = (corners[is_visible] * np.tile(signs, 2)).T
    best = np.concatenate(sets)[:, :2].min(axis=0)
    x_domain, y_domain = (
        (float(min(ends)), float(max(ends)))
        for ends in zip(signs * best, signs * worst, strict=True)
    )
    return AttainmentInfo(
        pl.DataFrame(
            {
                "x": low_x,
                "x2": high_x,
                "y": low_y,
                "y2": high_y,
                "difference": rectangles[is_visible, 4] / n_replicates,
            }
        ),
        loaded.method_title(answer.focus),
        loaded.method_title(rivals[0]),
        n_replicates,
        x,
        y,
        x_domain,
        y_domain,
    )


def _points_by_replicate(
    repetitions: list[Floats], n_seeds: int, signs: Floats, worst: Floats
) -> Floats:
    """Return minimized x and y of every configuration, with the number of its replicate.

    Every replicate also has the reference point, since eafdiff omits sets without points.

    Args:
        repetitions: For each repetition, shape (C, S, 2) with the objectives y and x.
        n_seeds: S; a repetition without a configuration has arrays of shape (0, 0, 2).
        signs: Factors that make x and y minimized.
        worst: The reference point, minimized.

    Returns:
        Shape (N, 3).
    """
    rows = []
    for repetition, runs in enumerate(repetitions):
        for seed in range(n_seeds):
            points = runs[:, seed, ::-1] * signs if seed < runs.shape[1] else np.empty((0, 2))
            number = 1 + repetition * n_seeds + seed
            points = np.vstack([points[~np.isnan(points).any(axis=1)], worst])
            rows.append(np.column_stack([points, np.full(len(points), number)]))
    return np.concatenate(rows)
