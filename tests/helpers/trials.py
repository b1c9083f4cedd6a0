"""A trial on Split-Digits, trained without Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from ngm_tune.benchmarks import get_benchmark
from ngm_tune.benchmarks.pool import DataPool
from ngm_tune.execution.runner import Data
from ngm_tune.execution.split_cache import SplitCache
from ngm_tune.execution.trial_config import TrialConfig, build_trial_config
from ngm_tune.execution.trial_report import TrialReport
from ngm_tune.execution.trial_training import TrialTraining
from ngm_tune.search.run_spec import RunSpec
from ngm_tune.study.files import load_study
from ngm_tune.study.plan import StudyPlan

BENCHMARK = "split-digits"
TABLES = ("trials", "tasks", "curves", "steps")


def load_splits() -> Data:
    """Return the data of Split-Digits."""
    return {BENCHMARK: DataPool.of(get_benchmark(BENCHMARK).load()).arrays()}


def make_split_cache(data: Data) -> SplitCache:
    """Return a cache of splits on the CPU."""
    return SplitCache(data.__getitem__, "cpu")


def make_config(
    location: Path, method: str = "ngm-sgd", *changes: str, **hyperparameters: Any
) -> TrialConfig:
    """Return the config of a trial with two seeds and a checkpoint after every task of a seed.

    The results directory is created with its ``study.toml``.
    """
    study = load_study("quickstart", ["searches=1", "seeds=2", "iterations_per_task=20", *changes])
    trial_id = f"{BENCHMARK}.{method}.0000"
    hyperparameters = hyperparameters or {"lr": 0.05}
    spec = RunSpec(
        benchmark=BENCHMARK,
        method=method,
        repetition=0,
        phase="search",
        run_id=trial_id,
        seeds=(0, 1),
        trial_id=trial_id,
        hyperparameters=hyperparameters,
        coordinates=hyperparameters,
    )
    location.mkdir(exist_ok=True)
    (location / "study.toml").write_text(study.to_toml())
    return {
        **build_trial_config(StudyPlan.resolve(study), str(location), spec),
        "checkpoint_seconds": 0.0,
    }


def finish(training: TrialTraining) -> TrialReport:
    """Train a trial to its end and return its last report."""
    while not (report := training.train_next_task()).done:
        pass
    return report


def count_trained_tasks(training: TrialTraining) -> list[int]:
    """Return the number of trained tasks of each seed."""
    return [len(run.records) for run in training.runs]


def read_rows(location: Path, table: str, method: str = "ngm-sgd") -> pl.DataFrame:
    """Return the rows of a trial in a table, without the columns that differ between runs."""
    frame = pl.read_parquet(location / table / f"{BENCHMARK}.{method}.0000.parquet")
    return frame.drop("wall_seconds", "node", strict=False)


def list_checkpoints(location: Path) -> list[Path]:
    """Return the checkpoint files of a results directory."""
    return sorted(location.glob("checkpoints/*.pt"))
