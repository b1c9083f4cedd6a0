"""The table of the methods: what each found, and its chosen configuration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import polars as pl

from ngm_tune.metrics.functional import METRICS, Metric
from ngm_tune.metrics.pareto import hypervolume

from ..formatting import counted, number
from ..loading import ELIGIBLE, PARTIAL, LoadedStudy
from ..statistics.answer import Standing, standings
from ..statistics.choice import Choice, settings_of
from ..statistics.effort import NEAR_FRONT, robustness_info
from ..statistics.optimism import optimism

_OTHERS = ("diverged", PARTIAL, "stopped", "failed")
_SHOWN_METRICS = ("avg_acc", "avg_sg", "min_acc", "recovery")


def methods_table(loaded: LoadedStudy, choices: list[Choice]) -> pl.DataFrame:
    """A row per benchmark and method.

    Columns: numbers of trials by status, and of those that were confirmed; of the trials that
    claims rest on (:meth:`~analysis.loading.LoadedStudy.of`) hypervolume and points on the front;
    the second objective of the configuration that :mod:`analysis.answer` compares, which is near
    the best first objective of any method, with its standard deviation; the hypervolume that the
    search estimated and its optimism; the share of the search space within
    :data:`~analysis.effort.NEAR_FRONT` of the front; and of the chosen configuration its id,
    hyper-parameters, and metrics with their standard deviation over seeds.
    """
    by_arm = {(choice.benchmark, choice.method): choice for choice in choices}
    rows = []
    for benchmark in loaded.benchmarks:
        robustness = robustness_info(loaded, benchmark)
        compared = standings(loaded, benchmark)
        for method in loaded.methods:
            choice = by_arm.get((benchmark, method))
            row = _row(loaded, benchmark, method, choice, compared.get(method))
            row["space_within"] = robustness.within(row["title"]) if robustness else None
            rows.append(row)
    return pl.DataFrame(rows, infer_schema_length=None)


def near_best(loaded: LoadedStudy) -> str:
    """The column of the second objective near the best first one."""
    first, second = loaded.objectives[:2]
    return f"{second.name}_near_best_{first.name}"


def _row(
    loaded: LoadedStudy,
    benchmark: str,
    method: str,
    choice: Choice | None,
    standing: Standing | None,
) -> dict[str, Any]:
    arm = loaded.of(benchmark, method)
    tried = loaded.tried(benchmark, method)
    completed = arm.filter(ELIGIBLE)
    objectives, reference = loaded.objectives, loaded.study.reference_point
    row: dict[str, Any] = {
        "benchmark": benchmark,
        "method": method,
        "title": loaded.method_title(method),
        "confirmed": loaded.is_confirmed(benchmark),
        "trials": tried.height,
    }
    for status in ("completed", *_OTHERS):
        row[status] = tried.filter(pl.col("status") == status).height
    row["infeasible"] = tried.filter(pl.col("status") == "completed", ~pl.col("feasible")).height
    again = tried.clear() if loaded.given else loaded.confirmed_of(benchmark, method)
    row["confirmed_trials"] = again.height
    for status in ("diverged", "failed"):
        row[f"confirmed_{status}"] = again.filter(pl.col("status") == status).height
    row["hypervolume"] = _volume(completed, objectives, reference)
    row["search_hypervolume"] = (
        None if loaded.given else _volume(tried.filter("front"), objectives, reference)
    )
    row["front_points"] = int(arm["front"].sum())
    for found in optimism(loaded, benchmark, method):
        row[f"optimism_{found.name}"] = found.optimism
    if len(objectives) > 1:
        key = near_best(loaded)
        row[key] = float(standing.reached[1]) if standing else None
        sd = float(standing.sd[1]) if standing else math.nan
        row[f"{key}_sd"] = None if math.isnan(sd) else sd
    row["chosen"] = choice.trial_id if choice else None
    row["settings"] = choice.settings if choice else None
    scores = (
        arm.row(by_predicate=pl.col("trial_id") == choice.trial_id, named=True) if choice else {}
    )
    for name in METRICS:
        row |= {column: scores.get(column) for column in (name, f"{name}_sd")}
    return row


def _volume(
    trials: pl.DataFrame, objectives: list[Metric], reference_point: Mapping[str, float]
) -> float:
    values = trials.drop_nulls([m.name for m in objectives]).select(m.name for m in objectives)
    return hypervolume(values.to_numpy(), objectives, reference_point)


def search_facts(loaded: LoadedStudy) -> dict[str, str]:
    """Effort and evaluation, as a reader must know them to judge the study."""
    study = loaded.study
    seeds = counted(loaded.seeds, "seed")
    missing = _missing(loaded)
    if loaded.given:
        facts = {
            "Effort": f"settings as given, {seeds} for every method and benchmark",
            "Evaluated on": "test data",
        }
        return facts | ({"Not complete": ", ".join(missing)} if missing else {})
    effort = (
        f"{counted(study.trials, 'trial')} of {seeds} for every method and benchmark, searched by "
        f"Optuna ({study.sampler}, seed {study.seed})"
    )
    if loaded.racing:
        effort += (
            f"; seeds are raced for, within {study.runs_per_search} seed-runs for every method"
        )
    kind = "seed-runs" if loaded.racing else "trials"
    for name, runs in loaded.plateaus.items():
        place = loaded.benchmark_title(name)
        effort += f"; on {place} the search ended after {runs} {kind} of every method"
    for benchmark in loaded.benchmarks:
        place = loaded.benchmark_title(benchmark)
        for method in loaded.exhausted(benchmark):
            there = counted(loaded.searched(benchmark, method).height, "configuration")
            effort += f"; {loaded.method_title(method)} on {place} has no more than {there}"
    facts = {"Effort": effort, "Evaluated on": _evaluated_on(loaded)}
    starts = _starts(loaded)
    if starts:
        facts["Started from"] = starts
    if missing:
        facts["Not complete"] = f"{', '.join(missing)}; the effort is not equal before they are"
    stopped = _stopped(loaded)
    if stopped.height:
        trials = stopped["trial_id"].n_unique()
        saved = float((stopped["full"] - stopped["iterations"]).sum())
        share = saved / (float(loaded.search["iterations"].sum()) + saved)
        facts["Stopped early"] = (
            f"{trials} of {loaded.search.height} trials, which saved {share:.0%} of the search's "
            "iterations"
        )
        diverged = stopped.filter(pl.col("diverged_at").is_not_null())["trial_id"].n_unique()
        if diverged:
            facts["Stopped early"] += f"; of {diverged} of them a seed had diverged"
    return facts


def _starts(loaded: LoadedStudy) -> str:
    """From how many points that were given each search started; empty if from none."""
    said = []
    for benchmark in loaded.benchmarks:
        place = loaded.benchmark_title(benchmark)
        starts = loaded.starting_points(benchmark)
        counts = set(starts.values())
        each = ", ".join(f"{method} {count}" for method, count in starts.items())
        if len(counts) > 1:
            said.append(
                f"points given on {place}: {each}; the effort is not equal where they come from "
                "earlier tuning"
            )
        elif any(counts):
            said.append(f"{counted(counts.pop(), 'given point')} of every method on {place}")
    return "; ".join(said)


def _missing(loaded: LoadedStudy) -> list[str]:
    """What has not ended of every search, or of the settings that were given."""
    racing = loaded.racing
    missing = []
    for benchmark in loaded.study.benchmarks:
        for method in loaded.study.methods:
            whole = loaded.runs_due(benchmark, method)
            trials = loaded.tried(benchmark, method)
            there = int(trials["seeds"].sum()) if racing else trials.height
            if there != whole:
                what = "seed-runs" if racing else "trials"
                missing.append(
                    f"{loaded.method_title(method)} on {loaded.benchmark_title(benchmark)} "
                    f"has {there} of {whole} {what}"
                )
    return missing


def _evaluated_on(loaded: LoadedStudy) -> str:
    confirmed = [name for name in loaded.benchmarks if loaded.is_confirmed(name)]
    count = sum(loaded.confirmed_of(name).height for name in confirmed)
    said = "validation data only"
    if confirmed:
        said = (
            f"search: validation data; claims: test data, {counted(count, 'configuration')} of the "
            f"fronts run again with {counted(loaded.fresh_seeds, 'fresh seed')}"
        )
    missing = [
        loaded.benchmark_title(name)
        + (
            f" ({loaded.confirmed_of(name).height} of {loaded.due(name)} configurations run again)"
            if loaded.due(name)
            else ""
        )
        for name in loaded.benchmarks
        if name not in confirmed
    ]
    return f"{said}; not confirmed: {', '.join(missing)}" if missing else said


def _stopped(loaded: LoadedStudy) -> pl.DataFrame:
    """Runs of the search that were stopped early, a row per seed.

    With ``iterations`` and ``full``, what a run of the benchmark takes that is not stopped.
    """
    rows = loaded.runs
    tasks = pl.DataFrame(loaded.results.read("tasks"))
    trained = tasks.group_by("trial_id", "seed").agg((pl.col("task").max() + 1).alias("tasks"))
    full = rows.group_by("benchmark").agg(pl.col("iterations").max().alias("full"))
    return (
        rows.filter(status="stopped")
        .join(full, on="benchmark")
        .join(trained, on=["trial_id", "seed"], how="left", maintain_order="left")
    )


def stopped_rows(loaded: LoadedStudy, benchmark: str) -> list[dict[str, str]]:
    """The trials of a benchmark that were stopped early, as people read them."""
    trials = _stopped(loaded).filter(benchmark=benchmark).unique("trial_id", maintain_order=True)
    return [
        {
            "Trial": row["trial_id"],
            "Method": loaded.method_title(row["method"]),
            "Stopped after": f"task {row['tasks']}" if row["tasks"] is not None else "–",
            "Configuration": settings_of(loaded, row),
        }
        for row in trials.to_dicts()
    ]


def display_rows(loaded: LoadedStudy, table: pl.DataFrame) -> list[dict[str, str]]:
    """The table as people read it."""
    with_space = bool(table["space_within"].is_not_null().any())
    names = [*(m.name for m in loaded.objectives), *_SHOWN_METRICS]
    shown = [name for name in dict.fromkeys(names) if table[name].is_not_null().any()]
    return [_display(loaded, row, shown, with_space=with_space) for row in table.to_dicts()]


def _display(
    loaded: LoadedStudy, row: dict[str, Any], metrics: list[str], *, with_space: bool
) -> dict[str, str]:
    shown = {
        "Method": row["title"],
        "Chosen configuration": row["settings"] or "–",
        "Trials": _trials(row),
    }
    if row["confirmed"] and not loaded.given:
        others = [f"{row[f'confirmed_{s}']} {s}" for s in ("diverged", "failed")]
        shown["Confirmed"] = _with(row["confirmed_trials"], [o for o in others if o[0] != "0"])
    if len(loaded.objectives) > 1:
        first, second = loaded.objectives[:2]
        key = near_best(loaded)
        near = _number(row[key], row[f"{key}_sd"])
        shown["Hypervolume"] = _number(row["hypervolume"])
        shown[f"{second.title} near the best {first.title.lower()}"] = near
    if with_space:
        share = row["space_within"]
        shown[f"Space within {NEAR_FRONT:g} of the front"] = (
            "–" if share is None else f"{share:.0%}"
        )
    for name in metrics:
        timed = METRICS[name].unit == "iterations"
        title = METRICS[name].title + (", iterations" if timed else "")
        shown[title] = _number(row[name], row[f"{name}_sd"], 1 if timed else 3)
    return shown


def _trials(row: dict[str, Any]) -> str:
    return _with(row["trials"], [f"{row[s]} {s}" for s in (*_OTHERS, "infeasible") if row[s]])


def _with(count: int, others: list[str]) -> str:
    return f"{count} ({', '.join(others)})" if others else str(count)


def _number(value: float | None, spread: float | None = None, digits: int = 3) -> str:
    if value is None:
        return "–"
    return number(value, digits) + ("" if spread is None else f" ± {spread:.{digits}f}")
