"""Robustness of tuning: the share of a search space that lies near the method's front."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.stats import qmc

from ngm_tune.metrics.curves import Floats
from ngm_tune.metrics.pareto import hypervolume, shortfall
from ngm_tune.metrics.registry import Metric
from ngm_tune.metrics.selection import hypervolume_subset
from ngm_tune.results.columns import SEARCH_PREFIX
from ngm_tune.results.records import Range

from ..loaded_study import LoadedStudy
from .spaces import positions

NEAR_FRONT = 0.02
"""Distance to the front for which the table of methods shows the share of the search space."""

_HYPERVOLUME_SHARE = 0.99
"""Share of a front's hypervolume that the goals have together."""

_N_LOCATIONS = 4096
_MIN_TRIALS = 8
"""Smallest number of trials for which a share is estimated."""
_DISTANCES = np.linspace(0.0, 0.2, 81)


class RobustnessInfo(NamedTuple):
    """Share of each search space near the method's front.

    The distance of a trial is the smallest amount by which it falls short of some point of the
    front in every objective, in units of the way from the reference point to the ideal: the
    additive epsilon of Zitzler et al. 2003. Only front points that together have 99 % of the
    front's hypervolume count as goals: a trial at chance level, with no accuracy to lose, is
    non-dominated but not a goal. A trial is compared with the front of its own repetition. A
    location in the search space has the distance of its nearest trial.

    Attributes:
        shares: One row per method and ``distance``: ``Method`` and ``share``, the share of the
            search space (uniform in its own scales) within that distance.
        methods: Display names of all methods, in the order of colours.
    """

    shares: pl.DataFrame
    methods: list[str]

    def within(self, method: str, distance: float = NEAR_FRONT) -> float | None:
        """Return the share within a distance for a method's display name; None if unknown."""
        rows = self.shares.filter(Method=method).filter(pl.col("distance") <= distance + 1e-9)
        return None if rows.is_empty() else float(rows["share"].to_numpy().max())


def robustness_info(loaded: LoadedStudy, benchmark: str) -> RobustnessInfo | None:
    """Return the share of each search space near the method's front.

    Methods are omitted if the results lack their search space, they have fewer than 8 trials, or
    their front is empty.

    Returns:
        None if no method remains.
    """
    parts = []
    for method in loaded.methods:
        space = loaded.search_space(method)
        trials = loaded.search_trials(benchmark, method)
        recorded = all(SEARCH_PREFIX + name in trials.columns for name in space)
        if not space or not recorded or trials.height < _MIN_TRIALS or not trials["front"].any():
            continue
        searches = trials.partition_by("repetition")
        of_trials = np.concatenate([_distances(loaded, search) for search in searches])
        distances = of_trials[_nearest_trials(pl.concat(searches), space)]
        shares = [float(np.mean(distances <= distance + 1e-12)) for distance in _DISTANCES]
        parts.append(
            pl.DataFrame({"distance": _DISTANCES, "share": shares}).with_columns(
                Method=pl.lit(loaded.method_title(method))
            )
        )
    return RobustnessInfo(pl.concat(parts), loaded.method_titles) if parts else None


def _distances(loaded: LoadedStudy, trials: pl.DataFrame) -> Floats:
    """Return the distance of the trials of one search to its front, shape (N,).

    It is infinite for trials without objectives, and if the front is empty.
    """
    objectives = loaded.objectives
    reference_point = loaded.reference_point(trials["benchmark"][0])
    values = trials.select(metric.name for metric in objectives).to_numpy()
    losses = shortfall(values, objectives, reference_point)
    front = np.flatnonzero(trials["front"].to_numpy())
    if not len(front):
        return np.full(trials.height, np.inf)
    goals = front[_goals(values[front], objectives, reference_point)]
    distances = (losses[:, None, :] - losses[goals][None]).max(axis=2).min(axis=1)
    scored = (trials["status"] == "completed").to_numpy()
    valid = scored & trials["feasible"].to_numpy() & np.isfinite(distances)
    return np.where(valid, np.maximum(distances, 0.0), np.inf)


def _goals(
    front: Floats, objectives: list[Metric], reference_point: Mapping[str, float]
) -> list[int]:
    """Return the first points, in greedy order, that have most of the front's hypervolume."""
    order = hypervolume_subset(front, objectives, reference_point, len(front))
    enough = _HYPERVOLUME_SHARE * hypervolume(front, objectives, reference_point)
    for count in range(1, len(order)):
        if hypervolume(front[order[:count]], objectives, reference_point) >= enough:
            return order[:count]
    return order


def _nearest_trials(trials: pl.DataFrame, space: dict[str, Range]) -> NDArray[np.int64]:
    """Return the index of the trial nearest to each of 4096 evenly distributed locations."""
    axes, widths = [], []
    for name, limits in space.items():
        column = trials[SEARCH_PREFIX + name]
        if limits.choices:  # one-hot, so that all pairs of choices are equally far apart
            axes += [(column == str(c)).cast(pl.Float64).to_numpy() for c in limits.choices]
            widths.append(len(limits.choices))
            continue
        axes.append(positions(column.cast(pl.Float64).to_numpy(), limits))
        widths.append(1)
    locations = qmc.Sobol(len(widths), seed=0).random(_N_LOCATIONS)
    parts = [
        column[:, None] if width == 1 else np.eye(width)[(column * width).astype(int)]
        for column, width in zip(locations.T, widths, strict=True)
    ]
    _, nearest = cKDTree(np.column_stack(axes)).query(np.hstack(parts))
    return np.asarray(nearest, dtype=np.int64)
