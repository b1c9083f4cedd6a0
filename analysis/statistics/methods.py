"""The table of methods: what each search reached, and its chosen configuration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import polars as pl

from ngm_tune.metrics.pareto import hypervolume
from ngm_tune.metrics.registry import METRICS, Metric

from ..loaded_study import PARTIAL, LoadedStudy
from .choice import Choice
from .comparison import Contender, contenders
from .optimism import optimism
from .robustness import robustness_info

INCOMPLETE_STATUSES = ("diverged", PARTIAL, "stopped", "failed")
"""Statuses of trials that did not complete with every seed."""


def methods_table(loaded: LoadedStudy, choices: list[Choice]) -> pl.DataFrame:
    """Return one row per benchmark and method.

    Columns:
        - ``trials`` and their number by status; ``infeasible`` (completed, but violates a
          constraint); ``confirmed_trials`` and their number by status.
        - ``hypervolume`` and ``front_points`` of the trials on which claims rest
          (:meth:`~analysis.loaded_study.LoadedStudy.evidence`).
        - ``<second>_near_best_<first>``: the second objective of the method's contender
          (:mod:`analysis.statistics.comparison`), with its standard deviation.
        - ``search_hypervolume`` and ``optimism_<objective>``.
        - ``space_within``: share of the search space within
          :data:`~analysis.statistics.robustness.NEAR_FRONT` of the front.
        - ``chosen`` (a trial id), ``settings``, and the metrics of the chosen configuration, with
          their standard deviations over seeds.
    """
    by_method = {(choice.benchmark, choice.method): choice for choice in choices}
    rows = []
    for benchmark in loaded.benchmarks:
        robustness = robustness_info(loaded, benchmark)
        by_contender = contenders(loaded, benchmark)
        for method in loaded.methods:
            choice = by_method.get((benchmark, method))
            row = _row(loaded, benchmark, method, choice, by_contender.get(method))
            row["space_within"] = robustness.within(row["title"]) if robustness else None
            rows.append(row)
    return pl.DataFrame(rows, infer_schema_length=None)


def near_best_column(loaded: LoadedStudy) -> str:
    """Return the name of the column with the second objective near the best first objective."""
    first, second = loaded.objectives[:2]
    return f"{second.name}_near_best_{first.name}"


def _row(
    loaded: LoadedStudy,
    benchmark: str,
    method: str,
    choice: Choice | None,
    contender: Contender | None,
) -> dict[str, Any]:
    evidence = loaded.evidence(benchmark, method)
    trials = loaded.first_phase_trials(benchmark, method)
    objectives, reference_point = loaded.objectives, loaded.study.reference_point
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
    row["hypervolume"] = _hypervolume(evidence.filter("eligible"), objectives, reference_point)
    row["search_hypervolume"] = (
        None if fixed else _hypervolume(trials.filter("front"), objectives, reference_point)
    )
    row["front_points"] = int(evidence["front"].sum())
    for entry in optimism(loaded, benchmark, method):
        row[f"optimism_{entry.name}"] = entry.optimism
    if len(objectives) > 1:
        column = near_best_column(loaded)
        sd = float(contender.sd[1]) if contender else math.nan
        row[column] = float(contender.values[1]) if contender else None
        row[f"{column}_sd"] = None if math.isnan(sd) else sd
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


def _hypervolume(
    trials: pl.DataFrame, objectives: list[Metric], reference_point: Mapping[str, float]
) -> float:
    names = [metric.name for metric in objectives]
    values = trials.drop_nulls(names).select(names).to_numpy()
    return hypervolume(values, objectives, reference_point)
