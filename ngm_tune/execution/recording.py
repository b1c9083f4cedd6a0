"""The rows and tables that a trial writes to the results directory."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ngm_tune.execution.trial_config import TrialConfig
from ngm_tune.metrics.registry import METRICS, compute_metrics
from ngm_tune.results.columns import (
    CONFIG_PREFIX,
    SEARCH_PREFIX,
    WHOLE_LIMIT,
    Kind,
    encode,
)
from ngm_tune.results.directory import FAILURES, Results, checkpoint_of
from ngm_tune.results.outcome import Row
from ngm_tune.results.schema import (
    CURVES_SCHEMA,
    PROBES_SCHEMA,
    STEPS_SCHEMA,
    TASKS_SCHEMA,
    trials_schema,
)
from ngm_tune.training.loop import ContinualTraining

_WORST: dict[str, float | None] = {name: metric.worst for name, metric in METRICS.items()}


def trial_row(config: TrialConfig, run: ContinualTraining) -> Row:
    """Return the row of a finished run in ``trials/``."""
    diverged = run.diverged_at is not None
    return {
        **trial_identity(config, run.seed),
        **(_WORST if diverged else _metrics(run, run.tasks)),
        "status": "diverged" if diverged else "completed",
        **_run_statistics(run),
    }


def task_rows(trial_id: str, run: ContinualTraining) -> list[Row]:
    """Return the rows of a run in ``tasks/``, one for each trained task.

    A run that diverged has rows for all tasks of the sequence. From the task in which it diverged,
    they have the worst value of each metric.
    """
    completed = len(run.records) - (run.diverged_at is not None)
    tasks = run.tasks if run.diverged_at is not None else completed
    identity = {"trial_id": trial_id, "seed": run.seed}
    return [
        {**identity, "task": k, **(_metrics(run, k + 1) if k < completed else _WORST)}
        for k in range(tasks)
    ]


def _metrics(run: ContinualTraining, tasks: int) -> dict[str, float | None]:
    """Return the metrics over the first tasks; None where a metric is undefined."""
    metrics = compute_metrics(run.curves(tasks))
    return {name: None if np.isnan(value) else value for name, value in metrics.items()}


def _run_statistics(run: ContinualTraining) -> Row:
    return {
        "iterations": sum(len(record.steps) for record in run.records),
        "diverged_at": run.diverged_at,
        "wall_seconds": sum(record.seconds for record in run.records),
        "node": socket.gethostname(),
    }


def trial_identity(config: TrialConfig, seed: int) -> Row:
    """Return the columns of ``trials/`` that identify a run.

    Raises:
        ValueError: The type of a hyper-parameter does not fit its column.
    """
    settings = config["hyperparameters"]
    kinds = config["hyperparameter_columns"]
    for name, value in settings.items():
        if name not in kinds or not _can_store(kinds[name], value):
            raise ValueError(
                f"{config['method']}: configure returns {name} = {value!r} for "
                f"{config['coordinates']}"
                + ("; its column has the type float" if name in kinds else "")
            )
    return _identity(config, seed, settings)


def _can_store(kind: Kind, value: Any) -> bool:
    """Whether the columns store a value without loss; a text column stores any value."""
    if kind != "float":
        return True
    return type(value) is float or (type(value) is int and abs(value) <= WHOLE_LIMIT)


def _identity(config: TrialConfig, seed: int, settings: Mapping[str, Any]) -> Row:
    config_columns = _prefixed_columns(CONFIG_PREFIX, settings, config["hyperparameter_columns"])
    coordinates = _prefixed_columns(
        SEARCH_PREFIX, config["coordinates"], config["coordinate_columns"]
    )
    return {
        "study": config["study"],
        "benchmark": config["benchmark"],
        "method": config["method"],
        "repetition": config["repetition"],
        "trial_id": config["trial_id"],
        "seed": seed,
        "phase": config["phase"],
        **config_columns,
        **coordinates,
    }


def _prefixed_columns(prefix: str, values: Mapping[str, Any], kinds: Mapping[str, Kind]) -> Row:
    """Return the columns of hyper-parameters or search coordinates."""
    row: Row = {}
    for name, value in values.items():
        row |= encode(prefix + name, value, kinds[name])
    return row


def write_trial(config: TrialConfig, rows: Sequence[Row], tasks: Sequence[Row]) -> None:
    """Write the rows of a trial to ``tasks/`` and then to ``trials/``, and remove its checkpoint.

    The rows in ``trials/`` mark the trial as ended, so they are written after all others.
    """
    results = Results(config["results"])
    schema = trials_schema(config["hyperparameter_columns"], config["coordinate_columns"])
    if tasks:
        results.write("tasks", config["run_id"], pa.Table.from_pylist(list(tasks), TASKS_SCHEMA))
    results.write("trials", config["run_id"], pa.Table.from_pylist(list(rows), schema))
    results.remove(checkpoint_of(config["run_id"]))


def write_failure(config: TrialConfig, report: str) -> None:
    """Write the rows and the report of a failed trial.

    Args:
        config: The config of the trial.
        report: The traceback or another description of the failure, stored in ``failures/``.
    """
    Results(config["results"]).write_text(f"{FAILURES}/{config['run_id']}.txt", report)
    kinds = config["hyperparameter_columns"]
    settings = config["hyperparameters"].items()
    storable = {n: value for n, value in settings if n in kinds and _can_store(kinds[n], value)}
    rows = [{**_identity(config, seed, storable), "status": "failed"} for seed in config["seeds"]]
    write_trial(config, rows, [])


def curves_table(trial_id: str, runs: Iterable[ContinualTraining]) -> pa.Table:
    """Return accuracy and loss of every run, one row per iteration and evaluated task."""
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
                    examples=record.examples.numpy()[row, eval_task],
                )
            )
    return pa.concat_tables(parts)


def steps_table(trial_id: str, runs: Iterable[ContinualTraining]) -> pa.Table:
    """Return training loss, entropy and gain of every run, one row per iteration."""
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
    """Return the measurements of probes in every run, one row per iteration and quantity."""
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
