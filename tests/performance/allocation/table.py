"""The recorded runs that the comparisons replay.

Two methods on Split-Digits at settings from a Sobol sequence. Every setting is run in six
arrangements (class order and validation split), in each with three seeds as in a search and with
five other seeds as in a confirmation. In an arrangement the seeds are the same for all settings
and methods.

    python -m tests.performance.allocation.table FOLDER    the table, in about 35 minutes on a core

FOLDER receives a file per arrangement; a run that was interrupted continues.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from scipy.stats.qmc import Sobol

from ngm_tune.benchmarks import get_benchmark
from ngm_tune.benchmarks.pool import DataPool
from ngm_tune.methods import Method, get_method
from ngm_tune.study.plan import StudyPlan
from ngm_tune.study.study import Study
from ngm_tune.training.options import EvaluationSchedule
from ngm_tune.training.splits import splits_for

from .stacked import rule_of, train

TABLE = Path(__file__).parent / "runs.parquet"
BENCHMARK = "split-digits"
SETTINGS = {"ngm-sgd": 128, "momentum-sgd": 64}
"""Number of settings of each method."""
OBJECTIVES = ("avg_acc", "avg_sg")
ARRANGEMENTS = 6
SEEDS = {"search": 3, "confirm": 5}
SCHEDULES = {"search": EvaluationSchedule(20, 30), "confirm": EvaluationSchedule(20, 60)}
"""A confirmation of the product evaluates after every iteration, which takes twice as long. The
gap is larger by 0.001 to 0.004 then (docs/evaluation.md)."""
STACK = 16
"""Number of runs trained at once; larger stacks exceed the caches."""

Floats = NDArray[np.float64]


class Table(NamedTuple):
    """Recorded runs of one method: objectives of N settings in A arrangements.

    Attributes:
        search: Objectives after every task, shape (N, A, 3, K, M); NaN for the gap after the first.
        confirm: Objectives at the end, shape (N, A, 5, M).
    """

    search: Floats
    confirm: Floats


def load(method: str, path: Path = TABLE) -> Table:
    """Return the recorded runs of a method."""
    rows = pl.read_parquet(path).filter(method=method)

    def values(phase: str, *axes: str) -> Floats:
        of_phase = rows.filter(phase=phase).sort("setting", "arrangement", "seed", "task")
        shape = [of_phase[axis].n_unique() for axis in ("setting", "arrangement", *axes)]
        found = of_phase.select(OBJECTIVES).to_numpy().astype(np.float64)
        return found.reshape(*shape, len(OBJECTIVES))

    return Table(values("search", "seed", "task"), values("confirm", "seed"))


def settings_of(method: Method, count: int) -> list[dict[str, Any]]:
    """Return search coordinates from a Sobol sequence on the logarithmic scales of a space."""
    low, high = _log_bounds(method)
    points = np.exp(low + Sobol(len(low), rng=0).random(count) * (high - low))
    return [dict(zip(method.space, map(float, point), strict=True)) for point in points]


def to_unit(method: Method, coordinates: Mapping[str, Any]) -> Floats:
    """Map search coordinates to the unit cube on their logarithmic scales."""
    low, high = _log_bounds(method)
    point = np.log([coordinates[name] for name in method.space])
    return np.asarray((point - low) / (high - low))


def _log_bounds(method: Method) -> tuple[Floats, Floats]:
    axes = method.space.values()
    low, high = np.log([[axis.low, axis.high] for axis in axes]).T  # type: ignore[attr-defined]
    return low, high


def record_arrangement(number: int) -> pl.DataFrame:
    """Train every setting in one arrangement."""
    benchmark = get_benchmark(BENCHMARK)
    pool = DataPool.of(benchmark.load())
    study = Study.model_validate(
        {
            "name": "table",
            "title": "Recorded runs",
            "benchmarks": [BENCHMARK],
            "methods": list(SETTINGS),
            "trials": 1,
            "seed": number,
            "seeds": SEEDS["search"],
            "class_order": "drawn",
            "split": "drawn",
            "confirm": {"seeds": SEEDS["confirm"]},
            "reference_point": {"avg_acc": 0.8, "avg_sg": 0.5},
        }
    )
    plan = StudyPlan.resolve(study)
    rows: list[dict[str, Any]] = []
    for phase, seeds in (
        ("search", study.run_seeds.of_search(0)),
        ("confirm", study.run_seeds.of_confirmation(0)),
    ):
        split, evaluated = splits_for(pool, phase, plan.arrangement(BENCHMARK, 0))
        for runs in _stacks(seeds):
            rules = rule_of([get_method(m).settings_at(point) for m, _, point, _ in runs])
            values = train(
                benchmark,
                split,
                evaluated,
                rules,
                [seeds[index] for *_, index in runs],
                SCHEDULES[phase],
                OBJECTIVES,
            )
            for (method, setting, point, index), by_task in zip(runs, values, strict=True):
                key = {"method": method, "setting": setting, "seed": index}
                first = 0 if phase == "search" else len(by_task) - 1
                rows += [
                    key
                    | {"arrangement": number, "phase": phase, "task": task}
                    | dict(zip(OBJECTIVES, by_task[task].tolist(), strict=True))
                    | point
                    for task in range(first, len(by_task))
                ]
    return pl.DataFrame(rows, infer_schema_length=None)


def _stacks(seeds: list[int]) -> Iterator[list[tuple[str, int, dict[str, Any], int]]]:
    """Yield the runs of an arrangement in stacks: method, setting, its point, index of the seed."""
    runs = [
        (method, setting, point, index)
        for method, count in SETTINGS.items()
        for setting, point in enumerate(settings_of(get_method(method), count))
        for index in range(len(seeds))
    ]
    for start in range(0, len(runs), STACK):
        yield runs[start : start + STACK]


def main() -> None:
    """Record the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    parts = [folder / f"{number}.parquet" for number in range(ARRANGEMENTS)]
    for number, part in enumerate(parts):
        if not part.exists():
            record_arrangement(number).write_parquet(part)
            print(f"arrangement {number} of {ARRANGEMENTS} recorded", flush=True)
    table = pl.concat(map(pl.read_parquet, parts), how="diagonal").with_columns(
        pl.col("setting", "seed", "arrangement", "task").cast(pl.Int16),
        pl.col(pl.Float64).cast(pl.Float32),
    )
    table.write_parquet(TABLE, compression_level=19)


if __name__ == "__main__":
    main()
