"""Optimism of a search: its validation scores against confirmed test scores.

The best of many noisy scores is biased, because the same data selected it. Confirmation uses fresh
seeds and test data, which took no part in the selection. It also trains on the validation split,
which by itself changes scores slightly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import polars as pl

from ngm_tune.metrics.curves import Floats
from ngm_tune.metrics.pareto import normalised_hypervolume
from ngm_tune.metrics.registry import METRICS

from ..loaded_study import LoadedStudy
from .replicates import values_by_seed

SEARCHED = "searched_"
"""Prefix of columns with the search's estimate of a metric."""


class Optimism(NamedTuple):
    """Optimism of one objective, or of the hypervolume, for the confirmed configurations.

    Attributes:
        name: Name of the metric, or ``"hypervolume"``.
        title: Display name.
        n_configurations: Number of confirmed configurations of the method.
        searched: Mean of the search's estimates; for the hypervolume, that of their set.
        confirmed: The same quantity of the confirmed scores.
        optimism: Amount by which the search's estimate is better, in the metric's unit.
        error: Standard error of ``optimism`` over repetitions or, with a single one, over the seeds
            of both phases; NaN if either phase has a single seed then.
    """

    name: str
    title: str
    n_configurations: int
    searched: float
    confirmed: float
    optimism: float
    error: float


def optimism(loaded: LoadedStudy, benchmark: str, method: str) -> list[Optimism]:
    """Return the optimism of every objective and, with several objectives, of the hypervolume.

    Diverged confirmations enter with the worst value of each metric. Values are means over
    repetitions. The error is that over repetitions or, with a single one, the jackknife's standard
    error with one seed left out for all configurations at once, because configurations share the
    effect of a seed.

    Returns:
        One entry per objective; empty if the method has no confirmed configuration.
    """
    pairs = confirmation_pairs(loaded, benchmark).filter(method=method)
    if not pairs.height:
        return []
    objectives = loaded.objectives
    entries = [(metric.name, metric.title, metric.sign) for metric in objectives]
    if len(objectives) > 1:
        entries.append(("hypervolume", "Hypervolume", -1))

    def summarize(values: Floats) -> Floats:
        """Return the mean of each objective and the hypervolume; ``values`` has shape (C, M)."""
        volume = normalised_hypervolume(values, objectives, loaded.reference_point(benchmark))
        return np.append(values.mean(axis=0), volume)

    phases = [
        [values_by_seed(loaded, each[ids]) for each in pairs.partition_by("repetition")]
        for ids in ("origin", "trial_id")
    ]
    before, after = (
        np.array([summarize(np.nanmean(values, axis=1)) for values in phase]) for phase in phases
    )
    if len(before) > 1:
        errors = np.std(after - before, axis=0, ddof=1) / len(before) ** 0.5
    else:
        variances = [jackknife_variance(values, summarize) for (values,) in phases]
        errors = np.sqrt(np.sum(variances, axis=0))
    searched, confirmed = before.mean(axis=0), after.mean(axis=0)
    return [
        Optimism(
            name,
            title,
            pairs.height,
            float(searched[i]),
            float(confirmed[i]),
            float(sign * (confirmed[i] - searched[i])),
            float(errors[i]),
        )
        for i, (name, title, sign) in enumerate(entries)
    ]


def jackknife_variance(values: Floats, statistic: Callable[[Floats], Floats]) -> Floats:
    """Return the jackknife variance over seeds of a statistic of the means over seeds.

    Args:
        values: Objectives, shape (C, S, M); NaN where a trial lacks a seed.
        statistic: Maps means over seeds, shape (C, M), to an array of shape (K,).

    Returns:
        Shape (K,); NaN for a single seed.
    """
    seeds = values.shape[1]
    if seeds < 2:
        return np.full(len(statistic(values[:, 0])), np.nan)
    without = [statistic(np.nanmean(np.delete(values, s, axis=1), axis=1)) for s in range(seeds)]
    return np.asarray((seeds - 1) * np.var(without, axis=0))


def confirmation_pairs(loaded: LoadedStudy, benchmark: str) -> pl.DataFrame:
    """Return the confirmed trials, with the search's metrics in columns ``searched_<metric>``."""
    search = loaded.search_trials(benchmark).select(
        pl.col("trial_id").alias("origin"),
        *(pl.col(n).alias(SEARCHED + n) for n in METRICS if n in loaded.search.columns),
    )
    confirmed = loaded.confirmed_trials(benchmark).filter(
        pl.col("status").is_in(["completed", "diverged"])
    )
    names = [metric.name for metric in loaded.objectives]
    return confirmed.join(search, on="origin").drop_nulls(names)
