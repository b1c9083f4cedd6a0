"""Schemas of the Parquet files in a results directory, and the checks of their rows.

Iterations count from 1 over the whole run, tasks from 0; accuracy is a fraction, entropy and loss
are in nats, times in seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ngm_tune.metrics.registry import METRICS
from ngm_tune.results.columns import CONFIG_PREFIX, SEARCH_PREFIX, TEXT_SUFFIX, Kind, columns_of
from ngm_tune.results.ids import TrialId, parse_run, trial_of

SCHEMA_VERSION = 4
READABLE_VERSIONS = (1, 2, 3, 4)
"""Schema versions that can be read.

Version 1 had neither ``tasks/`` nor ``search_`` columns. Until version 2 stability gaps were
signed; :mod:`ngm_tune.results.recomputation` computes the present ones when results are read.
Until version 3 the types of hyper-parameters depended on the study: they could be int64 and bool,
and text was in columns without the suffix ``_text``.
"""
VERSION_KEY = b"ngm_tune.schema_version"
"""Key of the schema version in the metadata of a file."""

REPETITION = "repetition"
"""Column of ``trials/`` that files of studies without repetitions can lack; it is 0 there."""
EXAMPLES = "examples"
"""Column of ``curves/`` that older files can lack; all examples were evaluated there."""

Table = Literal["trials", "tasks", "curves", "steps", "probes", "costs"]
PHASES = ("search", "confirm", "transfer")


class Status(StrEnum):
    """How a run ended, in order of severity. A trial has the most severe status of its runs."""

    COMPLETED = "completed"
    """The run trained on every task."""
    DIVERGED = "diverged"
    """The loss was no longer finite. Every metric has its worst value."""
    STOPPED = "stopped"
    """Early stopping of earlier versions ended the run before its last task."""
    FAILED = "failed"
    """The method raised an exception, or the run lost its worker too often."""

    @classmethod
    def worst(cls, statuses: Iterable[str]) -> Status:
        """Return the most severe status."""
        order = list(cls)
        return max(map(cls, statuses), key=order.index)


_ARROW_TYPES = {float: pa.float64(), str: pa.string()}


def trials_schema(
    hyperparameters: Mapping[str, Kind], coordinates: Mapping[str, Kind] | None = None
) -> pa.Schema:
    """Return the schema of ``trials/`` for a study.

    Args:
        hyperparameters: Columns of each hyper-parameter, by name.
        coordinates: Columns of each search coordinate, by name.
    """
    identity = [
        ("study", pa.string()),
        ("benchmark", pa.string()),
        ("method", pa.string()),
        (REPETITION, pa.int64()),
        ("trial_id", pa.string()),
        ("seed", pa.int64()),
        ("phase", pa.string()),
        ("status", pa.string()),
    ]
    settings = [
        (column, _ARROW_TYPES[type_])
        for prefix, kinds in ((CONFIG_PREFIX, hyperparameters), (SEARCH_PREFIX, coordinates or {}))
        for name, kind in kinds.items()
        for column, type_ in columns_of(prefix + name, kind).items()
    ]
    metrics = [(name, pa.float64()) for name in METRICS]
    outcome = [
        ("iterations", pa.int64()),
        ("diverged_at", pa.int64()),
        ("wall_seconds", pa.float64()),
        ("node", pa.string()),
    ]
    return _versioned(pa.schema(identity + settings + metrics + outcome))


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
"""Metrics of the run up to the end of ``task``; null if a metric needs more tasks."""

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
            (EXAMPLES, pa.int32()),
        ]
    )
)
"""``task`` is the task being trained, ``eval_task`` the evaluated one, ``examples`` how many of its
examples were evaluated; with adaptive evaluation, the others keep earlier predictions."""

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
"""``gain`` is null for methods without a gain."""

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
"""``quantity`` is a name from :mod:`ngm_tune.training.probes`."""

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
"""Cost of a training step relative to SGD; see :class:`ngm_tune.training.step_cost.Cost`."""

SCHEMAS: dict[Table, pa.Schema] = {
    "trials": trials_schema({}),
    "tasks": TASKS_SCHEMA,
    "curves": CURVES_SCHEMA,
    "steps": STEPS_SCHEMA,
    "probes": PROBES_SCHEMA,
    "costs": COSTS_SCHEMA,
}
"""Schema of each table; ``trials`` without hyper-parameters, which depend on the study."""

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
"""Tables that are written at intervals: a run can diverge before the first evaluation."""


def schema_version(schema: pa.Schema) -> int:
    """Return the schema version of a file without a problem of :func:`find_schema_problem`."""
    version = int((schema.metadata or {})[VERSION_KEY])
    assert version in READABLE_VERSIONS
    return version


def is_newer_version(schema: pa.Schema) -> bool:
    """Return whether a newer version of ngm-tune wrote a file."""
    version: bytes = (schema.metadata or {}).get(VERSION_KEY, b"")
    return version.isdigit() and int(version) > SCHEMA_VERSION


def find_schema_problem(table: Table, schema: pa.Schema) -> str | None:
    """Return why a schema is not a readable schema of ``table``; None if it is one."""
    metadata: Mapping[bytes, bytes] = schema.metadata or {}
    version = metadata.get(VERSION_KEY, b"none").decode(errors="replace")
    if version not in map(str, READABLE_VERSIONS):
        readable = f"{READABLE_VERSIONS[0]} to {READABLE_VERSIONS[-1]}"
        return f"schema version {version}; this version of ngm-tune reads {readable}"
    for column in SCHEMAS[table]:
        if column.name not in schema.names:
            if column.name not in {*METRICS, REPETITION, EXAMPLES}:  # older files lack them
                return f"no column {column.name}"
        elif schema.field(column.name).type != column.type:
            kind = schema.field(column.name).type
            return f"column {column.name} is of type {kind} instead of {column.type}"
    return None


def with_repetition(table: Table, rows: pa.Table) -> pa.Table:
    """Return the rows of a file; those of ``trials/`` with the column ``repetition``."""
    if table != "trials" or REPETITION in rows.column_names:
        return rows
    zeros = pa.array([0] * rows.num_rows, pa.int64())
    return rows.add_column(rows.column_names.index("trial_id"), REPETITION, zeros)


def with_settings(table: Table, rows: pa.Table) -> pa.Table:
    """Return the rows of a file; those of ``trials/`` with one column for each setting.

    The column of a hyper-parameter or search coordinate has its name without the suffix ``_text``.
    It has text if the file has its values as text, and otherwise float64. Integers and booleans of
    older files are converted.
    """
    if table != "trials":
        return rows
    has_suffix = schema_version(rows.schema) >= 4
    columns: dict[str, pa.ChunkedArray] = {}
    for field, column in zip(rows.schema, rows.columns, strict=True):
        name, values = field.name, column
        if name.startswith((CONFIG_PREFIX, SEARCH_PREFIX)):
            if has_suffix and name.endswith(TEXT_SUFFIX) and field.type == pa.string():
                name = name.removesuffix(TEXT_SUFFIX)  # replaces the column with numbers
            elif pa.types.is_integer(field.type):
                values = column.cast(pa.float64())
            elif pa.types.is_boolean(field.type):
                values = pc.if_else(column, "True", "False")
        columns[name] = values
    return pa.Table.from_arrays(
        list(columns.values()), names=list(columns), metadata=rows.schema.metadata
    )


def find_rows_problem(table: Table, run: str, rows: pa.Table) -> str | None:
    """Return why the rows of a file are not valid in any study; None if they are.

    Args:
        table: The table of the file.
        run: Id of the run in the name of the file.
        rows: Rows whose schema has no problem of :func:`find_schema_problem`.
    """
    return next(_problems_of_rows(table, run, rows), None)


def _problems_of_rows(table: Table, run: str, rows: pa.Table) -> Iterator[str]:
    if table == "costs":
        return
    if not rows.num_rows and table not in _MAY_BE_EMPTY:
        yield "no rows"
    for name in KEYS[table]:
        if rows[name].null_count:
            yield f"column {name} has missing values"
    for trial_id in rows["trial_id"].unique().to_pylist():
        if trial_id != trial_of(run):
            yield f"rows of trial {trial_id}, not of {trial_of(run)}"
    if _has_duplicates(rows.select(KEYS[table])):
        yield f"several rows of the same {', '.join(KEYS[table])}"
    if table == "trials":
        yield from _problems_of_trials(run, rows)


def _has_duplicates(rows: pa.Table) -> bool:
    """Whether two rows are equal. Unlike ``Table.group_by``, this does not load pandas."""
    codes = np.zeros(rows.num_rows, np.int64)
    for column in rows.columns:
        encoded = column.combine_chunks().dictionary_encode(null_encoding="encode")
        codes = codes * len(encoded.dictionary) + np.from_dlpack(encoded.indices)
    return bool(len(np.unique(codes)) < rows.num_rows)


def _unknown_values(rows: pa.Table, name: str, allowed: Sequence[str]) -> Iterator[str]:
    for value in rows[name].unique().to_pylist():
        if value not in allowed:
            yield f"{name} {value!r}; allowed are {', '.join(allowed)}"


def _phases_of(trial: TrialId) -> tuple[str, Sequence[str]]:
    """Return what kind of trial an id is of, and the phases that its runs can have."""
    if trial.confirms:
        return "confirmation", ("confirm",)
    if trial.origin is not None:
        return "transfer", ("transfer",)
    return "search trial or fixed run", ("search", "confirm")


def _problems_of_trials(run: str, rows: pa.Table) -> Iterator[str]:
    yield from _unknown_values(rows, "status", list(Status))
    yield from _unknown_values(rows, "phase", PHASES)
    trial = parse_run(run)
    if trial is None:
        yield f"{run!r} is not the id of a run"
        return
    for column, expected in (
        ("benchmark", trial.benchmark),
        ("method", trial.method),
        (REPETITION, trial.repetition),
    ):
        for value in rows[column].unique().to_pylist():
            if value != expected:
                yield f"rows of {column} {value}, not of trial {trial}"
    kind, phases = _phases_of(trial)
    for phase in rows["phase"].unique().to_pylist():
        if phase not in phases:
            yield f"phase {phase!r} of a {kind}"
    for name in rows.column_names:
        if name in METRICS and name.endswith("_acc"):
            for value in rows[name].drop_null().to_pylist():
                if not 0.0 <= value <= 1.0:
                    yield f"{name} = {value}: an accuracy must be between 0 and 1"
