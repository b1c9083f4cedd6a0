"""Tables of the report as rows of text."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import polars as pl
from tabulate import tabulate

from ngm_tune.messages import counted
from ngm_tune.metrics.registry import METRICS
from ngm_tune.results.records import Range

from ..formatting import number, percent, signed
from ..loaded_study import TASK_AWARE_MARK, LoadedStudy
from ..statistics.across import AcrossInfo, Interval
from ..statistics.answer import Answer
from ..statistics.methods import INCOMPLETE_STATUSES
from ..statistics.optimism import Optimism, optimism
from ..statistics.paired import Estimate
from ..statistics.published import Replication
from ..statistics.robustness import NEAR_FRONT
from ..statistics.spaces import NEAR_BOUND, SearchedRange
from ..statistics.transfer import transfers

Row = dict[str, str]
"""Text of each cell, by column heading."""

TASK_AWARE_NOTE = (
    f"{TASK_AWARE_MARK} Task-aware: the method uses the boundaries of tasks, or the task of an "
    "example. Methods without this mark do not have this information."
)
"""Footnote of tables and charts with marked titles."""
_NONE = "–"
_METRICS = ("avg_acc", "avg_sg", "min_acc", "recovery")
"""Metrics of the table of methods, after the objectives."""


def markdown_table(rows: Sequence[Row]) -> str:
    """Return rows as a Markdown table, with a footnote on task-aware methods if any is marked.

    Text is escaped, because Markdown can contain HTML.
    """
    escaped = [{heading: _escape(text) for heading, text in row.items()} for row in rows]
    table = tabulate(escaped, headers="keys", tablefmt="github", disable_numparse=True) + "\n"
    is_marked = any(text.endswith(TASK_AWARE_MARK) for row in rows for text in row.values())
    return f"{table}\n{TASK_AWARE_NOTE}\n" if is_marked else table


def _escape(text: str) -> str:
    return html.escape(text, quote=False).replace("|", "\\|")


def verdict_rows(loaded: LoadedStudy, answer: Answer) -> list[Row]:
    """Return the comparisons of the first method with each rival, as text."""
    unit = "seeds" if loaded.has_fixed_runs else "repetitions"
    rows = []
    for each in answer.comparisons:
        mean, low, high = each.raw
        has_interval = not np.isnan(low)
        more = each.replicates_to_decide
        row = {
            "Quantity": each.endpoint.title if each.rival == answer.comparisons[0].rival else "",
            "Rival": loaded.method_title(each.rival),
            "Difference": _NONE if np.isnan(mean) else signed(mean),
            "95 % interval": f"{signed(low)} to {signed(high)}" if has_interval else _NONE,
            "Outcome": each.outcome.value,
        }
        if not each.one_search:
            wins = sum(difference > 0 for difference in each.differences)
            row["Better in"] = f"{wins} of {len(each.differences)} {unit}"
            row[f"More {unit} to decide"] = (
                "" if more is None else f"about {more - len(each.differences)}"
            )
        rows.append(row)
    return rows


def across_rows(loaded: LoadedStudy, info: AcrossInfo) -> list[Row]:
    """Return the methods over all benchmarks, as text."""
    return [
        {
            "Method": loaded.method_title(each.method),
            "Mean hypervolume": _interval(each.hypervolume, 3),
            "Mean rank": number(each.rank, 2),
            f"Probability that {loaded.method_title(info.focus)} is better": (
                _NONE if each.improvement is None else _interval(each.improvement, 2)
            ),
        }
        for each in info.scores
    ]


def _interval(interval: Interval, digits: int) -> str:
    value, low, high = (number(each, digits) for each in interval)
    return f"{value} ({low} to {high})"


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


def space_rows(loaded: LoadedStudy, ranges: Iterable[SearchedRange]) -> list[Row]:
    """Return the searched ranges with the selected values, and the bounds that these are near."""
    return [
        {
            "Method": loaded.method_title(each.method),
            "Search coordinate": each.coordinate,
            "Searched range": range_text(each.limits),
            "Selected values": _selected_text(each),
            f"Within {percent(NEAR_BOUND)} of a bound": _near_text(each),
        }
        for each in ranges
    ]


def range_text(limits: Range) -> str:
    """Format a range as ``0.001 to 1, log scale``, or its choices as ``all, output``."""
    if limits.choices:
        return ", ".join(map(str, limits.choices))
    return f"{limits.low:g} to {limits.high:g}" + (", log scale" if limits.log else "")


def _selected_text(searched: SearchedRange) -> str:
    values = searched.selected
    if not values:
        return _NONE
    if searched.limits.choices:
        return ", ".join(f"{each} ({count}×)" for each, count in Counter(map(str, values)).items())
    low, high = f"{values[0]:.4g}", f"{values[-1]:.4g}"
    return low if low == high else f"{low} to {high}"


def _near_text(searched: SearchedRange) -> str:
    """Name the bounds that selected values are near, such as ``⚠ upper bound 1 (3 of 4)``."""
    limits, total = searched.limits, len(searched.selected)
    bounds = (
        ("lower", limits.low, searched.n_near_low),
        ("upper", limits.high, searched.n_near_high),
    )
    warnings = [
        f"⚠ {side} bound {bound:g} ({count} of {total})" for side, bound, count in bounds if count
    ]
    return ", ".join(warnings) or _NONE


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
