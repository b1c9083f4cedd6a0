"""What a search promised, against what its confirmation found.

A search reports the best of many noisy scores, on the data that it chose by; fresh seeds on test
data have no part in the choice. Training is on more data then, which also changes a score a little.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import polars as pl

from ngm_tune.metrics.functional import METRICS, Floats
from ngm_tune.metrics.pareto import hypervolume

from ..formatting import number, signed
from ..loading import LoadedStudy


class Optimism(NamedTuple):
    """An objective's mean over the configurations of a method that were confirmed, or their volume.

    Attributes:
        name: Of the metric, or ``"hypervolume"``: what these configurations dominate together.
        title: As people call it.
        configurations: How many.
        searched: What the search had estimated.
        confirmed: What the same configurations reached when they were run again.
        optimism: By how much the search had made them look better, in the metric's unit.
        error: The standard error of that, over the seeds of both phases; NaN where either has one.
    """

    name: str
    title: str
    configurations: int
    searched: float
    confirmed: float
    optimism: float
    error: float


def optimism(loaded: LoadedStudy, benchmark: str, method: str) -> list[Optimism]:
    """For every objective, and of several the hypervolume; none where nothing was confirmed.

    A configuration that diverged when it was run again counts with the worst values. Errors are
    those of the jackknife that leaves out a seed for all configurations at once, since they share
    what a seed does to them.
    """
    pairs = pairs_of(loaded, benchmark).filter(method=method)
    if not pairs.height:
        return []
    objectives = loaded.objectives
    entries = [(metric.name, metric.title, metric.sign) for metric in objectives]
    if len(objectives) > 1:
        entries.append(("hypervolume", "Hypervolume", -1))

    def figures(values: Floats) -> Floats:
        """Of values by configuration and objective: their means, and their hypervolume."""
        volume = hypervolume(values, objectives, loaded.study.reference_point)
        return np.append(values.mean(axis=0), volume)

    searched, confirmed = (by_seed(loaded, pairs[ids]) for ids in ("origin", "trial_id"))
    before, now = (figures(np.nanmean(each, axis=1)) for each in (searched, confirmed))
    errors = np.sqrt(variance(searched, figures) + variance(confirmed, figures))
    return [
        Optimism(
            name,
            title,
            pairs.height,
            float(before[i]),
            float(now[i]),
            float(sign * (now[i] - before[i])),
            float(errors[i]),
        )
        for i, (name, title, sign) in enumerate(entries)
    ]


def by_seed(loaded: LoadedStudy, trials: pl.Series) -> Floats:
    """Objectives of trials by trial, seed and objective, shape (C, S, M); NaN where one is lost."""
    names = [metric.name for metric in loaded.objectives]
    rows = loaded.runs.filter(pl.col("trial_id").is_in(trials.to_list()))
    seeds = rows["seed"].unique().sort().to_list()
    values = np.full((len(trials), len(seeds), len(names)), np.nan)
    places = {trial: i for i, trial in enumerate(trials)}
    for trial, seed, *found in rows.select("trial_id", "seed", *names).iter_rows():
        values[places[trial], seeds.index(seed)] = np.array(found, dtype=np.float64)
    return values


def variance(values: Floats, figures: Callable[[Floats], Floats]) -> Floats:
    """The jackknife's variance of figures of means over seeds, the second axis of ``values``."""
    seeds = values.shape[1]
    if seeds < 2:
        return np.full(len(figures(values[:, 0])), np.nan)
    without = [figures(np.nanmean(np.delete(values, s, axis=1), axis=1)) for s in range(seeds)]
    return np.asarray((seeds - 1) * np.var(without, axis=0))


SEARCHED = "searched_"
"""Before the name of a metric: as the search had it."""


def pairs_of(loaded: LoadedStudy, benchmark: str) -> pl.DataFrame:
    """Confirmed trials with the metrics of the search's beside theirs."""
    search = loaded.searched(benchmark).select(
        pl.col("trial_id").alias("origin"),
        *(pl.col(n).alias(SEARCHED + n) for n in METRICS if n in loaded.search.columns),
    )
    confirmed = loaded.confirmed_of(benchmark).filter(
        pl.col("status").is_in(["completed", "diverged"])
    )
    names = [metric.name for metric in loaded.objectives]
    return confirmed.join(search, on="origin").drop_nulls(names)


def optimism_rows(loaded: LoadedStudy, benchmark: str) -> list[dict[str, str]]:
    """Of every method with confirmed configurations, as people read it."""
    rows = []
    for method in loaded.methods:
        found = optimism(loaded, benchmark, method)
        if not found:
            continue
        row = {
            "Method": loaded.method_title(method),
            "Configurations": str(found[0].configurations),
        }
        rows.append(row | {entry.title: spelled(entry) for entry in found})
    return rows


def spelled(entry: Optimism) -> str:
    """What was searched and confirmed, and the optimism with its standard error if it has one."""
    error = "" if np.isnan(entry.error) else f" ± {entry.error:.3f}"
    return f"{number(entry.searched)} → {number(entry.confirmed)} ({signed(entry.optimism)}{error})"
