"""The table of the methods: what each found, and its chosen configuration."""

from __future__ import annotations

from typing import Any

import polars as pl

from ngm_tune.metrics import METRICS
from ngm_tune.pareto import hypervolume

from .choice import Choice
from .loading import LoadedStudy

WITHIN = 0.01
"""How far below the best first objective a trial may lie to be compared in the second."""

_SHOWN_METRICS = ("avg_acc", "avg_sg", "min_acc", "recovery")


def methods_table(loaded: LoadedStudy, choices: list[Choice]) -> pl.DataFrame:
    """A row per benchmark and method.

    Columns: numbers of trials by status, hypervolume, points on the front, the best value of each
    objective, the second objective's best within one point of the best first objective of any
    method, and of the chosen configuration its id, hyper-parameters, and metrics with their
    standard deviation over seeds.
    """
    by_arm = {(choice.benchmark, choice.method): choice for choice in choices}
    rows = [
        _row(loaded, benchmark, method, by_arm.get((benchmark, method)))
        for benchmark in loaded.benchmarks
        for method in loaded.methods
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def _row(loaded: LoadedStudy, benchmark: str, method: str, choice: Choice | None) -> dict[str, Any]:
    arm = loaded.of(benchmark, method)
    completed = arm.filter(pl.col("status") == "completed")
    values = completed.select(metric.name for metric in loaded.objectives).to_numpy()
    row: dict[str, Any] = {
        "benchmark": benchmark,
        "method": method,
        "title": loaded.title("methods", method),
        "trials": arm.height,
        "completed": completed.height,
    }
    for status in ("diverged", "stopped", "failed"):
        row[status] = arm.filter(pl.col("status") == status).height
    row["hypervolume"] = hypervolume(values, loaded.objectives, loaded.study["reference_point"])
    row["front_points"] = int(arm["front"].sum())
    for metric in loaded.objectives:
        column = completed[metric.name]
        row[f"best_{metric.name}"] = (
            column.max() if metric.direction == "maximize" else column.min()
        )
    row |= _compared(loaded, benchmark, completed)
    row["chosen"] = choice.trial_id if choice else None
    row["settings"] = choice.settings if choice else None
    scores = (
        completed.row(by_predicate=pl.col("trial_id") == choice.trial_id, named=True)
        if choice
        else {}
    )
    for name in METRICS:
        row |= {column: scores.get(column) for column in (name, f"{name}_sd")}
    return row


def _compared(loaded: LoadedStudy, benchmark: str, completed: pl.DataFrame) -> dict[str, Any]:
    """The second objective where the first is as good as the best of any method, give or take."""
    if len(loaded.objectives) < 2:
        return {}
    first, second = loaded.objectives[:2]
    everyone = loaded.of(benchmark).filter(pl.col("status") == "completed")
    losses = everyone[first.name] * first.sign
    limit = float(losses.min() or 0.0) + WITHIN  # type: ignore[arg-type]
    near = completed.filter(pl.col(first.name) * first.sign <= limit)[second.name]
    best = near.min() if second.direction == "minimize" else near.max()
    return {f"{second.name}_near_best_{first.name}": best}


def display_rows(loaded: LoadedStudy, table: pl.DataFrame) -> list[dict[str, str]]:
    """The table as people read it, the same in HTML and Markdown."""
    return [_display(loaded, row) for row in table.to_dicts()]


def _display(loaded: LoadedStudy, row: dict[str, Any]) -> dict[str, str]:
    shown = {
        "Method": row["title"],
        "Chosen configuration": row["settings"] or "–",
        "Trials": _trials(row),
    }
    if len(loaded.objectives) > 1:
        first, second = loaded.objectives[:2]
        near = row[f"{second.name}_near_best_{first.name}"]
        shown["Hypervolume"] = _number(row["hypervolume"])
        shown[f"{second.title} near the best {first.title.lower()}"] = _number(near)
    for name in dict.fromkeys([*(m.name for m in loaded.objectives), *_SHOWN_METRICS]):
        digits = 1 if METRICS[name].unit == "iterations" else 3
        shown[METRICS[name].title] = _number(row[name], row[f"{name}_sd"], digits)
    return shown


def findings(loaded: LoadedStudy, table: pl.DataFrame) -> list[str]:
    """The study's answer, a sentence or two per benchmark; its first method is the one in question.

    "Near the best" is within :data:`WITHIN` of the best first objective found by any method.
    """
    if len(loaded.objectives) < 2:
        return []
    return [_finding(loaded, table, benchmark) for benchmark in loaded.benchmarks]


def _finding(loaded: LoadedStudy, table: pl.DataFrame, benchmark: str) -> str:
    first, second = loaded.objectives[:2]
    key = f"{second.name}_near_best_{first.name}"
    rows = table.filter((pl.col("benchmark") == benchmark) & (pl.col("completed") > 0))
    if not rows.height:
        return f"{loaded.title('benchmarks', benchmark)}: no trial completed."
    best = rows.sort(pl.col(f"best_{first.name}") * first.sign).row(0, named=True)
    near = rows.filter(pl.col(key).is_not_null()).sort(pl.col(key) * second.sign).to_dicts()
    focus = loaded.title("methods", loaded.methods[0])
    mine = next((row[key] for row in near if row["title"] == focus), None)
    rival = next((row for row in near if row["title"] != focus), None)
    answer = (
        f"{loaded.title('benchmarks', benchmark)}: the best {first.title.lower()} found is "
        f"{best[f'best_{first.name}']:.3f} ({best['title']}). "
        + (
            f"Within {WITHIN:g} of it, {focus} has a {second.title.lower()} of {mine:.3f}"
            if mine is not None
            else f"{focus} does not come within {WITHIN:g} of it"
        )
        + (f"; the best rival, {rival['title']}, {rival[key]:.3f}." if rival else ".")
    )
    volumes = rows.sort("hypervolume", descending=True).to_dicts()
    ranking = ", ".join(f"{row['title']} {row['hypervolume']:.3f}" for row in volumes)
    return f"{answer} Hypervolume: {ranking}."


def _trials(row: dict[str, Any]) -> str:
    others = [f"{row[s]} {s}" for s in ("diverged", "stopped", "failed") if row[s]]
    return f"{row['trials']} ({', '.join(others)})" if others else str(row["trials"])


def _number(value: float | None, spread: float | None = None, digits: int = 3) -> str:
    if value is None:
        return "–"
    return f"{value:.{digits}f}" + (f" ± {spread:.{digits}f}" if spread is not None else "")
