"""Comparison of fixed runs with the published values of arXiv 2507.14056.

The paper takes the minima of the stability gap on the mean curve over seeds, which hides dips that
occur at different iterations in different seeds. The gap is therefore also computed per seed and
then averaged.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ngm_tune.metrics.curves import AccuracyCurves, Floats
from ngm_tune.metrics.functional import signed_stability_gaps
from ngm_tune.study.paper import paper_study

from ..loaded_study import LoadedStudy
from .paper_values import (
    MEAN_CURVE_GAP,
    N_PUBLISHED_SEEDS,
    PEAK_GAIN,
    PER_SEED_GAP,
    TASK_END_ACCURACY,
    TASK_END_GAIN,
    TRANSITION_GAPS,
    PublishedValue,
)

MEAN_CURVE = "avg-SG, first task, minima on the mean curve"
PER_SEED = "avg-SG, first task, minima per seed"

_GAIN_METHOD = "ngm-sgd"


class Replication(NamedTuple):
    """A published quantity and its replication.

    Attributes:
        benchmark: Name of the benchmark.
        method: Name of the method.
        quantity: Display name of the quantity.
        published: The published value; None if the paper has none.
        mean: Mean over the study's seeds; NaN if no seed has a value.
        sd: Standard deviation over the study's seeds (n - 1); None unless there are two or more.
        n_seeds: Number of seeds in ``mean``.
        n_diverged: Number of seeds omitted because they diverged.
        n_incomplete: Number of seeds omitted because their curves or steps are missing, truncated
            or damaged.
    """

    benchmark: str
    method: str
    quantity: str
    published: PublishedValue | None
    mean: float
    sd: float | None
    n_seeds: int = 1
    n_diverged: int = 0
    n_incomplete: int = 0

    @property
    def differs(self) -> bool:
        """Whether the means differ by more than two standard errors of their difference.

        If one side has no standard deviation, that of the other is used. False if neither has one.
        """
        published_sd = self.published.sd if self.published else None
        deviations = [sd for sd in (published_sd, self.sd) if sd is not None]
        if self.published is None or not deviations or not self.n_seeds:
            return False
        error = np.hypot(
            deviations[0] / np.sqrt(N_PUBLISHED_SEEDS), deviations[-1] / np.sqrt(self.n_seeds)
        )
        return abs(self.mean - self.published.mean) > 2.0 * float(error)


class _Measurement(NamedTuple):
    """Values by seed of one quantity, and their summary if it is not the mean."""

    quantity: str
    published: PublishedValue | None
    by_seed: Floats
    mean: float | None = None


def replications(loaded: LoadedStudy) -> list[Replication]:
    """Return every published quantity that the study measured.

    The stability gap of the first task is included with both ways of averaging even where only one
    was published. Diverged seeds and seeds with incomplete curves or steps are omitted and counted.

    Returns:
        Empty for a study with a search, and for benchmarks that the paper does not use.
    """
    if not loaded.has_fixed_runs:
        return []
    result = []
    trials = loaded.confirmed.filter(pl.col("status").is_in(["completed", "diverged"]))
    for row in sorted(trials.to_dicts(), key=lambda trial: loaded.methods.index(trial["method"])):
        benchmark, method, trial_id = row["benchmark"], row["method"], row["trial_id"]
        if not paper_study(benchmark):
            continue
        runs = loaded.runs.filter(trial_id=trial_id)
        completed = runs.filter(status="completed")
        n_diverged = runs.filter(status="diverged").height
        for measured in _measurements(loaded, benchmark, method, trial_id, completed):
            values = measured.by_seed
            mean = measured.mean
            if mean is None:
                mean = float(values.mean()) if len(values) else np.nan
            sd = float(values.std(ddof=1)) if len(values) > 1 else None
            counts = (len(values), n_diverged, completed.height - len(values))
            result.append(
                Replication(
                    benchmark, method, measured.quantity, measured.published, mean, sd, *counts
                )
            )
    return result


def _measurements(
    loaded: LoadedStudy, benchmark: str, method: str, trial_id: str, completed: pl.DataFrame
) -> Iterator[_Measurement]:
    """Yield the quantities of one trial; ``completed`` has its completed runs."""
    curves = _first_task_curves(loaded, trial_id, completed)
    mean_curve_gap = MEAN_CURVE_GAP.get(benchmark, {}).get(method)
    if not curves:
        yield _Measurement(MEAN_CURVE, mean_curve_gap, np.array([]))
        return
    gaps = np.array([signed_stability_gaps(curve, "first") for curve in curves])
    gaps_on_mean = signed_stability_gaps(_mean_curve(curves), "first")
    by_seed = gaps.mean(axis=1)
    yield _Measurement(MEAN_CURVE, mean_curve_gap, by_seed, float(gaps_on_mean.mean()))
    yield _Measurement(PER_SEED, PER_SEED_GAP.get(benchmark, {}).get(method), by_seed)
    for task, value in enumerate(TRANSITION_GAPS.get(benchmark, {}).get(method, ())):
        quantity = f"SG of the transition into task {task + 2}, first task, on the mean curve"
        published = PublishedValue(value)
        yield _Measurement(quantity, published, gaps[:, task], float(gaps_on_mean[task]))
    at_ends = np.array([curve.at_task_ends()[:, 0] for curve in curves])
    for task, value in enumerate(TASK_END_ACCURACY.get(benchmark, {}).get(method, ())):
        quantity = f"first-task accuracy, end of task {task + 1}"
        yield _Measurement(quantity, PublishedValue(value), at_ends[:, task])
    if method == _GAIN_METHOD and benchmark in PEAK_GAIN:
        gains = _gains(loaded, trial_id, completed, curves[0].task_ends)
        for task, value in enumerate(TASK_END_GAIN.get(benchmark, ())):
            quantity = f"gain, end of task {task + 1}"
            yield _Measurement(quantity, PublishedValue(value), gains[:, task])
        yield _Measurement("gain, peak", PublishedValue(PEAK_GAIN[benchmark]), gains[:, -1])


def protocol_departures(loaded: LoadedStudy) -> list[str]:
    """Return the settings in which a study departs from the paper's protocol.

    Returns:
        Entries ``key = value`` with the study's values; empty if the study has no benchmark of the
        paper.
    """
    if loaded.parts:
        return list(dict.fromkeys(chain.from_iterable(map(protocol_departures, loaded.parts))))
    study = loaded.study
    papers = [paper for name in loaded.benchmarks if (paper := paper_study(name))]
    if not papers:
        return []
    settings: dict[str, tuple[Any, list[Any]]] = {
        "iterations_per_task": (study.iterations_per_task, [None]),
        "eval_every": (study.eval_every, [1]),
        "eval_examples": (study.eval_examples, [None]),
        "eval_precision": (study.eval_precision, ["float32", "mixed"]),
        "strategy": (study.strategy, ["joint"]),
        "seeds": (study.seeds, [paper["seeds"] for paper in papers]),
    }
    departures = {key: value for key, (value, allowed) in settings.items() if value not in allowed}
    for paper in papers:
        for method, values in (study.settings or {}).items():
            paper_values = paper["settings"].get(method, values)
            departures |= {
                f"{method}.{name}": values.get(name)
                for name in (*values, *paper_values)
                if values.get(name) != paper_values.get(name)
            }
    return [f"{key} = {value}" for key, value in departures.items()]


def _first_task_curves(
    loaded: LoadedStudy, trial_id: str, runs: pl.DataFrame
) -> list[AccuracyCurves]:
    """Return the first-task accuracy of every seed with a complete curve.

    A curve is complete if it ends with its run and has as many evaluations as the longest one. The
    columns of the other tasks are NaN.
    """
    last_iteration = dict(runs.select("seed", "iterations").iter_rows())
    rows = pl.DataFrame(loaded.results.read("curves", [trial_id])).filter(
        pl.col("eval_task") == 0, pl.col("seed").is_in([*last_iteration])
    )
    by_seed = rows.sort("iteration").partition_by("seed", as_dict=True, maintain_order=True)
    longest = max((rows.height for rows in by_seed.values()), default=0)
    curves = []
    for (seed,), rows in sorted(by_seed.items()):
        if rows.height < longest or rows["iteration"][-1] != last_iteration[seed]:
            continue
        ends = rows.group_by("task").agg(pl.col("iteration").max()).sort("task")["iteration"]
        accuracy = np.full((rows.height, len(ends)), np.nan)
        accuracy[:, 0] = rows["accuracy"].to_numpy()
        curves.append(AccuracyCurves(rows["iteration"].to_numpy(), accuracy, ends.to_numpy()))
    return curves


def _mean_curve(curves: list[AccuracyCurves]) -> AccuracyCurves:
    accuracy = np.mean([curve.accuracy for curve in curves], axis=0)
    return AccuracyCurves(curves[0].iterations, accuracy, curves[0].task_ends)


def _gains(
    loaded: LoadedStudy, trial_id: str, runs: pl.DataFrame, task_ends: NDArray[np.int64]
) -> Floats:
    """Return the gain at the end of each of K tasks, then its peak, for seeds with all steps.

    Returns:
        Shape (seeds, K + 1).
    """
    steps = pl.DataFrame(loaded.results.read("steps", [trial_id])).sort("iteration")
    steps = steps.filter(pl.col("seed").is_in(runs["seed"].to_list()))
    rows = []
    for _, seed in steps.group_by("seed", maintain_order=True):
        gain = seed["gain"].cast(pl.Float64).to_numpy()
        if len(gain) == task_ends[-1]:
            rows.append([*gain[task_ends - 1], gain.max()])
    return np.array(rows).reshape(-1, len(task_ends) + 1)
