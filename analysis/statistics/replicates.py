"""The objectives of every method in each replicate: a repetition of its search, or a seed."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl

from ngm_tune.metrics.curves import Floats
from ngm_tune.metrics.pareto import normalised_hypervolume
from ngm_tune.results.schema import Status

from ..loaded_study import LoadedStudy
from .verdict import split_seeds


def replicate_values(loaded: LoadedStudy, benchmark: str) -> dict[str, list[Floats]]:
    """Return the objectives of the configurations on which claims about a benchmark rest.

    These are the confirmed configurations or, as long as nothing is confirmed, the fronts of the
    searches. Diverged seeds have the worst values; configurations that failed or violate a
    constraint are left out. In a study of fixed runs every seed is a replicate, otherwise every
    repetition.

    Returns:
        By method with any trial, in the study's order: for each replicate, shape (C, S, M) for C
        configurations, S seeds and M objectives. All methods have the same replicates.
    """
    evidence = loaded.evidence(benchmark).filter(pl.col("feasible"))
    if loaded.is_confirmed(benchmark):
        known = evidence["status"].is_in([Status.COMPLETED, Status.DIVERGED])
        usable = evidence.filter(known)
    else:
        usable = evidence.filter("front")
    values = {
        method: [
            values_by_seed(loaded, usable.filter(method=method, repetition=repetition)["trial_id"])
            for repetition in compared_repetitions(loaded, benchmark)
        ]
        for method in loaded.methods_on(benchmark)
    }
    if not loaded.has_fixed_runs:
        return values
    return {
        method: [seed for runs in of_method for seed in split_seeds(runs)]
        for method, of_method in values.items()
    }


def replicate_hypervolumes(loaded: LoadedStudy, benchmark: str) -> dict[str, list[float]]:
    """Return the normalised hypervolume of each method in each replicate.

    The replicates are those of :func:`replicate_values`.
    """
    return {
        method: [hypervolume_of_means(loaded, benchmark, runs) for runs in replicates]
        for method, replicates in replicate_values(loaded, benchmark).items()
    }


def hypervolume_of_means(loaded: LoadedStudy, benchmark: str, runs: Floats) -> float:
    """Return the normalised hypervolume of the means over seeds.

    It is rounded, so that equal values do not differ by the order of their summation.

    Args:
        loaded: The study.
        benchmark: The benchmark of the runs.
        runs: Shape (C, S, M) for C configurations, S seeds and M objectives.
    """
    means = runs.sum(axis=1) / max(1, runs.shape[1])
    reference_point = loaded.reference_point(benchmark)
    volume = normalised_hypervolume(means, loaded.objectives, reference_point)
    return round(volume, 12)


def has_equal_effort(loaded: LoadedStudy, benchmark: str) -> bool:
    """Return whether every method had all its trials in the compared repetitions.

    Confirmed repetitions and fixed runs are complete. Without a confirmation, a running study has
    searches with different numbers of trials.
    """
    if loaded.has_fixed_runs or loaded.is_confirmed(benchmark):
        return True
    trials = loaded.search_trials(benchmark)
    return all(
        trials.filter(method=method, repetition=repetition).height
        >= loaded.expected_trials(benchmark, method)
        for method in loaded.methods_on(benchmark)
        for repetition in compared_repetitions(loaded, benchmark)
    )


def compared_repetitions(loaded: LoadedStudy, benchmark: str) -> list[int]:
    """Return the complete repetitions or, without any, those in which every method has a trial."""
    if loaded.is_confirmed(benchmark):
        return loaded.repetitions(benchmark)
    trials = loaded.first_phase_trials(benchmark)
    present = [
        set(trials.filter(method=method)["repetition"]) for method in loaded.methods_on(benchmark)
    ]
    return loaded.repetitions(benchmark) or sorted(set.intersection(*present))


def values_by_seed(loaded: LoadedStudy, trial_ids: Iterable[str]) -> Floats:
    """Return the objectives of every trial and seed.

    Args:
        loaded: The study.
        trial_ids: Ids of C trials.

    Returns:
        Shape (C, S, M) for S seeds and M objectives; NaN where a trial lacks a seed.
    """
    rows = {trial_id: row for row, trial_id in enumerate(trial_ids)}
    names = [metric.name for metric in loaded.objectives]
    runs = loaded.runs.filter(pl.col("trial_id").is_in(list(rows)))
    seeds = runs["seed"].unique().sort().to_list()
    values = np.full((len(rows), len(seeds), len(names)), np.nan)
    for trial_id, seed, *scores in runs.select("trial_id", "seed", *names).iter_rows():
        values[rows[trial_id], seeds.index(seed)] = np.array(scores, dtype=np.float64)
    return values
