"""Tuning effort: hypervolume as a function of the tuning budget.

A method that is easier to tune wins at small budgets regardless of its best performance, so the
report shows the budget: the hypervolume of the first n trials, and its mean over re-orderings of
the trials, as Dodge et al. 2019 ("Show Your Work", arXiv 1909.03004) do for one objective and
random search. For a sampler that learns, the mean over re-orderings is biased upwards at small
budgets, because the later trials are better.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ngm_tune.metrics.curves import Floats
from ngm_tune.metrics.pareto import normalised_hypervolume, shortfall

from ..loaded_study import LoadedStudy

_N_ORDERS = 200
_N_BUDGETS = 40
_BAND = (0.1, 0.9)


class EffortInfo(NamedTuple):
    """Hypervolume by tuning budget.

    Attributes:
        growth: One row per method, ``unit`` (``"trials"`` or ``"hours"``) and ``budget`` of one
            search: ``Method``, ``mean`` over re-orderings of the trials, ``low`` and ``high`` (10 %
            and 90 % quantiles), all over the repetitions of the search, and ``observed``, the
            hypervolume in the order of the search, mean over repetitions.
        methods: Display names of all methods, in the order of colours.
    """

    growth: pl.DataFrame
    methods: list[str]


def effort_info(loaded: LoadedStudy, benchmark: str) -> EffortInfo | None:
    """Return the hypervolume of each method's searches by budget, on validation data.

    Returns:
        None if no search has more than one trial.
    """
    parts = []
    for method in loaded.methods:
        trials = loaded.search_trials(benchmark, method)
        searches = [each for each in trials.partition_by("repetition") if each.height > 1]
        if searches:
            growth = _growth(loaded, searches)
            parts.append(growth.with_columns(Method=pl.lit(loaded.method_title(method))))
    return EffortInfo(pl.concat(parts), loaded.method_titles) if parts else None


def _growth(loaded: LoadedStudy, searches: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return the rows of :class:`EffortInfo` for the searches of one method."""
    trials = min(each.height for each in searches)
    hours = [float(_hours(each).sum()) for each in searches]
    budgets = np.unique(np.linspace(1, trials, _N_BUDGETS).round().astype(int))
    times = np.linspace(min(hours) / _N_BUDGETS, min(hours), _N_BUDGETS)
    volumes = [_volumes_by_budget(loaded, each, budgets, times) for each in searches]
    by_trials, by_hours = (np.stack(each) for each in zip(*volumes, strict=True))
    return pl.concat([_summary("trials", budgets, by_trials), _summary("hours", times, by_hours)])


def _hours(trials: pl.DataFrame) -> Floats:
    """Return the hours that each trial took, shape (N,)."""
    return np.asarray(trials["wall_seconds"].fill_null(0.0).to_numpy() / 3600)


def _volumes_by_budget(
    loaded: LoadedStudy, trials: pl.DataFrame, budgets: NDArray[Any], times: Floats
) -> tuple[Floats, Floats]:
    """Return the hypervolume of one search by trials and by hours, in its order and in others.

    Returns:
        Shapes (1 + orders, B) and (1 + orders, T); the first row is in the order of the search.
    """
    objectives = loaded.objectives
    reference_point = loaded.reference_point(trials["benchmark"][0])
    values = trials.select(metric.name for metric in objectives).to_numpy()
    losses = shortfall(values, objectives, reference_point)
    eligible = trials["eligible"].to_numpy()
    hours = _hours(trials)
    rng = np.random.default_rng(0)
    orders = [np.arange(trials.height), *(rng.permutation(trials.height) for _ in range(_N_ORDERS))]

    @cache
    def volume(front: tuple[int, ...]) -> float:
        return normalised_hypervolume(values[list(front)], objectives, reference_point)

    by_trials = np.zeros((len(orders), len(budgets)))
    by_hours = np.zeros((len(orders), len(times)))
    for row, order in enumerate(orders):
        volumes = np.zeros(trials.height + 1)
        front: list[int] = []
        for position in np.flatnonzero(eligible[order]):
            trial = int(order[position])
            if (losses[front] <= losses[trial]).all(axis=1).any():
                continue
            front = [i for i in front if (losses[i] < losses[trial]).any()] + [trial]
            volumes[position + 1 :] = volume(tuple(sorted(front)))
        spent = np.cumsum(hours[order])
        by_trials[row] = volumes[budgets]
        by_hours[row] = volumes[np.searchsorted(spent, times * (1 + 1e-9), side="right")]
    return by_trials, by_hours


def _summary(unit: str, budgets: NDArray[Any], volumes: Floats) -> pl.DataFrame:
    """Summarize hypervolumes by budget.

    Args:
        unit: Unit of the budgets.
        budgets: Shape (B,).
        volumes: Shape (R, 1 + orders, B) for R repetitions; the first order is that of the search.
    """
    reordered = volumes[:, 1:].reshape(-1, len(budgets))
    low, high = np.quantile(reordered, _BAND, axis=0)
    return pl.DataFrame(
        {
            "unit": [unit] * len(budgets),
            "budget": budgets.astype(np.float64),
            "mean": reordered.mean(axis=0),
            "low": low,
            "high": high,
            "observed": volumes[:, 0].mean(axis=0),
        }
    )
