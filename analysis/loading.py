"""Reading of a results directory into tables of trials."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from ngm_tune.errors import ResultsFileError, UserError
from ngm_tune.metrics.constraints import is_feasible
from ngm_tune.metrics.pareto import on_front
from ngm_tune.metrics.registry import METRICS, Metric
from ngm_tune.metrics.selection import hypervolume_subset, select_to_confirm
from ngm_tune.results.columns import CONFIG_PREFIX, SEARCH_PREFIX
from ngm_tune.results.directory import STUDY, Results
from ngm_tune.results.eligibility import is_eligible
from ngm_tune.results.ids import TrialId
from ngm_tune.results.records import StoredEnvironment, StoredStudy, read_record
from ngm_tune.results.schema import Status

from .loaded_study import LoadedStudy

_SEARCH = ("benchmark", "method", "repetition")
"""Columns that identify a search."""


def load(location: str) -> LoadedStudy:
    """Read a results directory.

    Damaged files are skipped and listed in ``results.left_out``.

    Args:
        location: Path or URI of the results directory.

    Raises:
        UserError: The directory has no results, no run completed, or the directory or its
            ``study.toml`` cannot be read.
    """
    try:
        return _load(Results(location, tolerant=True))
    except OSError as error:
        raise UserError(f"{location}: cannot be read: {error}") from error


def output_beside(location: str, name: str) -> Path:
    """Return the default path of an output: ``name`` in the results directory.

    Raises:
        UserError: ``location`` is a URI, which analysis never writes to.
    """
    if "://" in location:
        raise UserError(f"{location}: results at a URI are read-only; choose a path with --output")
    return Path(location) / name


def _load(results: Results) -> LoadedStudy:
    results.require_study()
    try:
        study = read_record(StoredStudy, results.read_study())
    except ValueError as error:
        raise ResultsFileError(
            f"{results.location}/{STUDY}", f"not a valid study: {error}"
        ) from error
    runs = pl.DataFrame(_read_trials(results, study)).with_columns(
        pl.col(pl.Float64).fill_nan(None)
    )
    if not (runs["status"] == Status.COMPLETED).any():
        raise UserError(_no_completed_run(results, runs))
    environment = read_record(StoredEnvironment, results.read_environment())
    trials = _with_references(_with_eligibility(_fold_seeds(runs), study), study, environment)
    confirmed = trials.filter(phase="confirm")
    loaded = LoadedStudy(
        results,
        study,
        environment,
        runs,
        trials.filter(phase="search"),
        confirmed,
        confirmed.filter(pl.col("reference").is_not_null()),
        trials.filter(phase="transfer"),
    )
    confirmed, transferred = map(_with_origin, (loaded.confirmed, loaded.transferred))
    earlier = confirmed["origin"].to_list() if results.confirms_fronts_only() else None
    search = _with_selection(_with_fronts(loaded.search, loaded.objectives), study, earlier)
    if not loaded.has_fixed_runs:
        # The selection can have changed after a confirmation, because the search was extended.
        selected = search.filter("to_confirm")["trial_id"].to_list()
        confirmed, transferred = (
            trials.filter(pl.col("origin").is_in(selected)) for trials in (confirmed, transferred)
        )
    return loaded._replace(
        search=search,
        confirmed=_with_fronts(confirmed, loaded.objectives),
        transferred=transferred,
    )


def _with_origin(trials: pl.DataFrame) -> pl.DataFrame:
    """Add the id and the benchmark of the search trial with the same configuration."""
    searched = [TrialId.parse(trial).searched for trial in trials["trial_id"]]
    return trials.with_columns(
        pl.Series("origin", map(str, searched), dtype=pl.String),
        pl.Series("origin_benchmark", [trial.benchmark for trial in searched], dtype=pl.String),
    )


def _no_completed_run(results: Results, runs: pl.DataFrame) -> str:
    counts = runs["status"].value_counts().sort("status").rows()
    statuses = ", ".join(f"{count} {status}" for status, count in counts) or "none"
    if results.left_out:
        statuses += f"; damaged files: {', '.join(results.left_out)}"
    return f"{results.location}: no run completed, so nothing to analyze; runs: {statuses}"


def _read_trials(results: Results, study: StoredStudy) -> pa.Table:
    """Return the table ``trials/`` without runs that are damaged or not part of the study."""
    tables = dict(results.iter_runs("trials", study.expected_runs.find_problem))
    for run, problem in _type_conflicts(tables).items():
        results.left_out[f"trials/{run}.parquet"] = problem
        del tables[run]
    files = {f"{run}.parquet": rows for run, rows in tables.items()}
    for table, name in results.find_missing_files(files, has_probes=bool(study.probes)):
        results.left_out[f"{table}/{name}"] = "missing, although its trial is complete"
    return results.concatenate("trials", list(tables.values()))


def _type_conflicts(tables: dict[str, pa.Table]) -> dict[str, str]:
    """Return a message for each run with a column whose type differs from the most common one."""
    columns = [(field.name, field.type, run) for run in tables for field in tables[run].schema]
    counts = Counter((name, kind) for name, kind, _ in columns)
    common = {name: kind for (name, kind), _ in reversed(counts.most_common())}
    return {
        run: f"column {name} has type {kind}, in other files {common[name]}"
        for name, kind, run in columns
        if kind != common[name]
    }


def _fold_seeds(runs: pl.DataFrame) -> pl.DataFrame:
    """Aggregate the runs of every trial, one row per trial."""
    key = ["study", *_SEARCH, "trial_id", "phase"]
    config = [n for n in runs.columns if n.startswith((CONFIG_PREFIX, SEARCH_PREFIX))]
    metrics = [name for name in METRICS if name in runs.columns]
    severity = pl.col("status").replace_strict({name: i for i, name in enumerate(Status)})
    return (
        runs.group_by(key, maintain_order=True)
        .agg(
            pl.col("status").get(severity.arg_max()),
            pl.len().alias("seeds"),
            *(pl.col(name).first() for name in config),
            *(pl.col(name).mean() for name in metrics),
            *(pl.col(name).std().alias(f"{name}_sd") for name in metrics),
            *(pl.col(name).sum() for name in ("iterations", "wall_seconds")),
        )
        .sort(*_SEARCH, pl.col("trial_id").str.len_chars(), "trial_id")
    )


def _with_eligibility(trials: pl.DataFrame, study: StoredStudy) -> pl.DataFrame:
    """Add the columns ``feasible`` and ``eligible``."""
    fresh, searched = study.confirm.seeds, len(study.run_seeds)
    required_seeds = [
        fresh if TrialId.parse(trial_id).is_selected else searched
        for trial_id in trials["trial_id"]
    ]
    limits = study.parsed_constraints
    violations = [
        [limit.violation(value) for limit, value in zip(limits, row, strict=True)]
        for row in _values(trials, [limit.metric.name for limit in limits])
    ]
    rows = zip(
        trials["status"],
        _values(trials, study.objectives),
        violations,
        trials["seeds"],
        required_seeds,
        strict=True,
    )
    feasible = [all(map(is_feasible, violation)) for violation in violations]
    eligible = [
        is_eligible(status, values, violation, has_every_seed=seeds == required)
        for status, values, violation, seeds, required in rows
    ]
    return trials.with_columns(
        pl.Series("feasible", feasible, dtype=pl.Boolean),
        pl.Series("eligible", eligible, dtype=pl.Boolean),
    )


def _with_references(
    trials: pl.DataFrame, study: StoredStudy, environment: StoredEnvironment
) -> pl.DataFrame:
    """Add column ``reference``: names of the references that a trial evaluates, or null."""
    names: dict[str, list[str]] = {}
    for benchmark, methods in environment.references.items():
        for method, numbers in methods.items():
            for (name, number), repetition in product(numbers.items(), range(study.searches)):
                trial = TrialId(benchmark, method, number, repetition=repetition)
                for each in (trial, trial.confirmation()):
                    names.setdefault(str(each), []).append(name)
    joined = {trial_id: ", ".join(of_trial) for trial_id, of_trial in names.items()}
    return trials.with_columns(
        reference=pl.col("trial_id").replace_strict(joined, default=None, return_dtype=pl.String)
    )


def _values(trials: pl.DataFrame, names: Sequence[str]) -> list[tuple[float, ...]]:
    """Return the values of metrics, one tuple per trial; NaN where a value is missing."""
    columns = [trials[name].cast(pl.Float64).fill_null(np.nan).to_list() for name in names]
    return list(zip(*columns, strict=True)) if columns else [()] * trials.height


def _with_selection(
    search: pl.DataFrame, study: StoredStudy, earlier_confirmations: Sequence[str] | None
) -> pl.DataFrame:
    """Add column ``to_confirm``: whether the study confirms the configuration.

    Args:
        search: The trials of the searches.
        study: The study.
        earlier_confirmations: Ids of the confirmed trials of a study that selected them as earlier
            versions did. They are kept, up to the number of configurations to confirm.
    """
    objectives, limit = study.objective_metrics, study.confirm.max_configurations
    kind = "eligible" if earlier_confirmations is None else "front"
    selected: list[str] = []
    for _, trials in search.filter(kind).group_by(_SEARCH, maintain_order=True):
        values = trials.select(study.objectives).to_numpy()
        if earlier_confirmations is None:
            order = select_to_confirm(values, objectives, study.reference_point, limit)
            selected += trials["trial_id"].gather(order).to_list()
        else:
            order = hypervolume_subset(values, objectives, study.reference_point, trials.height)
            ids = trials["trial_id"].gather(order).to_list()
            selected += sorted(ids, key=lambda each: each not in earlier_confirmations)[:limit]
    return search.with_columns(to_confirm=pl.col("trial_id").is_in(selected))


def _with_fronts(trials: pl.DataFrame, objectives: list[Metric]) -> pl.DataFrame:
    """Add column ``front``: membership of the Pareto front of the trial's search."""
    trials = trials.with_row_index("row")
    names = [metric.name for metric in objectives]
    front: set[int] = set()
    for _, group in trials.filter("eligible").group_by(_SEARCH):
        front.update(group["row"].to_numpy()[on_front(group.select(names).to_numpy(), objectives)])
    return trials.with_columns(front=pl.col("row").is_in(sorted(front))).drop("row")
