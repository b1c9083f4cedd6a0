"""Tables of the report as rows of text."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import polars as pl
from tabulate import tabulate

from ngm_tune.messages import counted
from ngm_tune.metrics.registry import METRICS
from ngm_tune.results.columns import decode_hyperparameters

from ..formatting import number, percent, settings, signed
from ..loaded_study import LoadedStudy
from ..statistics.answer import Answer
from ..statistics.facts import stopped_runs
from ..statistics.methods import INCOMPLETE_STATUSES
from ..statistics.optimism import Optimism, optimism
from ..statistics.paired import Estimate
from ..statistics.published import Replication
from ..statistics.robustness import NEAR_FRONT
from ..statistics.transfer import transfers
from ..statistics.verdict import Comparison

Row = dict[str, str]
"""Text of each cell, by column heading."""

_NONE = "–"
_METRICS = ("avg_acc", "avg_sg", "min_acc", "recovery")
"""Metrics of the table of methods, after the objectives."""


def markdown_table(rows: Sequence[Row]) -> str:
    """Return rows as a Markdown table; text is escaped, because Markdown can contain HTML."""
    escaped = [{heading: _escape(text) for heading, text in row.items()} for row in rows]
    return tabulate(escaped, headers="keys", tablefmt="github", disable_numparse=True) + "\n"


def _escape(text: str) -> str:
    return html.escape(text, quote=False).replace("|", "\\|")


def verdict_rows(loaded: LoadedStudy, answer: Answer) -> list[Row]:
    """Return the comparisons of the first method with each rival, as text."""
    rows: dict[str, Row] = {}
    for each in answer.comparisons:
        row = rows.setdefault(each.rival, {"Rival": loaded.method_title(each.rival)})
        row[each.endpoint.title] = comparison_cell(each)
        if each.endpoint.primary and each.probability_better is not None:
            wins = sum(difference > 0 for difference in each.differences)
            row["Better in"] = f"{wins} of {len(each.differences)}"
    return list(rows.values())


def comparison_cell(comparison: Comparison) -> str:
    """Format a comparison as ``difference (interval), outcome``."""
    mean, low, high = comparison.raw
    if np.isnan(mean):
        return _NONE
    interval = "" if np.isnan(low) else f" ({signed(low)} to {signed(high)})"
    undefined = f", undefined in {comparison.n_undefined}" if comparison.n_undefined else ""
    return f"{signed(mean)}{interval}, {comparison.outcome.value}{undefined}"


def method_rows(loaded: LoadedStudy, table: pl.DataFrame) -> list[Row]:
    """Return the rows of :func:`~analysis.statistics.methods.methods_table` as text.

    Columns without any value are omitted.
    """
    has_space = bool(table["space_within"].is_not_null().any())
    names = [*(metric.name for metric in loaded.objectives), *_METRICS]
    metrics = [name for name in dict.fromkeys(names) if table[name].is_not_null().any()]
    return [_method_row(loaded, row, metrics, has_space=has_space) for row in table.to_dicts()]


def _method_row(
    loaded: LoadedStudy, row: dict[str, Any], metrics: list[str], *, has_space: bool
) -> Row:
    cells = {
        "Method": row["title"],
        "Chosen configuration": row["settings"] or _NONE,
        "Trials": _count_with_statuses(row, "trials", "", (*INCOMPLETE_STATUSES, "infeasible")),
    }
    if row["confirmed"] and not loaded.has_fixed_runs:
        cells["Confirmed"] = _count_with_statuses(
            row, "confirmed_trials", "confirmed_", ("diverged", "failed")
        )
    if row["hypervolume"] is not None:
        cells["Hypervolume"] = _mean_and_sd(row["hypervolume"], row["hypervolume_se"])
    if has_space:
        share = row["space_within"]
        heading = f"Search space within {NEAR_FRONT:g} of the front"
        cells[heading] = _NONE if share is None else percent(share)
    for name in metrics:
        metric = METRICS[name]
        is_time = metric.unit == "iterations"
        heading = f"{metric.title}, iterations" if is_time else metric.title
        cells[heading] = _mean_and_sd(row[name], row[f"{name}_sd"], 1 if is_time else 3)
    return cells


def _count_with_statuses(
    row: dict[str, Any], total: str, prefix: str, statuses: Iterable[str]
) -> str:
    """Return the total and the non-zero counts by status, such as ``8 (2 diverged)``."""
    counts = [f"{row[prefix + each]} {each}" for each in statuses if row[prefix + each]]
    return f"{row[total]} ({', '.join(counts)})" if counts else str(row[total])


def _mean_and_sd(mean: float | None, sd: float | None = None, digits: int = 3) -> str:
    if mean is None or np.isnan(mean):
        return _NONE
    return number(mean, digits) + ("" if sd is None else f" ± {sd:.{digits}f}")


def stopped_rows(loaded: LoadedStudy, benchmark: str) -> list[Row]:
    """Return the trials of a benchmark that were stopped early."""
    trials = stopped_runs(loaded).filter(benchmark=benchmark)
    return [
        {
            "Trial": row["trial_id"],
            "Method": loaded.method_title(row["method"]),
            "Stopped after": f"task {row['tasks']}" if row["tasks"] is not None else _NONE,
            "Configuration": settings(decode_hyperparameters(row, loaded.domains(row["method"]))),
        }
        for row in trials.unique("trial_id", maintain_order=True).to_dicts()
    ]


def optimism_rows(loaded: LoadedStudy, benchmark: str) -> list[Row]:
    """Return the optimism of each method with confirmed configurations."""
    rows = []
    for method in loaded.methods:
        entries = optimism(loaded, benchmark, method)
        if entries:
            row = {
                "Method": loaded.method_title(method),
                "Configurations": str(entries[0].n_configurations),
            }
            rows.append(row | {entry.title: optimism_cell(entry) for entry in entries})
    return rows


def transfer_rows(loaded: LoadedStudy, benchmark: str) -> list[Row]:
    """Return what configurations that were tuned on other benchmarks attain on this one."""
    return [
        {
            "Method": loaded.method_title(each.method),
            "Tuned on": loaded.benchmark_title(each.origin),
            "Repetitions": str(len(each.repetitions)),
            "Hypervolume": number(each.transferred),
            "Tuned here": number(each.tuned),
            "Regret": _signed_estimate(each.regret),
        }
        for each in transfers(loaded, benchmark)
    ]


def _signed_estimate(estimate: Estimate) -> str:
    """Format an estimate as ``difference (interval)``."""
    mean, low, high = estimate[:3]
    return signed(mean) + ("" if np.isnan(low) else f" ({signed(low)} to {signed(high)})")


def optimism_cell(entry: Optimism) -> str:
    """Format an entry as ``searched → confirmed (optimism ± standard error)``."""
    error = "" if np.isnan(entry.error) else f" ± {entry.error:.3f}"
    return f"{number(entry.searched)} → {number(entry.confirmed)} ({signed(entry.optimism)}{error})"


def published_rows(loaded: LoadedStudy, replications: list[Replication]) -> list[Row]:
    """Return published values next to replicated ones; ``≠`` marks significant differences."""
    return [
        {
            "Benchmark": loaded.benchmark_title(each.benchmark),
            "Method": loaded.method_title(each.method) + _omitted_seeds(each),
            "Quantity": each.quantity,
            "Published": _mean_and_sd(*each.published) if each.published else _NONE,
            "Here": _mean_and_sd(each.mean, each.sd),
            "": "≠" if each.differs else "",
        }
        for each in replications
    ]


def _omitted_seeds(replication: Replication) -> str:
    n_diverged, n_incomplete = replication.n_diverged, replication.n_incomplete
    seeds = counted(replication.n_seeds + n_diverged + n_incomplete, "seed")
    parts = [f"{n_diverged} of {seeds} diverged"] if n_diverged else []
    parts += [f"{n_incomplete} of {seeds} incomplete"] if n_incomplete else []
    return f" ({', '.join(parts)})" if parts else ""
