"""Results on disk: the Parquet schema, written and read here and nowhere else.

A results directory holds::

    study.toml, environment.json    what was asked; versions, revision, hardware, start time
    trials/<trial_id>.parquet       a row per seed: configuration, status, metrics
    curves/<trial_id>.parquet       a row per seed, iteration and evaluated task
    steps/<trial_id>.parquet        a row per seed and iteration
    probes/<trial_id>.parquet       a row per seed, iteration and quantity, with probes
    costs/<study>.parquet           a row per method and network, with costs
    failures/<trial_id>.txt         the traceback of a trial that raised
    optuna.journal, tune/           state of the search and of Ray Tune

Iterations count from 1 over the whole run, tasks from 0; accuracy is a fraction, entropy and loss
are in nats, times in seconds. Every file is written once, under another name, and then renamed; a
trial's file in ``trials/`` comes last, so a trial that has one is complete on disk. Any tool that
reads Parquet reads a folder of them as one table: their schemas are the same.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any, Literal
from uuid import uuid4

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
from pyarrow import fs

from ngm_tune.errors import UserError
from ngm_tune.metrics import METRICS

SCHEMA_VERSION = 1
_VERSION_KEY = b"ngm_tune.schema_version"

Table = Literal["trials", "curves", "steps", "probes", "costs"]
STATUSES = ("completed", "diverged", "stopped", "failed")
CONFIG_PREFIX = "config_"


_ARROW_TYPES = {
    "float": pa.float64(),
    "int": pa.int64(),
    "bool": pa.bool_(),
    "str": pa.string(),
}


def trials_schema(hyperparameters: Mapping[str, str]) -> pa.Schema:
    """Columns of ``trials/`` for a study whose methods have these hyper-parameters.

    Args:
        hyperparameters: By name ``float``, ``int``, ``bool`` or ``str``.
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
    metrics = [(name, pa.float64()) for name in METRICS]
    outcome = [
        ("iterations", pa.int64()),
        ("diverged_at", pa.int64()),
        ("wall_seconds", pa.float64()),
        ("node", pa.string()),
    ]
    return _versioned(pa.schema(fixed + config + metrics + outcome))


def _versioned(schema: pa.Schema) -> pa.Schema:
    return schema.with_metadata({_VERSION_KEY: str(SCHEMA_VERSION).encode()})


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
"""``quantity`` is one of those that :mod:`ngm_tune.probes` names."""

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
"""A training step against one of SGD; see :class:`ngm_tune.cost.Cost`."""


class Results:
    """A results directory.

    Args:
        location: A path, or a URI of any filesystem that pyarrow knows.
    """

    def __init__(self, location: str) -> None:
        self.location = location
        try:
            if "://" in location:
                self._fs, root = fs.FileSystem.from_uri(location)
            else:
                self._fs, root = fs.LocalFileSystem(), str(location)
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(f"{location}: no usable results location: {error}") from error
        self._root = PurePosixPath(root)

    def exists(self) -> bool:
        """Whether a study was started here."""
        return self._has("study.toml")

    def require(self) -> None:
        """Raise :class:`UserError` unless a study was started here."""
        if not self.exists():
            raise UserError(
                f"{self.location}: no results there (no study.toml); "
                "`ngm-tune run STUDY --results DIR` makes some"
            )

    def study(self) -> dict[str, Any]:
        """The study as it was asked for."""
        text = self._read("study.toml")
        try:
            return tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise UserError(f"{self.location}/study.toml: not valid TOML: {error}") from error

    def environment(self) -> dict[str, Any]:
        """Where and with what the study was run; empty if that was not kept."""
        if not self._has("environment.json"):
            return {}
        try:
            found = json.loads(self._read("environment.json"))
        except json.JSONDecodeError as error:
            raise UserError(f"{self.location}/environment.json: not JSON: {error}") from error
        if not isinstance(found, dict):
            raise UserError(f"{self.location}/environment.json: not a JSON object")
        return found

    def write_text(self, name: str, text: str) -> None:
        """Write a text file of the directory, whole or not at all."""
        self._fs.create_dir(str((self._root / name).parent), recursive=True)
        draft = self._draft(name)
        with self._fs.open_output_stream(draft) as stream:
            stream.write(text.encode())
        self._fs.move(draft, str(self._root / name))

    def write(self, table: Table, trial_id: str, rows: pa.Table) -> None:
        """Write one trial's file of ``table`` (or the study's, of costs), whole or not at all."""
        self._fs.create_dir(str(self._root / table), recursive=True)
        draft = self._draft(f"{table}/{trial_id}.parquet")
        pq.write_table(rows, draft, filesystem=self._fs, compression="zstd")
        self._fs.move(draft, str(self._root / table / f"{trial_id}.parquet"))

    def read(self, table: Table, trial_ids: Iterable[str] | None = None) -> pa.Table:
        """One table of all trials, or of some; columns a file lacks are null.

        Raises:
            UserError: A file is damaged, or newer than this version of ngm-tune can read.
        """
        names = self._trial_files(table)
        if trial_ids is not None:
            wanted = {f"{trial_id}.parquet" for trial_id in trial_ids}
            names = [name for name in names if name in wanted]
        parts = [self._read_parquet(str(self._root / table / name)) for name in names]
        if not parts:
            empty = {
                "trials": trials_schema({}),
                "curves": CURVES_SCHEMA,
                "steps": STEPS_SCHEMA,
                "probes": PROBES_SCHEMA,
                "costs": COSTS_SCHEMA,
            }
            return empty[table].empty_table()
        return pa.concat_tables(parts, promote_options="default")

    def _read_parquet(self, path: str) -> pa.Table:
        try:
            part = pq.read_table(path, filesystem=self._fs, partitioning=None)
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{path}: not readable as Parquet: {error}") from error
        metadata: Mapping[bytes, bytes] = part.schema.metadata or {}
        version = metadata.get(_VERSION_KEY, b"none").decode(errors="replace")
        if version != str(SCHEMA_VERSION):
            raise UserError(
                f"{path}: schema version {version}, this ngm-tune reads {SCHEMA_VERSION}"
            )
        return part

    def _trial_files(self, table: Table) -> list[str]:
        selector = fs.FileSelector(str(self._root / table), allow_not_found=True)
        try:
            found = self._fs.get_file_info(selector)
        except OSError as error:
            raise UserError(f"{self.location}/{table}: cannot be listed: {error}") from error
        names = (info.base_name for info in found if info.is_file)
        return sorted(n for n in names if n.endswith(".parquet") and not n.startswith("."))

    def _draft(self, name: str) -> str:
        """A name beside ``name`` that readers of Parquet folders pass over."""
        path = self._root / name
        return str(path.with_name(f".{path.name}.{uuid4().hex}"))

    def _has(self, name: str) -> bool:
        return bool(self._fs.get_file_info(str(self._root / name)).is_file)

    def _read(self, name: str) -> str:
        try:
            with self._fs.open_input_stream(str(self._root / name)) as stream:
                return str(stream.read().decode())
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{self.location}/{name}: cannot be read: {error}") from error
