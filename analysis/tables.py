"""The table of the methods: what each found, and its chosen configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from ngm_tune.metrics import METRICS, Metric
from ngm_tune.pareto import hypervolume

from .choice import Choice, settings_of
from .effort import WITHIN as DISTANCE
from .effort import robustness_info
from .loading import PARTIAL, LoadedStudy, runs_per_search
from .optimism import optimism

WITHIN = 0.01
"""How far below the best first objective a trial may lie to be compared in the second."""

_OTHERS = ("diverged", PARTIAL, "stopped", "failed")
_SHOWN_METRICS = ("avg_acc", "avg_sg", "min_acc", "recovery")


def methods_table(loaded: LoadedStudy, choices: list[Choice]) -> pl.DataFrame:
    """A row per benchmark and method.

    Columns: numbers of trials by status, and of those that were confirmed; of the trials that
    claims rest on (:meth:`~analysis.loading.LoadedStudy.of`) hypervolume, points on the front, the
    best value of each objective, and the second objective's best within one point of the best first
    objective of any method; the hypervolume that the search estimated and its optimism; the share
    of the search space within :data:`~analysis.effort.WITHIN` of the front; and of the chosen
    configuration its id, hyper-parameters, and metrics with their standard deviation over seeds.
    """
    by_arm = {(choice.benchmark, choice.method): choice for choice in choices}
    rows = []
    for benchmark in loaded.benchmarks:
        robustness = robustness_info(loaded, benchmark)
        for method in loaded.methods:
            row = _row(loaded, benchmark, method, by_arm.get((benchmark, method)))
            row["space_within"] = robustness.within(row["title"]) if robustness else None
            rows.append(row)
    return pl.DataFrame(rows, infer_schema_length=None)


def _row(loaded: LoadedStudy, benchmark: str, method: str, choice: Choice | None) -> dict[str, Any]:
    arm = loaded.of(benchmark, method)
    tried = arm if loaded.given else loaded.searched(benchmark, method)
    completed = arm.filter(pl.col("status") == "completed", "feasible")
    objectives, reference = loaded.objectives, loaded.study["reference_point"]
    row: dict[str, Any] = {
        "benchmark": benchmark,
        "method": method,
        "title": loaded.title("methods", method),
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
    for metric in objectives:
        column = completed[metric.name]
        row[f"best_{metric.name}"] = (
            column.max() if metric.direction == "maximize" else column.min()
        )
    for found in optimism(loaded, benchmark, method):
        row[f"optimism_{found.name}"] = found.optimism
    row |= _compared(loaded, benchmark, completed)
    row["chosen"] = choice.trial_id if choice else None
    row["settings"] = choice.settings if choice else None
    scores = (
        arm.row(by_predicate=pl.col("trial_id") == choice.trial_id, named=True) if choice else {}
    )
    for name in METRICS:
        row |= {column: scores.get(column) for column in (name, f"{name}_sd")}
    return row


def _compared(loaded: LoadedStudy, benchmark: str, completed: pl.DataFrame) -> dict[str, Any]:
    """The second objective where the first is as good as the best of any method, give or take."""
    if len(loaded.objectives) < 2:
        return {}
    first, second = loaded.objectives[:2]
    everyone = loaded.of(benchmark).filter(pl.col("status") == "completed", "feasible")
    losses = everyone[first.name] * first.sign
    limit = float(losses.min() or 0.0) + WITHIN  # type: ignore[arg-type]
    near = completed.filter(pl.col(first.name) * first.sign <= limit)[second.name]
    best = near.min() if second.direction == "minimize" else near.max()
    return {f"{second.name}_near_best_{first.name}": best}


def _volume(
    trials: pl.DataFrame, objectives: list[Metric], reference_point: Mapping[str, float]
) -> float:
    values = trials.drop_nulls([m.name for m in objectives]).select(m.name for m in objectives)
    return hypervolume(values.to_numpy(), objectives, reference_point)


def search_facts(loaded: LoadedStudy) -> dict[str, str]:
    """Effort and evaluation, as a reader must know them to judge the study."""
    study = loaded.study
    if loaded.given:
        return {
            "Effort": f"settings as given, {loaded.seeds} seeds for every method and benchmark",
            "Evaluated on": "test data",
        }
    effort = (
        f"{study['trials']} trials of {loaded.seeds} seeds for every method and benchmark, "
        f"searched by Optuna ({study['sampler']}, seed {study['seed']})"
    )
    if loaded.racing:
        runs = runs_per_search(study)
        effort += f"; seeds are raced for, within {runs} seed-runs for every method"
    facts = {"Effort": effort, "Evaluated on": _evaluated_on(loaded)}
    starts = _starts(loaded)
    if starts:
        facts["Started from"] = starts
    missing = _missing(loaded)
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
    return facts


def _starts(loaded: LoadedStudy) -> str:
    """From how many points that were given each search started; empty if from none."""
    said = []
    for benchmark in loaded.benchmarks:
        place = loaded.title("benchmarks", benchmark)
        starts = loaded.starting_points(benchmark)
        counts = set(starts.values())
        each = ", ".join(f"{method} {count}" for method, count in starts.items())
        if len(counts) > 1:
            said.append(
                f"points given on {place}: {each}; the effort is not equal where they come from "
                "earlier tuning"
            )
        elif any(counts):
            said.append(f"{counts.pop()} given points of every method on {place}")
    return "; ".join(said)


def _missing(loaded: LoadedStudy) -> list[str]:
    """Searches that have not ended, and how far they are."""
    racing = loaded.racing
    missing = []
    for benchmark in loaded.benchmarks:
        whole = loaded.plateaus.get(benchmark, runs_per_search(loaded.study))
        for method in loaded.study["methods"]:
            trials = loaded.searched(benchmark, method)
            there = int(trials["seeds"].sum()) if racing else trials.height
            if there != whole:
                what = "seed-runs" if racing else "trials"
                missing.append(
                    f"{loaded.title('methods', method)} on {loaded.title('benchmarks', benchmark)} "
                    f"has {there} of {whole} {what}"
                )
    return missing


def _evaluated_on(loaded: LoadedStudy) -> str:
    confirmed = [name for name in loaded.benchmarks if loaded.is_confirmed(name)]
    count = sum(loaded.confirmed_of(name).height for name in confirmed)
    said = "validation data only"
    if confirmed:
        said = (
            f"search: validation data; claims: test data, {count} configurations of the fronts run "
            f"again with {loaded.fresh_seeds} fresh seeds"
        )
    missing = [
        f"{loaded.title('benchmarks', name)} ({loaded.confirmed_of(name).height} of "
        f"{loaded.due(name)} configurations run again)"
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
            "Method": loaded.title("methods", row["method"]),
            "Stopped after": f"task {row['tasks']}" if row["tasks"] is not None else "–",
            "Configuration": settings_of(row),
        }
        for row in trials.to_dicts()
    ]


def display_rows(loaded: LoadedStudy, table: pl.DataFrame) -> list[dict[str, str]]:
    """The table as people read it."""
    with_space = table["space_within"].is_not_null().any()
    return [_display(loaded, row, with_space) for row in table.to_dicts()]


def _display(loaded: LoadedStudy, row: dict[str, Any], with_space: bool) -> dict[str, str]:
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
        near = row[f"{second.name}_near_best_{first.name}"]
        shown["Hypervolume"] = _number(row["hypervolume"])
        shown[f"{second.title} near the best {first.title.lower()}"] = _number(near)
    if with_space:
        share = row["space_within"]
        shown[f"Space within {DISTANCE:g} of the front"] = "–" if share is None else f"{share:.0%}"
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
    best_first = pl.col(f"best_{first.name}")
    rows = table.filter((pl.col("benchmark") == benchmark) & best_first.is_not_null())
    if not rows.height:
        return f"{loaded.title('benchmarks', benchmark)}: no trial could be on a front."
    best = rows.sort(best_first * first.sign).row(0, named=True)
    near = rows.filter(pl.col(key).is_not_null()).sort(pl.col(key) * second.sign).to_dicts()
    focus = loaded.title("methods", loaded.study["methods"][0])
    mine = next((row[key] for row in near if row["title"] == focus), None)
    rival = next((row for row in near if row["title"] != focus), None)
    place = loaded.title("benchmarks", benchmark)
    if not loaded.is_confirmed(benchmark):
        place += " (validation data, not confirmed)"
    answer = (
        f"{place}: the best {first.title.lower()} found is "
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
    return _with(row["trials"], [f"{row[s]} {s}" for s in (*_OTHERS, "infeasible") if row[s]])


def _with(count: int, others: list[str]) -> str:
    return f"{count} ({', '.join(others)})" if others else str(count)


def _number(value: float | None, spread: float | None = None, digits: int = 3) -> str:
    if value is None:
        return "–"
    return f"{value:.{digits}f}" + (f" ± {spread:.{digits}f}" if spread is not None else "")
