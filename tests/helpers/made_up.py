"""Synthetic results for tests of the analysis."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from ngm_tune.analysis.loaded_study import LoadedStudy
from ngm_tune.analysis.loading import load
from ngm_tune.results.directory import Results
from ngm_tune.results.ids import TrialId
from ngm_tune.results.schema import trials_schema

SCHEMA = trials_schema({"lr": "float"}, {"lr": "float"})

STUDY = """
name = "made-up"
title = "Made up"
benchmarks = ["split-digits"]
methods = ["ngm-sgd", "sgd"]
trials = 8
seeds = 2
seed = 0
sampler = "tpe"
objectives = ["avg_acc", "avg_sg"]
reference_point = { avg_acc = 0.0, avg_sg = 1.0 }
confirm = { max_configurations = 2, seeds = 3 }
"""

REPEATED = STUDY.replace("trials = 8", "trials = 2\nsearches = 3")
"""A study with three repetitions."""

Point = tuple[float, float]


class MadeUp:
    """A results directory to which tests add trials."""

    def __init__(self, folder: Path, more: str = "", study: str = STUDY) -> None:
        self.location = str(folder)
        self.results = Results(self.location)
        self.results.write_text("study.toml", study + more)
        space = {"lr": {"low": 1e-3, "high": 1.0, "log": True, "step": None}}
        methods = {name: {"title": name.upper(), "space": space} for name in ("ngm-sgd", "sgd")}
        self.results.write_text("environment.json", json.dumps({"methods": methods}))

    def trial(
        self,
        number: int,
        point: Point,
        *,
        method: str = "sgd",
        status: str = "completed",
        phase: str = "search",
        seeds: Sequence[int] = (0, 1),
        lr: float = 0.1,
        iterations: int = 100,
        spread: float = 0.0,
        diverged_at: int | None = None,
    ) -> None:
        """Add a trial. The accuracies of its seeds are ``spread`` apart, centred on ``point``."""
        trial = f"split-digits.{method}.{number:04d}"
        if phase == "confirm":
            trial, seeds = f"{trial}.confirm", (1000, 1001, 1002)
        scoreless = status in ("stopped", "failed")
        rows = [
            {
                **identity(trial, seed), "phase": phase, "status": status,
                "config_lr": lr, "search_lr": lr,
                "iterations": iterations, "diverged_at": diverged_at,
                "avg_acc": None if scoreless else point[0] + spread * step,
                "avg_sg": None if scoreless else point[1],
            }
            for step, seed in enumerate(seeds, -(len(seeds) // 2))
        ]  # fmt: skip
        self.results.write("trials", trial, pa.Table.from_pylist(rows, SCHEMA))

    def rows(
        self,
        trial: str,
        points: Sequence[Point],
        seeds: Sequence[int],
        phase: str = "confirm",
        status: str = "completed",
        run: str | None = None,
    ) -> None:
        """Add a trial with one point per seed; ``run`` is its run, by default the trial."""
        rows = [
            {
                **identity(trial, seed), "phase": phase, "status": status,
                "config_lr": 0.1, "search_lr": 0.1, "iterations": 100,
                "avg_acc": accuracy, "avg_sg": gap,
            }
            for seed, (accuracy, gap) in zip(seeds, points, strict=True)
        ]  # fmt: skip
        self.results.write("trials", run or trial, pa.Table.from_pylist(rows, SCHEMA))

    def confirmed(self, trial: str, points: Sequence[Point]) -> None:
        """Add a confirmation, with one point per fresh seed."""
        self.rows(trial, points, range(1000, 1000 + len(points)))

    def searched_and_confirmed(
        self, method: str, number: int, estimate: Point, points: Sequence[Point]
    ) -> None:
        """Add a search trial and its confirmation, with one point per fresh seed."""
        self.trial(number, estimate, method=method)
        self.confirmed(f"split-digits.{method}.{number:04d}.confirm", points)

    def repetitions(
        self,
        method: str,
        confirmed: Sequence[Sequence[Point]],
        benchmark: str = "split-digits",
        study_seed: int = 0,
    ) -> None:
        """Add repetitions of a search, each with one trial per point that it confirms."""
        for repetition, points in enumerate(confirmed):
            first = (study_seed * 1000 + repetition) * 20_000
            for number, point in enumerate(points):
                trial = TrialId(benchmark, method, number, repetition=repetition)
                self.rows(str(trial), [point] * 2, range(first, first + 2), phase="search")
                fresh = range(first + 1000, first + 1003)
                self.rows(str(trial.confirmation()), [point] * 3, fresh)

    def fixed_run(self, method: str, point: Point, seeds: Sequence[int] = (0, 1)) -> None:
        """Add the fixed run of a method, with the same scores for every seed."""
        self.rows(f"split-digits.{method}.0000", [point] * len(seeds), seeds)

    def describe(self, method: str, **entries: Any) -> None:
        """Add entries to the description of a method in environment.json."""
        environment = self.results.read_environment()
        environment["methods"].setdefault(method, {}).update(entries)
        self.results.write_text("environment.json", json.dumps(environment))

    def refer(self, **numbers: dict[str, int]) -> None:
        """Record which trials of a method are references, such as ``sgd={"default": 0}``."""
        environment = self.results.read_environment()
        methods = {name.replace("_", "-"): of_method for name, of_method in numbers.items()}
        environment["references"] = {"split-digits": methods}
        self.results.write_text("environment.json", json.dumps(environment))

    def load(self) -> LoadedStudy:
        """Load the results for the analysis."""
        return load(self.location)


def identity(trial: str, seed: int) -> dict[str, Any]:
    """Return the columns of a row that identify its run."""
    identified = TrialId.parse(trial)
    return {
        "study": "made-up",
        "benchmark": identified.benchmark,
        "method": identified.method,
        "repetition": identified.repetition,
        "trial_id": trial,
        "seed": seed,
        "wall_seconds": 1800.0,
    }
