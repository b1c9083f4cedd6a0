"""Transfer: settings that were tuned on one benchmark, used on another.

Cha and Cho (arXiv 2403.09066) tune hyper-parameters on one data set and use them on another: who
applies a method to new data cannot tune on its test data. In each repetition the configurations
that a search selected on one benchmark also run on every other benchmark, with the seeds and the
class order of the configurations that were tuned there. So the regret is paired in a repetition.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl

from ngm_tune.metrics.curves import Floats
from ngm_tune.metrics.pareto import normalised_hypervolume
from ngm_tune.results.schema import Status

from ..loaded_study import LoadedStudy
from .endpoints import HYPERVOLUME, Endpoint, hypervolume_difference
from .paired import Estimate
from .replicates import values_by_seed
from .verdict import compare


@dataclass(frozen=True)
class Transfer:
    """The configurations of a method that were tuned on one benchmark, on another one.

    Attributes:
        benchmark: Name of the benchmark on which they run.
        origin: Name of the benchmark on which they were tuned.
        method: Name of the method.
        repetitions: The repetitions in which all of them have run.
        transferred: Normalised hypervolume that they attain, mean over repetitions.
        tuned: The same of the configurations that were tuned on ``benchmark``.
        regret: Mean of ``tuned - transferred``, with the interval over repetitions. With a single
            repetition the interval is over the seeds.
    """

    benchmark: str
    origin: str
    method: str
    repetitions: tuple[int, ...]
    transferred: float
    tuned: float
    regret: Estimate


def transfers(loaded: LoadedStudy, benchmark: str) -> list[Transfer]:
    """Return the regret of the configurations that were tuned on the other benchmarks.

    Diverged seeds have the worst values; configurations that failed or violate a constraint are
    left out.

    Returns:
        By origin, then by method, in the study's order. Transfers that have ended in no repetition
        are omitted.
    """
    pairs = [
        (origin, method)
        for origin in loaded.benchmarks
        if origin != benchmark
        for method in loaded.methods_on(benchmark)
    ]
    return [
        _transfer(loaded, benchmark, origin, method, repetitions)
        for origin, method in pairs
        if (repetitions := transferred_repetitions(loaded, benchmark, origin, method))
    ]


def transferred_repetitions(
    loaded: LoadedStudy, benchmark: str, origin: str, method: str
) -> list[int]:
    """Return the repetitions in which a method's transfers can be judged.

    In these, both benchmarks are complete (:meth:`~analysis.loaded_study.LoadedStudy.repetitions`),
    and every configuration selected on ``origin`` has run on ``benchmark`` with every seed. If no
    configuration was selected, the method attains nothing there.
    """

    def has_ended(repetition: int) -> bool:
        selected = loaded.search_trials(origin, method).filter("to_confirm", repetition=repetition)
        ended = transferred_trials(loaded, benchmark, origin, method).filter(
            repetition=repetition, seeds=loaded.study.confirm.seeds
        )
        return selected.height == ended.height

    if not loaded.study.confirm.transfer:
        return []
    complete = sorted({*loaded.repetitions(benchmark)} & {*loaded.repetitions(origin)})
    return [repetition for repetition in complete if has_ended(repetition)]


def transferred_trials(
    loaded: LoadedStudy, benchmark: str, origin: str, method: str
) -> pl.DataFrame:
    """Return the trials on a benchmark of configurations that were selected on another one."""
    return loaded.transferred.filter(benchmark=benchmark, origin_benchmark=origin, method=method)


def _transfer(
    loaded: LoadedStudy, benchmark: str, origin: str, method: str, repetitions: list[int]
) -> Transfer:
    objectives, reference_point = loaded.objectives, loaded.reference_point(benchmark)
    tuned, transferred = (
        [_values(loaded, trials.filter(repetition=repetition)) for repetition in repetitions]
        for trials in (
            loaded.confirmed_trials(benchmark, method),
            transferred_trials(loaded, benchmark, origin, method),
        )
    )
    volume = partial(normalised_hypervolume, objectives=objectives, reference_point=reference_point)
    difference = partial(
        hypervolume_difference, objectives=objectives, reference_point=reference_point
    )
    (comparison,) = compare(
        {benchmark: tuned, origin: transferred},
        [Endpoint(HYPERVOLUME, "Hypervolume", difference, primary=True)],
    )
    attained, attained_tuned = (
        float(np.mean([volume(runs.sum(axis=1) / max(1, runs.shape[1])) for runs in replicates]))
        for replicates in (transferred, tuned)
    )
    return Transfer(
        benchmark=benchmark,
        origin=origin,
        method=method,
        repetitions=tuple(repetitions),
        transferred=attained,
        tuned=attained_tuned,
        regret=comparison.estimate,
    )


def _values(loaded: LoadedStudy, trials: pl.DataFrame) -> Floats:
    """Return the objectives of the usable trials, shape (C, S, M)."""
    known = pl.col("status").is_in([Status.COMPLETED, Status.DIVERGED])
    return values_by_seed(loaded, trials.filter(known, "feasible")["trial_id"])
