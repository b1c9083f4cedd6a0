"""From a results directory to one table of trials."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from ngm_tune.errors import UserError
from ngm_tune.metrics import METRICS, Metric
from ngm_tune.pareto import on_front
from ngm_tune.results import CONFIG_PREFIX, Results


class LoadedStudy(NamedTuple):
    """A study with its trials, one row per trial.

    ``trials`` has the identifying columns of ``trials/*.parquet``, the configuration, ``status`` of
    the trial as a whole, ``seeds``, every metric as the mean over seeds and, under ``<metric>_sd``,
    its standard deviation (n - 1; null for one seed), and ``front``: whether no completed trial of
    the same benchmark and method dominates it.
    """

    results: Results
    study: dict[str, Any]
    environment: dict[str, Any]
    objectives: list[Metric]
    trials: pl.DataFrame

    @property
    def benchmarks(self) -> list[str]:
        """Benchmarks that have trials, in the study's order."""
        there = set(self.trials["benchmark"])
        return [name for name in self.study["benchmarks"] if name in there]

    @property
    def methods(self) -> list[str]:
        """Methods that have trials, in the study's order."""
        there = set(self.trials["method"])
        return [name for name in self.study["methods"] if name in there]

    def title(self, kind: str, name: str) -> str:
        """How people call a benchmark or method; ``kind`` is the plural."""
        try:
            return str(self.environment[kind][name]["title"])
        except (KeyError, TypeError):
            return name

    def of(self, benchmark: str, method: str | None = None) -> pl.DataFrame:
        """The trials of a benchmark, or of one arm."""
        wanted = pl.col("benchmark") == benchmark
        return self.trials.filter(
            wanted if method is None else wanted & (pl.col("method") == method)
        )


def load(location: str) -> LoadedStudy:
    """Read a results directory.

    Raises:
        UserError: There are no results, none of them is complete, or they cannot be read.
    """
    results = Results(location)
    results.require()
    study = results.study()
    try:
        objectives = [METRICS[name] for name in study["objectives"]]
        for metric in objectives:
            float(study["reference_point"][metric.name])
        for key in ("name", "title", "benchmarks", "methods", "trials", "seeds", "sampler", "seed"):
            study[key]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{location}/study.toml: no study of this version: {error!r}") from error
    rows = pl.DataFrame(results.read("trials")).with_columns(pl.col(pl.Float64).fill_nan(None))
    if not (rows["status"] == "completed").any():
        raise UserError(f"{location}: no completed trial yet, so there is nothing to analyze")
    return LoadedStudy(
        results, study, results.environment(), objectives, _per_trial(rows, objectives)
    )


def output_beside(location: str, name: str) -> Path:
    """Where a file or folder goes by default: into the results directory.

    Raises:
        UserError: The results are at a URI, where only reading is done.
    """
    if "://" in location:
        raise UserError(f"{location}: say with --output where on this machine to write")
    return Path(location) / name


def _per_trial(rows: pl.DataFrame, objectives: list[Metric]) -> pl.DataFrame:
    """Fold the seeds of every trial into one row, and mark the fronts."""
    key = ["study", "benchmark", "method", "trial_id", "phase"]
    config = [name for name in rows.columns if name.startswith(CONFIG_PREFIX)]
    metrics = [name for name in METRICS if name in rows.columns]
    trials = (
        rows.group_by(key, maintain_order=True)
        .agg(
            pl.col("status").filter(pl.col("status") != "completed").first().fill_null("completed"),
            pl.len().alias("seeds"),
            *(pl.col(name).first() for name in config),
            *(pl.col(name).mean() for name in metrics),
            *(pl.col(name).std().alias(f"{name}_sd") for name in metrics),
            pl.col("wall_seconds").sum(),
        )
        .sort("benchmark", "method", "trial_id")
        .with_row_index("row")
    )
    front: set[int] = set()
    completed = trials.filter(pl.col("status") == "completed")
    for _, arm in completed.group_by("benchmark", "method"):
        values = arm.select(metric.name for metric in objectives).to_numpy()
        front.update(arm["row"].to_numpy()[on_front(values, objectives)].tolist())
    return trials.with_columns(front=pl.col("row").is_in(sorted(front))).drop("row")
