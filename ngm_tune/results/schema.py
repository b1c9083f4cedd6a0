"""What is in the Parquet files of a results directory: their columns, types and version.

Iterations count from 1 over the whole run, tasks from 0; accuracy is a fraction, entropy and loss
are in nats, times in seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Literal

import pyarrow as pa

from ngm_tune.metrics.registry import METRICS
from ngm_tune.results.columns import CONFIG_PREFIX, SEARCH_PREFIX
from ngm_tune.results.ids import CONFIRM_SUFFIX, number_of, trial_of

SCHEMA_VERSION = 2
READABLE = (1, 2)
"""Versions that are read: 1 had neither ``tasks/`` nor ``search_`` columns."""
VERSION_KEY = b"ngm_tune.schema_version"

Table = Literal["trials", "tasks", "curves", "steps", "probes", "costs"]
PHASES = ("search", "confirm")


class Status(StrEnum):
    """How a run ended; in increasing severity, so that a trial has the worst of its runs."""

    COMPLETED = "completed"
    """Trained on every task."""
    DIVERGED = "diverged"
    """The loss stopped being finite; every metric has its worst value."""
    STOPPED = "stopped"
    """Pruned before its last task."""
    FAILED = "failed"
    """The method raised, or its worker was lost too often."""

    @classmethod
    def worst(cls, statuses: Iterable[str]) -> Status:
        """Return the most severe of some statuses."""
        order = list(cls)
        return max(map(cls, statuses), key=order.index)


STATUSES = tuple(Status)

_ARROW_TYPES = {
    "float": pa.float64(),
    "int": pa.int64(),
    "bool": pa.bool_(),
    "str": pa.string(),
}


def trials_schema(
    hyperparameters: Mapping[str, str], coordinates: Mapping[str, str] | None = None
) -> pa.Schema:
    """Columns of ``trials/`` for a study whose methods have these hyper-parameters.

    Args:
        hyperparameters: By name ``float``, ``int``, ``bool`` or ``str``.
        coordinates: Those that are searched, likewise.
    """
    fixed = [
        ("study", pa.string()),
        ("benchmark", pa.string()),
        ("method", pa.string()),
        ("trial_id", pa.string()),
        ("seed", pa.int64()),
        ("phase", pa.string()),
        ("status", pa.string()),
    ]
    config = [(CONFIG_PREFIX + name, _ARROW_TYPES[kind]) for name, kind in hyperparameters.items()]
    config += [
        (SEARCH_PREFIX + name, _ARROW_TYPES[kind]) for name, kind in (coordinates or {}).items()
    ]
    metrics = [(name, pa.float64()) for name in METRICS]
    outcome = [
        ("iterations", pa.int64()),
        ("diverged_at", pa.int64()),
        ("wall_seconds", pa.float64()),
        ("node", pa.string()),
    ]
    return _versioned(pa.schema(fixed + config + metrics + outcome))


def _versioned(schema: pa.Schema) -> pa.Schema:
    return schema.with_metadata({VERSION_KEY: str(SCHEMA_VERSION).encode()})


TASKS_SCHEMA = _versioned(
    pa.schema(
        [
            ("trial_id", pa.string()),
            ("seed", pa.int64()),
            ("task", pa.int16()),
            *((name, pa.float64()) for name in METRICS),
        ]
    )
)
"""Metrics of the run as if ``task`` had been the last one; null where there is none yet."""

CURVES_SCHEMA = _versioned(
    pa.schema(
        [
            ("trial_id", pa.string()),
            ("seed", pa.int64()),
            ("iteration", pa.int64()),
            ("task", pa.int16()),
            ("eval_task", pa.int16()),
            ("accuracy", pa.float32()),
            ("loss", pa.float32()),
        ]
    )
)
"""``task`` is the one being trained, ``eval_task`` the one evaluated."""

STEPS_SCHEMA = _versioned(
    pa.schema(
        [
            ("trial_id", pa.string()),
            ("seed", pa.int64()),
            ("iteration", pa.int64()),
            ("task", pa.int16()),
            ("loss", pa.float32()),
            ("entropy", pa.float32()),
            ("gain", pa.float32()),
        ]
    )
)
"""``gain`` is null for methods that have none."""

PROBES_SCHEMA = _versioned(
    pa.schema(
        [
            ("trial_id", pa.string()),
            ("seed", pa.int64()),
            ("iteration", pa.int64()),
            ("task", pa.int16()),
            ("quantity", pa.string()),
            ("value", pa.float64()),
        ]
    )
)
"""``quantity`` is one of those that :mod:`ngm_tune.training.probes` names."""

COSTS_SCHEMA = _versioned(
    pa.schema(
        [
            ("method", pa.string()),
            ("family", pa.string()),
            ("depth", pa.int64()),
            ("width", pa.int64()),
            ("parameters", pa.int64()),
            ("time_ratio", pa.float64()),
            ("time_low", pa.float64()),
            ("time_high", pa.float64()),
            ("seconds", pa.float64()),
            ("memory_ratio", pa.float64()),
            ("bytes", pa.int64()),
        ]
    )
)
"""A training step against one of SGD; see :class:`ngm_tune.training.step_cost.Cost`."""

SCHEMAS: dict[Table, pa.Schema] = {
    "trials": trials_schema({}),
    "tasks": TASKS_SCHEMA,
    "curves": CURVES_SCHEMA,
    "steps": STEPS_SCHEMA,
    "probes": PROBES_SCHEMA,
    "costs": COSTS_SCHEMA,
}
"""By table; that of trials without the hyper-parameters of a study."""

KEYS: dict[Table, tuple[str, ...]] = {
    "trials": ("trial_id", "seed"),
    "tasks": ("trial_id", "seed", "task"),
    "curves": ("trial_id", "seed", "iteration", "eval_task"),
    "steps": ("trial_id", "seed", "iteration"),
    "probes": ("trial_id", "seed", "iteration", "quantity"),
    "costs": ("method", "family", "depth", "width"),
}
"""The primary key of each table."""


_MAY_BE_EMPTY = ("curves", "probes")
"""Tables of what is looked at now and then: a run can have diverged before the first time."""


def version_of(schema: pa.Schema) -> int:
    """Of a file that can be read."""
    found = int((schema.metadata or {})[VERSION_KEY])
    assert found in READABLE
    return found


def is_newer(schema: pa.Schema) -> bool:
    """Whether a file is of a later version of ngm-tune than this."""
    version: bytes = (schema.metadata or {}).get(VERSION_KEY, b"")
    return version.isdigit() and int(version) > SCHEMA_VERSION


def problem_of(table: Table, schema: pa.Schema) -> str | None:
    """Why a file is none of ``table`` that this version can read; None if it is one."""
    metadata: Mapping[bytes, bytes] = schema.metadata or {}
    version = metadata.get(VERSION_KEY, b"none").decode(errors="replace")
    if version not in map(str, READABLE):
        return f"schema version {version}, this ngm-tune reads {' and '.join(map(str, READABLE))}"
    for column in SCHEMAS[table]:
        if column.name not in schema.names:
            if column.name not in METRICS:  # of which there are more with every version
                return f"no column {column.name}"
        elif schema.field(column.name).type != column.type:
            found = schema.field(column.name).type
            return f"column {column.name} is of type {found} instead of {column.type}"
    return None


def problem_of_rows(table: Table, run: str, rows: pa.Table) -> str | None:
    """What the rows of a run's file cannot be, whatever the study; None if they can.

    Args:
        table: The table that the file is of.
        run: The run that it is named after.
        rows: Of a schema that :func:`problem_of` has nothing to say of.
    """
    return next(_problems_of_rows(table, run, rows), None)


def _problems_of_rows(table: Table, run: str, rows: pa.Table) -> Iterator[str]:
    if table == "costs":
        return
    if not rows.num_rows and table not in _MAY_BE_EMPTY:
        yield "no rows"
    for name in KEYS[table]:
        if rows[name].null_count:
            yield f"rows without {name}"
    for trial_id in rows["trial_id"].unique().to_pylist():
        if trial_id != trial_of(run):
            yield f"rows of trial {trial_id}, not of {trial_of(run)}"
    if rows.group_by(list(KEYS[table])).aggregate([]).num_rows < rows.num_rows:
        yield f"several rows of the same {', '.join(KEYS[table])}"
    if table == "trials":
        yield from _problems_of_trials(run, rows)


def _problems_of_trials(run: str, rows: pa.Table) -> Iterator[str]:
    for name, known in (("status", list(Status)), ("phase", PHASES)):
        for value in rows[name].unique().to_pylist():
            if value not in known:
                yield f"{name} {value!r}; there are {', '.join(known)}"
    trial = trial_of(run)
    for benchmark, method in zip(
        rows["benchmark"].to_pylist(), rows["method"].to_pylist(), strict=True
    ):
        if number_of(trial, benchmark, method) is None:
            yield f"rows of {benchmark} and {method}, not of {trial}"
    if trial.endswith(CONFIRM_SUFFIX) and "search" in rows["phase"].to_pylist():
        yield "phase 'search' of a trial that confirms another"
    for name in rows.column_names:
        if name in METRICS and name.endswith("_acc"):
            for value in rows[name].drop_null().to_pylist():
                if not 0.0 <= value <= 1.0:
                    yield f"{name} = {value}, which is no accuracy"
