"""What tuning effort buys: hypervolume by budget, and how much of a search space is good.

A method that is easier to tune wins at small budgets whatever it can do, so the budget is shown:
the hypervolume of the first n trials, and what is to be expected of it had they come in any order,
in the manner of Dodge et al. 2019 ("Show Your Work", arXiv 1909.03004), who do so for one objective
and a random search. Of a sampler that learns the second is too high: its later trials are better.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.stats import qmc

from ngm_tune.metrics.functional import Floats, Metric
from ngm_tune.metrics.pareto import hypervolume, hypervolume_subset, shortfall
from ngm_tune.results.records import Range
from ngm_tune.results.schema import SEARCH_PREFIX

from ..loading import ELIGIBLE, PARTIAL, LoadedStudy

NEAR_FRONT = 0.02
"""The distance to the front that the table of the methods gives the share of the space for."""

_BULK = 0.99
"""The part of a front's hypervolume that the points have together to which distance is measured."""

_ORDERS = 200
_BUDGETS = 40
_BAND = (0.1, 0.9)
_LOCATIONS = 4096
_FEWEST = 8
"""Trials without which a share says nothing."""
_DISTANCES = np.linspace(0.0, 0.2, 81)


class EffortInfo(NamedTuple):
    """Hypervolume by budget.

    ``growth`` has a row per method, ``unit`` ("trials" or "hours") and ``budget``: ``Method``,
    ``mean`` over re-orderings of its trials, ``low`` and ``high`` (their 10 % and 90 % quantiles),
    and ``found``, the hypervolume in the order in which the search went. Where seeds were raced for
    the unit is "seed-runs" instead of "trials", as a trial costs as many as it got, and ``found``
    is null: the trials have no such order then.
    """

    growth: pl.DataFrame
    methods: list[str]


class RobustnessInfo(NamedTuple):
    """How much of a search space is good.

    ``shares`` has a row per method and ``distance``: ``Method`` and ``share``, that of the search
    space (uniform in its own scales) that lies within the distance of the method's front. Distance
    is the smallest amount by which a trial falls short of some point of the front in every
    objective, in units of the way from the reference point to the ideal: the additive epsilon of
    Zitzler et al. 2003. Of the front those points count that together have 99 % of its hypervolume:
    a trial at chance, whose accuracy has nothing to lose, is not dominated and yet no goal. A
    location counts as the trial nearest to it.
    """

    shares: pl.DataFrame
    methods: list[str]

    def within(self, method: str, distance: float = NEAR_FRONT) -> float | None:
        """The share of a method's space within a distance; None if it is not known."""
        rows = self.shares.filter(Method=method).filter(pl.col("distance") <= distance + 1e-9)
        return None if rows.is_empty() else float(rows["share"].to_numpy().max())


def effort_info(loaded: LoadedStudy, benchmark: str) -> EffortInfo | None:
    """Hypervolume by budget, from the search; None where there was none."""
    parts = [
        _growth(loaded, loaded.searched(benchmark, method)).with_columns(
            Method=pl.lit(loaded.method_title(method))
        )
        for method in loaded.methods
        if loaded.searched(benchmark, method).height > 1
    ]
    if not parts:
        return None
    return EffortInfo(pl.concat(parts), loaded.method_titles)


def _growth(loaded: LoadedStudy, arm: pl.DataFrame) -> pl.DataFrame:
    objectives, reference = loaded.objectives, loaded.study.reference_point
    values = arm.select(metric.name for metric in objectives).to_numpy()
    hours = arm["wall_seconds"].fill_null(0.0).to_numpy() / 3600
    eligible = arm.select(ELIGIBLE).to_series().to_numpy() & np.isfinite(values).all(axis=1)
    rng = np.random.default_rng(0)
    orders = [np.arange(arm.height), *(rng.permutation(arm.height) for _ in range(_ORDERS))]
    runs = arm["seeds"].to_numpy() if loaded.racing else np.ones(arm.height, dtype=int)
    steps = np.unique(np.linspace(1, runs.sum(), _BUDGETS).round().astype(int))
    times = np.linspace(hours.sum() / _BUDGETS, hours.sum(), _BUDGETS)
    by_trials = np.zeros((len(orders), len(steps)))
    by_hours = np.zeros((len(orders), len(times)))
    losses = shortfall(values, objectives, reference)
    for row, order in enumerate(orders):
        spent = np.cumsum(hours[order])
        volumes = np.zeros(arm.height + 1)
        front: list[int] = []
        for place in np.flatnonzero(eligible[order]):
            trial = int(order[place])
            if (losses[front] <= losses[trial]).all(axis=1).any():
                continue
            front = [i for i in front if (losses[i] < losses[trial]).any()] + [trial]
            volumes[place + 1 :] = hypervolume(values[front], objectives, reference)
        by_trials[row] = volumes[np.searchsorted(np.cumsum(runs[order]), steps, side="right")]
        by_hours[row] = volumes[np.searchsorted(spent, times * (1 + 1e-9), side="right")]
    ordered = not loaded.racing
    unit = "trials" if ordered else "seed-runs"
    return pl.concat(
        [
            _summary(unit, steps, by_trials, ordered=ordered),
            _summary("hours", times, by_hours, ordered=ordered),
        ]
    )


def _summary(unit: str, budgets: NDArray[Any], volumes: Floats, *, ordered: bool) -> pl.DataFrame:
    """Over the re-orderings, which come after the order of the search itself."""
    low, high = np.quantile(volumes[1:], _BAND, axis=0)
    return pl.DataFrame(
        {
            "unit": [unit] * len(budgets),
            "budget": budgets.astype(np.float64),
            "mean": volumes[1:].mean(axis=0),
            "low": low,
            "high": high,
            "found": volumes[0] if ordered else [None] * len(budgets),
        },
        schema_overrides={"found": pl.Float64},
    )


def robustness_info(loaded: LoadedStudy, benchmark: str) -> RobustnessInfo | None:
    """Shares of the search spaces, where the results say what was searched."""
    parts = []
    for method in loaded.methods:
        space = loaded.space(method)
        arm = loaded.searched(benchmark, method)
        known = all(SEARCH_PREFIX + name in arm.columns for name in space)
        if not space or not known or arm.height < _FEWEST or not arm["front"].any():
            continue
        distances = _distances(loaded, arm)
        nearest = _nearest(arm, space)
        share = [float(np.mean(distances[nearest] <= d + 1e-12)) for d in _DISTANCES]
        title = loaded.method_title(method)
        parts.append(
            pl.DataFrame({"distance": _DISTANCES, "share": share}).with_columns(
                Method=pl.lit(title)
            )
        )
    if not parts:
        return None
    return RobustnessInfo(pl.concat(parts), loaded.method_titles)


def _distances(loaded: LoadedStudy, arm: pl.DataFrame) -> Floats:
    """Of every trial to the front, shape (N,); infinite for one without objectives."""
    objectives, reference = loaded.objectives, loaded.study.reference_point
    names = [metric.name for metric in objectives]
    values = arm.select(names).to_numpy()
    losses = shortfall(values, objectives, reference)
    front = np.flatnonzero(arm["front"].to_numpy())
    goals = front[_bulk(values[front], objectives, reference)]
    behind = (losses[:, None, :] - losses[goals][None]).max(axis=2).min(axis=1)
    measured = arm["status"].is_in(["completed", PARTIAL]).to_numpy() & arm["feasible"].to_numpy()
    return np.where(measured & np.isfinite(behind), np.maximum(behind, 0.0), np.inf)


def _bulk(front: Floats, objectives: list[Metric], reference: Mapping[str, float]) -> list[int]:
    """Few points of a front that have most of its hypervolume."""
    order = hypervolume_subset(front, objectives, reference, len(front))
    enough = _BULK * hypervolume(front, objectives, reference)
    for count in range(1, len(order)):
        if hypervolume(front[order[:count]], objectives, reference) >= enough:
            return order[:count]
    return order


def _nearest(arm: pl.DataFrame, space: dict[str, Range]) -> NDArray[np.int64]:
    """The trial nearest to each of many locations that fill the search space evenly."""
    axes, widths = [], []
    for name, where in space.items():
        column = arm[SEARCH_PREFIX + name]
        if where.choices:  # a corner each, so that any two are equally far apart
            axes += [(column == str(c)).cast(pl.Float64).to_numpy() for c in where.choices]
            widths.append(len(where.choices))
            continue
        assert where.low is not None
        assert where.high is not None
        scale = np.log if where.log else np.asarray
        low, high = scale(where.low), scale(where.high)
        extent = high - low or 1.0  # a method of somebody's may have a range of one value
        axes.append((scale(column.cast(pl.Float64).to_numpy()) - low) / extent)
        widths.append(1)
    even = qmc.Sobol(len(widths), seed=0).random(_LOCATIONS)
    parts = [
        column[:, None] if width == 1 else np.eye(width)[(column * width).astype(int)]
        for column, width in zip(even.T, widths, strict=True)
    ]
    _, nearest = cKDTree(np.column_stack(axes)).query(np.hstack(parts))
    return np.asarray(nearest, dtype=np.int64)
