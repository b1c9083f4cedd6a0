"""From runs to rows: what a trial leaves in the results, and how it ended."""

from __future__ import annotations

import math
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from ngm_tune.execution.trial_config import TrialConfig
from ngm_tune.metrics.functional import METRICS, compute_metrics
from ngm_tune.metrics.pareto import Constraint
from ngm_tune.results.checkpoints import checkpoint_of
from ngm_tune.results.columns import INT64
from ngm_tune.results.directory import FAILURES, Results
from ngm_tune.results.schema import (
    CONFIG_PREFIX,
    CURVES_SCHEMA,
    PROBES_SCHEMA,
    SEARCH_PREFIX,
    STATUSES,
    STEPS_SCHEMA,
    TASKS_SCHEMA,
    trials_schema,
)
from ngm_tune.training.loop import ContinualTraining

Row = dict[str, Any]
_WORST: dict[str, float | None] = {name: metric.worst for name, metric in METRICS.items()}


@dataclass(frozen=True)
class Outcome:
    """How a trial ended.

    Attributes:
        status: ``completed``, ``diverged``, ``stopped`` or ``failed``.
        values: Objectives, in the study's order, as means over seeds; None where there are none, as
            for ``stopped`` and ``failed``.
        excess: By how much each constraint of the study is violated, likewise; negative where it
            holds.
        interim: Objectives after each task that was trained, likewise.
        coordinates: Where it lies in the search space, if the results say so.
    """

    status: str
    values: tuple[float, ...] | None
    excess: tuple[float, ...] = ()
    interim: tuple[tuple[float, ...], ...] = ()
    coordinates: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def checked(self) -> Outcome:
        """The same, or a failure where a number is not finite, which Optuna refuses."""
        finite = all(map(math.isfinite, (*(self.values or ()), *self.excess)))
        return self if finite else Outcome("failed", None, coordinates=self.coordinates)


def outcome_of(
    rows: Sequence[Row],
    tasks: Sequence[Row],
    objectives: Sequence[str],
    constraints: Sequence[str],
) -> Outcome:
    """How a trial ended, from its rows in ``trials/`` and in ``tasks/``.

    A seed that diverged counts with the worst value of each metric, in every task from then on.
    """
    status = worst_status(row["status"] for row in rows)
    coordinates = coordinates_of(rows[0])
    if status == "failed":
        return Outcome(status, None, coordinates=coordinates)
    interim = interim_of(tasks, objectives)
    if status == "stopped":
        return Outcome(status, None, interim=interim, coordinates=coordinates)
    limits = [Constraint.parse(text) for text in constraints]
    excess = tuple(limit.excess(_mean(rows, limit.metric.name)) for limit in limits)
    values = tuple(_mean(rows, name) for name in objectives)
    return Outcome(status, values, excess, interim, coordinates)


def coordinates_of(row: Row) -> dict[str, Any]:
    """The search coordinates of a row in ``trials/``; empty where nothing was searched."""
    return {
        name.removeprefix(SEARCH_PREFIX): value
        for name, value in row.items()
        if name.startswith(SEARCH_PREFIX) and value is not None
    }


def read_outcome(
    results: Results, run_id: str, objectives: Sequence[str], constraints: Sequence[str]
) -> Outcome | None:
    """How a run ended, as the results have it; None if it has not."""
    rows = results.run("trials", run_id)
    if rows is None:
        return None
    tasks = results.run("tasks", run_id)
    in_tasks = [] if tasks is None else tasks.to_pylist()
    return outcome_of(rows.to_pylist(), in_tasks, objectives, constraints)


def interim_of(tasks: Sequence[Row], objectives: Sequence[str]) -> tuple[tuple[float, ...], ...]:
    """Objectives after each task, as means over seeds, from a trial's rows in ``tasks/``."""
    by_task: dict[int, list[Row]] = {}
    for row in tasks:
        by_task.setdefault(row["task"], []).append(row)
    return tuple(
        tuple(_mean(by_task[task], name) for name in objectives) for task in sorted(by_task)
    )


def worst_status(statuses: Iterable[str]) -> str:
    """The status of a trial whose seeds ended with these."""
    return max(statuses, key=STATUSES.index)


def _mean(rows: Sequence[Row], name: str) -> float:
    """The mean of a metric over rows; NaN where one has none."""
    return float(np.array([row.get(name) for row in rows], dtype=np.float64).mean())


def trial_row(config: TrialConfig, run: ContinualTraining) -> Row:
    """The row of a finished run in ``trials/``."""
    diverged = run.diverged_at is not None
    return {
        **trial_identity(config, run.seed),
        **(_WORST if diverged else _metrics(run, run.tasks)),
        "status": "diverged" if diverged else "completed",
        **_extent(run),
    }


def stopped_row(config: TrialConfig, run: ContinualTraining) -> Row:
    """The row in ``trials/`` of a run that is stopped after the tasks it has been trained on.

    It has no metrics: those of a part of a run compare with none of a whole one.
    """
    return {**trial_identity(config, run.seed), "status": "stopped", **_extent(run)}


def task_rows(trial_id: str, run: ContinualTraining) -> list[Row]:
    """The rows of a run in ``tasks/``, one for each task of the sequence that has been trained.

    Those from the one on in which it diverged have the worst value of each metric, to the last.
    """
    whole = len(run.records) - (run.diverged_at is not None)
    tasks = run.tasks if run.diverged_at is not None else whole
    identity = {"trial_id": trial_id, "seed": run.seed}
    return [
        {**identity, "task": k, **(_metrics(run, k + 1) if k < whole else _WORST)}
        for k in range(tasks)
    ]


def _metrics(run: ContinualTraining, tasks: int) -> dict[str, float | None]:
    """Metrics over the first tasks; None for what was not evaluated, or is none yet."""
    found = compute_metrics(run.curves(tasks))
    return {name: None if np.isnan(value) else value for name, value in found.items()}


def _extent(run: ContinualTraining) -> Row:
    return {
        "iterations": sum(len(record.steps) for record in run.records),
        "diverged_at": run.diverged_at,
        "wall_seconds": sum(record.seconds for record in run.records),
        "node": socket.gethostname(),
    }


def trial_identity(config: TrialConfig, seed: int) -> Row:
    """The columns of ``trials/`` that say which run a row is, from its trial's config.

    Raises:
        ValueError: A hyper-parameter is of a type that its column does not hold.
    """
    settings = config["hyperparameters"]
    kinds = config["hyperparameter_columns"]
    for name, value in settings.items():
        if name not in kinds or not _holds(kinds[name], value):
            raise ValueError(
                f"{config['method']}: configure makes {name} = {value!r} of {config['coordinates']}"
                + (f", and elsewhere what is of type {kinds[name]}" if name in kinds else "")
            )
    return _identity(config, seed, settings)


def _holds(kind: str, value: Any) -> bool:
    """Whether a column has a value as it is, or as a text."""
    match kind:
        case "int":
            return type(value) is int and -INT64 <= value < INT64
        case "float":
            return type(value) in (int, float)
        case "bool":
            return type(value) is bool
    return kind == "str"


def _identity(config: TrialConfig, seed: int, settings: Mapping[str, Any]) -> Row:
    config_columns = _typed(CONFIG_PREFIX, settings, config["hyperparameter_columns"])
    coordinates = _typed(SEARCH_PREFIX, config["coordinates"], config["coordinate_columns"])
    return {
        "study": config["study"],
        "benchmark": config["benchmark"],
        "method": config["method"],
        "trial_id": config["trial_id"],
        "seed": seed,
        "phase": config["phase"],
        **config_columns,
        **coordinates,
    }


def _typed(prefix: str, values: Mapping[str, Any], kinds: Mapping[str, str]) -> Row:
    """The columns of a trial's settings; those of several types, such as choices, as text."""
    return {prefix + k: str(v) if kinds[k] == "str" else v for k, v in values.items()}


def write_trial(config: TrialConfig, rows: Sequence[Row], tasks: Sequence[Row]) -> None:
    """Write what says how a trial ended: ``tasks/``, and last of all ``trials/``.

    From then on nobody needs its checkpoint.
    """
    results = Results(config["results"])
    schema = trials_schema(config["hyperparameter_columns"], config["coordinate_columns"])
    if tasks:
        results.write("tasks", config["run_id"], pa.Table.from_pylist(list(tasks), TASKS_SCHEMA))
    results.write("trials", config["run_id"], pa.Table.from_pylist(list(rows), schema))
    results.remove(checkpoint_of(config["run_id"]))


def write_failure(config: TrialConfig, report: str) -> None:
    """Write the rows of a trial that failed, and the report of why."""
    Results(config["results"]).write_text(f"{FAILURES}/{config['run_id']}.txt", report)
    kinds = config["hyperparameter_columns"]
    settings = config["hyperparameters"].items()
    kept = {name: value for name, value in settings if _holds(kinds.get(name, ""), value)}
    rows = [{**_identity(config, seed, kept), "status": "failed"} for seed in config["seeds"]]
    write_trial(config, rows, [])


def curves_table(trial_id: str, runs: Iterable[ContinualTraining]) -> pa.Table:
    """Accuracy and loss of every run, a row per iteration and evaluated task."""
    parts = []
    for run in runs:
        for task, record in enumerate(run.records):
            accuracy, loss = record.accuracy.numpy(), record.loss.numpy()
            row, eval_task = np.nonzero(~np.isnan(accuracy))
            parts.append(
                _columns(
                    CURVES_SCHEMA,
                    trial_id,
                    run.seed,
                    iteration=record.evaluated.numpy()[row],
                    task=np.full(len(row), task),
                    eval_task=eval_task,
                    accuracy=accuracy[row, eval_task],
                    loss=loss[row, eval_task],
                )
            )
    return pa.concat_tables(parts)


def steps_table(trial_id: str, runs: Iterable[ContinualTraining]) -> pa.Table:
    """Train loss, entropy and gain of every run, a row per iteration."""
    parts = []
    for run in runs:
        for task, record in enumerate(run.records):
            loss, entropy, gain = record.steps.numpy().T
            first, rows = record.first_iteration, len(loss)
            parts.append(
                _columns(
                    STEPS_SCHEMA,
                    trial_id,
                    run.seed,
                    iteration=np.arange(first, first + rows),
                    task=np.full(rows, task),
                    loss=loss,
                    entropy=entropy,
                    gain=gain if run.has_gain else pa.nulls(rows, pa.float32()),
                )
            )
    return pa.concat_tables(parts)


def probes_table(trial_id: str, runs: Iterable[ContinualTraining]) -> pa.Table:
    """What probes found in every run, a row per iteration and quantity."""
    rows = [
        (trial_id, run.seed, iteration, task, quantity, value)
        for run in runs
        for task, record in enumerate(run.records)
        for iteration, quantity, value in record.probed
    ]
    columns = zip(*rows, strict=True) if rows else [()] * len(PROBES_SCHEMA)
    return pa.Table.from_arrays(
        [pa.array(c, field.type) for c, field in zip(columns, PROBES_SCHEMA, strict=True)],
        schema=PROBES_SCHEMA,
    )


def _columns(schema: pa.Schema, trial_id: str, seed: int, **columns: Any) -> pa.Table:
    rows = len(columns["iteration"])
    identity = {"trial_id": pa.repeat(trial_id, rows), "seed": np.full(rows, seed)}
    values = identity | columns
    arrays = [pa.array(values[field.name]).cast(field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)
