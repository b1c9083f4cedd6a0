"""The table of methods: what each search reached, and its chosen configuration."""

from __future__ import annotations

from typing import Any

import polars as pl

from ngm_tune.metrics.registry import METRICS

from ..loaded_study import LoadedStudy
from .answer import answer
from .choice import Choice
from .optimism import optimism
from .robustness import robustness_info

INCOMPLETE_STATUSES = ("diverged", "stopped", "failed")
"""Statuses of trials that did not complete with every seed."""


def methods_table(loaded: LoadedStudy, choices: list[Choice]) -> pl.DataFrame:
    """Return one row per benchmark and method.

    Columns:
        - ``trials`` and their number by status; ``infeasible`` (completed, but violates a
          constraint); ``confirmed_trials`` and their number by status.
        - ``hypervolume`` (normalised, mean over repetitions), its standard error, and
          ``front_points`` of the trials on which claims rest
          (:meth:`~analysis.loaded_study.LoadedStudy.evidence`).
        - ``optimism_<objective>``.
        - ``space_within``: share of the search space within
          :data:`~analysis.statistics.robustness.NEAR_FRONT` of the front.
        - ``chosen`` (a trial id), ``settings``, and the metrics of the chosen configuration, with
          their standard deviations over seeds.
    """
    by_method = {(choice.benchmark, choice.method): choice for choice in choices}
    rows = []
    for benchmark in loaded.benchmarks:
        robustness = robustness_info(loaded, benchmark)
        volumes = {each.method: each for each in answer(loaded, benchmark).hypervolumes}
        for method in loaded.methods:
            row = _row(loaded, benchmark, method, by_method.get((benchmark, method)))
            volume = volumes.get(method)
            row["hypervolume"] = volume.value if volume else None
            row["hypervolume_se"] = volume.error if volume else None
            row["space_within"] = robustness.within(row["title"]) if robustness else None
            rows.append(row)
    return pl.DataFrame(rows, infer_schema_length=None)


def _row(
    loaded: LoadedStudy,
    benchmark: str,
    method: str,
    choice: Choice | None,
) -> dict[str, Any]:
    evidence = loaded.evidence(benchmark, method)
    trials = loaded.first_phase_trials(benchmark, method)
    row: dict[str, Any] = {
        "benchmark": benchmark,
        "method": method,
        "title": loaded.method_title(method),
        "confirmed": loaded.is_confirmed(benchmark),
        "trials": trials.height,
    }
    for status in ("completed", *INCOMPLETE_STATUSES):
        row[status] = trials.filter(status=status).height
    row["infeasible"] = trials.filter(~pl.col("feasible"), status="completed").height
    fixed = loaded.has_fixed_runs
    confirmed = trials.clear() if fixed else loaded.confirmed_trials(benchmark, method)
    row["confirmed_trials"] = confirmed.height
    for status in ("diverged", "failed"):
        row[f"confirmed_{status}"] = confirmed.filter(status=status).height
    row["front_points"] = int(evidence["front"].sum())
    for entry in optimism(loaded, benchmark, method):
        row[f"optimism_{entry.name}"] = entry.optimism
    row["chosen"] = choice.trial_id if choice else None
    row["settings"] = choice.settings if choice else None
    scores = (
        evidence.row(by_predicate=pl.col("trial_id") == choice.trial_id, named=True)
        if choice
        else {}
    )
    for name in METRICS:
        row |= {column: scores.get(column) for column in (name, f"{name}_sd")}
    return row
