"""Comparison of samplers on recorded runs.

The table has runs of NGM-SGD on two benchmarks with random settings and six seeds each, and the
objectives after every task. A search of a study is replayed on it: each suggestion receives the
outcome of the nearest recorded setting. The search uses three seeds; its final front is evaluated
with the other three, as in a confirmation. The choice of seeds and all other random numbers differ
between repetitions.

    python -m tests.performance.samplers                     the comparison, in about an hour
    python -m tests.performance.samplers --record RESULTS    the table, from `ngm-tune run
                                                             tests/performance/table.toml`
"""

from __future__ import annotations

import argparse
import itertools
import json
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
TRIALS = 40
"""Number of trials of a search."""
SEARCHED = 3
"""Number of seeds of a search, out of the six recorded ones."""
REPETITIONS = 20

Floats = NDArray[np.float64]


class Cell(NamedTuple):
    """Results of one sampler on one benchmark."""

    benchmark: str
    sampler: str
    hypervolume: list[float]
    """Hypervolume of the final front, by repetition."""


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


def replay(table: Table, benchmark: str, sampler: str, repetition: int) -> float:
    """Replay a search and return the hypervolume of its final front, by the fresh seeds."""
    order = np.random.default_rng(repetition).permutation(table.values.shape[1])
    searched, fresh = order[:SEARCHED].tolist(), order[SEARCHED:]
    study = Study.model_validate(
        {
            "name": "replay",
            "title": "A search on recorded runs",
            "benchmarks": [benchmark],
            "methods": [METHOD],
            "searches": 1,
            "trials": TRIALS,
            "seeds": searched,
            "seed": repetition,
            "split": "fixed",
            "class_order": "paper",
            "sampler": sampler,
            "reference_point": REFERENCE,
        }
    )
    plan, storage = StudyPlan.resolve(study), InMemoryStorage()
    search = MethodSearch(plan, benchmark, METHOD, 0, storage=storage, finished={})
    settings: list[int] = []
    while (spec := search.ask()) is not None:
        settings.append(table.nearest(spec.coordinates))
        search.finish(spec.run_id, _read_outcome(table, settings[-1], searched))
    front = [settings[number] for number in search.front()]
    truth = table.values[front][:, fresh, -1].mean(axis=1)
    return hypervolume(truth, study.objective_metrics, REFERENCE)


def _read_outcome(table: Table, setting: int, seeds: list[int]) -> Outcome:
    """Return the outcome of a recorded setting with these seeds."""
    status = "diverged" if table.diverged[setting, seeds].any() else "completed"
    means = table.values[setting, seeds, -1].mean(axis=0)
    return Outcome(status, tuple(map(float, means)))


def repeat(benchmark: str, sampler: str, repetitions: int = REPETITIONS) -> Cell:
    """Replay the searches of one sampler on one benchmark."""
    torch.set_num_threads(1)
    table = Table(benchmark)
    volumes = [replay(table, benchmark, sampler, number) for number in range(repetitions)]
    return Cell(benchmark, sampler, [round(volume, 5) for volume in volumes])


def rows(cells: Sequence[Cell]) -> list[dict[str, str]]:
    """Return the rows of the comparison as text, by column."""
    by_key = {(cell.benchmark, cell.sampler): np.array(cell.hypervolume) for cell in cells}
    shown = []
    for (benchmark, sampler), volumes in by_key.items():
        text = f"{volumes.mean():.4f}"
        if sampler == BASELINE:
            text += f" ± {_error(volumes):.4f}"
        else:  # paired by repetition
            gained = volumes - by_key[benchmark, BASELINE]
            text += f", {gained.mean():+.4f} ± {_error(gained):.4f}"
        shown.append({"benchmark": benchmark, "sampler": sampler, "hypervolume": text})
    return shown


def _error(values: Floats) -> float:
    """Return the standard error of the mean."""
    return float(values.std(ddof=1) / len(values) ** 0.5)


def mean_ranks(cells: Sequence[Cell]) -> dict[str, float]:
    """Return the mean rank of each sampler; 1 is the best rank."""
    by_key = {(cell.benchmark, cell.sampler): cell.hypervolume for cell in cells}
    ranks = []
    for benchmark in BENCHMARKS:
        volumes = np.array([by_key[benchmark, sampler] for sampler in SAMPLERS])
        ranks.append(rankdata(-volumes, axis=0).mean(axis=1))
    return dict(zip(SAMPLERS, np.mean(ranks, axis=0).tolist(), strict=True))


def winner(cells: Sequence[Cell]) -> str:
    """Return the sampler with the best mean rank."""
    ranks = mean_ranks(cells)
    return min(ranks, key=ranks.__getitem__)


def markdown(cells: Sequence[Cell]) -> str:
    """Return the comparison as the Markdown table of docs/samplers.md."""
    shown = rows(cells)
    shown += [
        {"benchmark": "mean rank", "sampler": sampler, "hypervolume": f"{rank:.2f}"}
        for sampler, rank in mean_ranks(cells).items()
    ]
    lines = [list(shown[0]), ["---"] * len(shown[0]), *(list(row.values()) for row in shown)]
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
    kinds = list(itertools.product(BENCHMARKS, SAMPLERS))
    with ProcessPoolExecutor(arguments.processes, get_context("spawn")) as pool:
        jobs = [pool.submit(repeat, *kind, arguments.repetitions) for kind in kinds]
        cells = [job.result() for job in jobs]
    FOUND.write_text(json.dumps([cell._asdict() for cell in cells]) + "\n", encoding="utf-8")
    print(markdown(cells))
    print("Best sampler (the default):", winner(cells))


if __name__ == "__main__":
    main()
