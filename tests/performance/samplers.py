"""Comparison of samplers and of early stopping on recorded runs.

The table has runs of NGM-SGD on two benchmarks with random settings and six seeds each, and the
objectives after every task. A search of a study is replayed on it: each suggestion receives the
outcome of the nearest recorded setting. The search uses three seeds; its final front is evaluated
with the other three, as in a confirmation. The choice of seeds and all other random numbers differ
between repetitions. The budget is counted in tasks trained with one seed. Searches with early
stopping have the same budget as the others and can therefore try more settings.

    python -m tests.performance.samplers                     the comparison, in about an hour
    python -m tests.performance.samplers --record RESULTS    the table, from `ngm-tune run
                                                             tests/performance/table.toml`
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from optuna.storages import InMemoryStorage
from scipy.spatial import cKDTree
from scipy.stats import rankdata

from ngm_tune.methods import get_method
from ngm_tune.metrics.pareto import hypervolume
from ngm_tune.metrics.registry import METRICS
from ngm_tune.results.columns import SEARCH_PREFIX
from ngm_tune.results.directory import Results
from ngm_tune.results.outcome import Outcome
from ngm_tune.search.method_search import MethodSearch
from ngm_tune.search.run_spec import RunSpec
from ngm_tune.study.plan import StudyPlan
from ngm_tune.study.study import Study

HERE = Path(__file__).parent
TABLE = HERE / "samplers.parquet"
FOUND = HERE / "samplers.json"

METHOD = "ngm-sgd"
OBJECTIVES = ("avg_acc", "avg_sg")
REFERENCE = {"avg_acc": 0.1, "avg_sg": 1.0}
BENCHMARKS = ("split-digits", "rotated-digits")
SAMPLERS = ("random", "tpe", "nsga2", "gp")
BASELINE = "random"
"""The sampler with which the others are compared, paired by repetition."""
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "stopping": {"early_stopping": {}},
}
TRIALS = 40
"""The budget of a search: the cost of this number of trials with all seeds."""
SEARCHED = 3
"""Number of seeds of a search, out of the six recorded ones."""
REPETITIONS = 20
RESAMPLES = 1000
"""Number of bootstrap samples of the repetitions for the intervals of savings."""

Floats = NDArray[np.float64]


class Cell(NamedTuple):
    """Results of one kind of search on one benchmark."""

    benchmark: str
    sampler: str
    variant: str
    hypervolume: list[float]
    """Hypervolume at the end of the budget, by repetition."""
    trials: float
    """Mean number of settings tried."""
    saved: tuple[float, float, float] | None
    """Saved compute relative to the plain search with the same sampler, from :func:`savings`."""


class Table:
    """Recorded runs of one benchmark.

    ``values`` holds objectives by setting, seed, task and objective, shape (C, 6, K, M).
    """

    def __init__(self, benchmark: str, path: Path = TABLE) -> None:
        self.space = get_method(METHOD).space
        rows = pl.read_parquet(path).filter(benchmark=benchmark).sort("trial", "seed", "task")
        shape = tuple(rows[column].n_unique() for column in ("trial", "seed", "task"))
        values = rows.select(OBJECTIVES).to_numpy().astype(np.float64)
        self.values = values.reshape(*shape, len(OBJECTIVES))
        self.diverged = rows["diverged"].to_numpy().reshape(shape)[..., -1]
        points = rows.select(SEARCH_PREFIX + name for name in self.space).to_numpy()
        points = points.reshape(*shape, -1)[:, 0, 0]
        self._tree = cKDTree(self._scale(points))

    def nearest(self, coordinates: dict[str, Any]) -> int:
        """Return the index of the nearest recorded setting, in the scales of the search space."""
        point = np.array([[coordinates[name] for name in self.space]], dtype=np.float64)
        return int(self._tree.query(self._scale(point))[1][0])

    def _scale(self, points: Floats) -> Floats:
        """Map points to the unit cube, on the log scale for log distributions."""
        columns = []
        for column, distribution in zip(points.T, self.space.values(), strict=True):
            scale = np.log if distribution.log else np.asarray  # type: ignore[attr-defined]
            low, high = scale(distribution.low), scale(distribution.high)  # type: ignore[attr-defined]
            columns.append((scale(column) - low) / (high - low))
        return np.column_stack(columns)


def replay(
    table: Table, benchmark: str, sampler: str, keys: dict[str, Any], repetition: int
) -> tuple[Floats, int]:
    """Replay a search.

    Returns:
        The hypervolume after each hundredth of the budget, shape (100,), and the number of settings
        tried.
    """
    order = np.random.default_rng(repetition).permutation(table.values.shape[1])
    searched, fresh = order[:SEARCHED].tolist(), order[SEARCHED:]
    tasks = table.values.shape[2]
    budget = TRIALS * SEARCHED * tasks
    study = Study.model_validate(
        {
            "name": "replay",
            "title": "A search on recorded runs",
            "benchmarks": [benchmark],
            "methods": [METHOD],
            "searches": 1,
            "trials": 4 * TRIALS,  # more than the budget allows
            "seeds": searched,
            "seed": repetition,
            "split": "fixed",
            "class_order": "paper",
            "sampler": sampler,
            "reference_point": REFERENCE,
            **keys,
        }
    )
    plan, storage = StudyPlan.resolve(study), InMemoryStorage()
    search = MethodSearch(plan, benchmark, METHOD, 0, storage=storage, finished={})
    indices: dict[str, int] = {}
    spent = 0
    volumes = np.zeros(100)
    while spent < budget and (spec := search.ask()) is not None:
        indices[spec.trial_id] = table.nearest(spec.coordinates)
        outcome, trained = _run(table, search, spec, indices[spec.trial_id])
        spent += trained * len(spec.seeds)
        search.finish(spec.run_id, outcome)
        ids = [f"{benchmark}.{METHOD}.{number:04d}" for number in search.front()]
        truth = table.values[[indices[i] for i in ids]][:, fresh, -1].mean(axis=1)
        volume = hypervolume(truth, study.objective_metrics, REFERENCE) if ids else 0.0
        volumes[min(99, spent * 100 // budget) :] = volume
    return volumes, len(indices)


def _run(table: Table, search: MethodSearch, spec: RunSpec, index: int) -> tuple[Outcome, int]:
    """Return the outcome of a run on a recorded setting, and its number of trained tasks."""
    seeds = list(spec.seeds)
    means = table.values[index, seeds].mean(axis=0)
    interim = tuple(tuple(map(float, row)) for row in means)
    for tasks in range(1, len(interim)):
        if search.should_prune(spec.run_id, interim[:tasks]):
            return Outcome("stopped", None, interim=interim[:tasks]), tasks
    status = "diverged" if table.diverged[index, seeds].any() else "completed"
    return Outcome(status, interim[-1], interim=interim), len(interim)


def repeat(
    benchmark: str, sampler: str, variant: str, repetitions: int = REPETITIONS
) -> tuple[Floats, float]:
    """Replay one kind of search.

    Returns:
        The hypervolume after each hundredth of the budget by repetition, shape (R, 100), and the
        mean number of settings tried.
    """
    torch.set_num_threads(1)
    table = Table(benchmark)
    runs = [replay(table, benchmark, sampler, VARIANTS[variant], r) for r in range(repetitions)]
    return np.array([curve for curve, _ in runs]), float(np.mean([tried for _, tried in runs]))


def savings(curves: Floats, plain: Floats) -> tuple[float, float, float]:
    """Return the share of compute saved in reaching the final mean hypervolume of ``plain``.

    Args:
        curves: Hypervolume after each hundredth of the budget, shape (R, 100).
        plain: The same of the searches to compare with, in the same repetitions.

    Returns:
        The saved share, and the 10th and 90th percentile of its bootstrap distribution over
        repetitions. The share is negative if more compute is needed, and -inf if the search does
        not reach the hypervolume within the budget.
    """

    def share(sampled: Any) -> float:
        ours, theirs = curves[sampled].mean(axis=0), plain[sampled].mean(axis=0)
        if ours[-1] < theirs[-1]:
            return -math.inf
        takes = [int((curve >= theirs[-1]).argmax()) + 1 for curve in (ours, theirs)]
        return 1.0 - takes[0] / takes[1]

    random = np.random.default_rng(0)
    sampled = [share(random.integers(len(plain), size=len(plain))) for _ in range(RESAMPLES)]
    low, high = np.quantile(sampled, [0.1, 0.9], method="nearest")
    return share(slice(None)), float(low), float(high)


def cell_of(
    kind: tuple[str, str, str], repeated: tuple[Floats, float], plain: tuple[Floats, float]
) -> Cell:
    """Return the results of one kind of search.

    Args:
        kind: Benchmark, sampler and variant.
        repeated: Curves and mean number of settings, from :func:`repeat`.
        plain: The same for the variant "plain" of the same benchmark and sampler.
    """
    curves, trials = repeated
    ends = curves[:, -1].round(5).tolist()
    return Cell(*kind, ends, trials, None if kind[2] == "plain" else savings(curves, plain[0]))


def rows(cells: Sequence[Cell]) -> list[dict[str, str]]:
    """Return the rows of the comparison as text, by column."""
    by_key = {(c.benchmark, c.sampler, c.variant): c for c in cells}
    shown = []
    for benchmark, sampler in itertools.product(BENCHMARKS, SAMPLERS):
        row = {"benchmark": benchmark, "sampler": sampler}
        for variant in VARIANTS:
            cell = by_key[benchmark, sampler, variant]
            volumes = np.array(cell.hypervolume)
            row[variant] = f"{volumes.mean():.4f}"
            if sampler == BASELINE:
                row[variant] += f" ± {_error(volumes):.4f}"
            else:  # paired by repetition
                gained = volumes - by_key[benchmark, BASELINE, variant].hypervolume
                row[variant] += f", {gained.mean():+.4f} ± {_error(gained):.4f}"
            if cell.saved is not None:
                share, low, high = (f"{s:+.0%}" if math.isfinite(s) else "–" for s in cell.saved)
                row[variant] += f" (saves {share}; {low} to {high})"
        shown.append(row)
    return shown


def _error(values: Floats) -> float:
    """Return the standard error of the mean."""
    return float(values.std(ddof=1) / len(values) ** 0.5)


def mean_ranks(cells: Sequence[Cell]) -> dict[str, dict[str, float]]:
    """Return the mean rank of each sampler by variant; 1 is the best rank."""
    by_key = {(c.benchmark, c.sampler, c.variant): c.hypervolume for c in cells}
    by_variant = {}
    for variant in VARIANTS:
        ranks = []
        for benchmark in BENCHMARKS:
            volumes = np.array([by_key[benchmark, sampler, variant] for sampler in SAMPLERS])
            ranks.append(rankdata(-volumes, axis=0).mean(axis=1))
        by_variant[variant] = dict(zip(SAMPLERS, np.mean(ranks, axis=0).tolist(), strict=True))
    return by_variant


def winner(cells: Sequence[Cell], variant: str = "plain") -> str:
    """Return the sampler with the best mean rank in a variant of the search."""
    ranks = mean_ranks(cells)[variant]
    return min(ranks, key=ranks.__getitem__)


def markdown(cells: Sequence[Cell]) -> str:
    """Return the comparison as the Markdown table of docs/samplers.md."""
    ranks = mean_ranks(cells)
    shown = rows(cells)
    shown += [
        {"benchmark": "mean rank", "sampler": sampler}
        | {variant: f"{ranks[variant][sampler]:.2f}" for variant in VARIANTS}
        for sampler in SAMPLERS
    ]
    header = ["early stopping" if name == "stopping" else name for name in shown[0]]
    lines = [header, ["---"] * len(shown[0]), *(list(row.values()) for row in shown)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def record(location: str, path: Path = TABLE) -> None:
    """Write the table of recorded runs from the results of a study."""
    results = Results(location)
    trials = pl.DataFrame(results.read("trials"))
    names = [name for name in trials.columns if name.startswith(SEARCH_PREFIX)]
    key = ["trial_id", "seed"]
    table = (
        pl.DataFrame(results.read("tasks"))
        .join(trials.select(*key, "benchmark", "status", *names), on=key)
        .select(
            "benchmark",
            pl.col("trial_id").str.extract(r"(\d+)$").cast(pl.Int16).alias("trial"),
            pl.col("seed").cast(pl.Int8),
            pl.col("task").cast(pl.Int8),
            (pl.col("status") == "diverged").alias("diverged"),
            *(pl.col(name).fill_null(METRICS[name].best).cast(pl.Float32) for name in OBJECTIVES),
            *(pl.col(name).cast(pl.Float32) for name in names),
        )
        .sort("benchmark", "trial", "seed", "task")
    )
    table.write_parquet(path, compression_level=19)


def main() -> None:
    """Record the table or run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--record", metavar="RESULTS")
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    if arguments.record:
        record(arguments.record)
        return
    kinds = list(itertools.product(BENCHMARKS, SAMPLERS, VARIANTS))
    with ProcessPoolExecutor(arguments.processes, get_context("spawn")) as pool:
        jobs = {kind: pool.submit(repeat, *kind, arguments.repetitions) for kind in kinds}
        repeated = {kind: job.result() for kind, job in jobs.items()}
    cells = [cell_of(kind, repeated[kind], repeated[*kind[:2], "plain"]) for kind in kinds]
    FOUND.write_text(json.dumps([cell._asdict() for cell in cells]) + "\n", encoding="utf-8")
    print(markdown(cells))
    print("Best sampler without early stopping (the default):", winner(cells))


if __name__ == "__main__":
    main()
