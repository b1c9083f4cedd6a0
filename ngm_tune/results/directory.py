"""The files of a results directory. Only this module reads and writes them.

A results directory contains::

    study.toml                      the study
    environment.json                provenance: versions, revision, hardware, start time, the study
    trials/<run>.parquet            one row per seed: configuration, status, metrics
    tasks/<run>.parquet             one row per seed and task: metrics up to the end of the task
    curves/<run>.parquet            one row per seed, iteration and evaluated task
    steps/<run>.parquet             one row per seed and iteration
    probes/<run>.parquet            one row per seed, iteration and quantity; with ``probes``
    costs/<study>.parquet           one row per method and network; with ``cost``
    failures/<run>.txt              traceback of a failed trial
    checkpoints/<run>.pt            checkpoint of an unfinished trial
    methods/<name>.<hash>.py        copy of a file with methods (``--methods``); never executed
    optuna.journal, driver.json     search record; lock of the driver that runs the study
    damaged/                        quarantine of damaged, failed and replaced files

``<run>`` is the ``trial_id``, or ``<trial_id>@<seed>`` for a seed that was added to a confirmation
later, and for each seed of a search trial of earlier versions with ``racing``. ``phase`` is
``search`` (validation data), ``confirm`` or ``transfer`` (test data).

Every file is written once, under a temporary name, and then renamed. The file in ``trials/`` is
written last, so a trial with such a file is complete on disk. All files of a table have the schema
of :mod:`ngm_tune.results.schema`, so any tool that reads Parquet reads their folder as one table.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import PurePosixPath
from shlex import quote
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ngm_tune.errors import NewerResultsError, ResultsFileError, UserError
from ngm_tune.results.filesystem import Directory
from ngm_tune.results.ids import trial_of
from ngm_tune.results.legacy_keys import precedes_repetitions, with_current_keys
from ngm_tune.results.recomputation import needs_recomputation, recompute_gaps
from ngm_tune.results.records import StoredEnvironment, read_record
from ngm_tune.results.schema import (
    SCHEMAS,
    Status,
    Table,
    find_rows_problem,
    find_schema_problem,
    is_newer_version,
    schema_version,
    with_repetition,
    with_settings,
)
from ngm_tune.toml import parse_toml

STUDY, ENVIRONMENT = "study.toml", "environment.json"
JOURNAL, LOCK = "optuna.journal", "driver.json"
CHECKPOINTS, FAILURES, DAMAGED, REPORT = "checkpoints", "failures", "damaged", "report"
METHODS = "methods"


def checkpoint_of(run_id: str) -> str:
    """Return the path of a run's checkpoint, relative to the results directory."""
    return f"{CHECKPOINTS}/{run_id}.pt"


class Results(Directory):
    """A results directory.

    Args:
        location: Path, or URI of a filesystem that pyarrow supports, such as s3://bucket/study.
        tolerant: Skip damaged files of tables and list them in :attr:`left_out`, instead of raising
            an error.
    """

    def __init__(self, location: str, *, tolerant: bool = False) -> None:
        super().__init__(location)
        self.left_out: dict[str, str] = {}
        """Why a file was skipped, by its path in the directory."""
        self._tolerant = tolerant

    @property
    def doctor_command(self) -> str:
        """The command that examines the directory, quoted for a shell."""
        return f"ngm-tune doctor {quote(self.location)}"

    def has_study(self) -> bool:
        """Return whether the directory contains a study."""
        return self.has(STUDY)

    def require_study(self) -> None:
        """Raise :class:`UserError` unless the directory contains a study."""
        try:
            exists = self.has_study()
        except (OSError, ValueError) as error:
            raise UserError(f"{self.location}: cannot be read: {error}") from error
        if not exists:
            hint = (
                f"`{self.doctor_command}` explains how to recover it"
                if self.list_table_files("trials")
                else "`ngm-tune run STUDY --results DIR` creates results"
            )
            raise UserError(f"{self.location}: no results found (no study.toml); {hint}")

    def read_study(self) -> dict[str, Any]:
        """Read ``study.toml``, with keys of earlier versions replaced by their current names.

        Raises:
            ResultsFileError: The file cannot be read, or is not valid TOML.
        """
        return with_current_keys(self._parse_study())

    def confirms_fronts_only(self) -> bool:
        """Whether the study selected the configurations to confirm as earlier versions did."""
        return precedes_repetitions(self._parse_study())

    def _parse_study(self) -> dict[str, Any]:
        try:
            return parse_toml(self._read_text(STUDY))
        except ValueError as error:
            raise self._file_error(STUDY, f"not valid TOML: {error}") from error

    def read_environment(self) -> dict[str, Any]:
        """Read the provenance from ``environment.json``; empty if the file does not exist.

        Raises:
            ResultsFileError: The file is damaged, and the directory is not read tolerantly.
        """
        try:
            return self._parse_environment() if self.has(ENVIRONMENT) else {}
        except ResultsFileError as error:
            if not self._tolerant:
                raise
            self.left_out[ENVIRONMENT] = error.reason
            return {}

    def _parse_environment(self) -> dict[str, Any]:
        try:
            content = json.loads(self._read_text(ENVIRONMENT))
        except (ValueError, RecursionError) as error:
            raise self._file_error(ENVIRONMENT, f"not valid JSON: {error}") from error
        try:
            read_record(StoredEnvironment, content)
        except ValueError as error:
            raise self._file_error(ENVIRONMENT, str(error)) from error
        return dict(content)

    def write_environment(self, content: Mapping[str, Any]) -> None:
        """Write the provenance to ``environment.json``."""
        self.write_text(ENVIRONMENT, json.dumps(content, indent=2) + "\n")

    def has_run(self, run: str) -> bool:
        """Return whether a run is complete on disk."""
        return self.has(f"trials/{run}.parquet")

    def write(self, table: Table, run: str, rows: pa.Table) -> None:
        """Write the file of one run in a table, atomically.

        Args:
            table: The table.
            run: The id of the run; for ``costs`` the name of the study.
            rows: The rows of the run.
        """
        self.write_stream(
            f"{table}/{run}.parquet",
            lambda stream: pq.write_table(rows, stream, compression="zstd"),
        )

    def choose_quarantine_path(self, name: str) -> str:
        """Return a path in ``damaged/`` that no file or folder has."""
        path = f"{DAMAGED}/{name}"
        while self.has_entry(path):
            path += "~"
        return path

    def quarantine(self, name: str) -> str:
        """Move a file into quarantine, where nothing reads it. Return its new path."""
        path = self.choose_quarantine_path(name)
        self.make_folder(str(PurePosixPath(path).parent))
        self.rename(name, path)
        return path

    def find_missing_files(
        self, trials: Mapping[str, pa.Table], *, has_probes: bool
    ) -> list[tuple[Table, str]]:
        """Return the table and name of each file that a completed run lacks.

        Args:
            trials: Rows in ``trials/`` by file name.
            has_probes: Whether the study has probes.
        """
        tables: list[Table] = ["tasks", "curves", "steps"]
        if has_probes:
            tables.append("probes")
        existing = {table: set(self.list_table_files(table)) for table in tables}
        return [
            (table, name)
            for name, rows in trials.items()
            for table in tables
            if name not in existing[table]
            and is_completed(rows)
            and not (table == "tasks" and schema_version(rows.schema) < 2)
        ]

    def read(self, table: Table, trial_ids: Iterable[str] | None = None) -> pa.Table:
        """Read a table.

        Args:
            table: The table.
            trial_ids: The trials to read; None for all.

        Returns:
            The rows of all files. Columns that a file lacks are null.

        Raises:
            ResultsFileError: A file is damaged, or needs a newer version of ngm-tune.
        """
        return self.concatenate(
            table, [rows for _, rows in self.iter_runs(table, trial_ids=trial_ids)]
        )

    def concatenate(self, table: Table, parts: Sequence[pa.Table]) -> pa.Table:
        """Return the rows of several runs as one table. Columns that a run lacks are null.

        Raises:
            UserError: The types of a column differ, as between different studies.
        """
        try:
            return pa.concat_tables(
                # unlike this, `Schema.empty_table` loads pandas
                list(parts) or [pa.Table.from_batches([], SCHEMAS[table])],
                promote_options="default",
            )
        except pa.ArrowException as error:
            raise UserError(
                f"{self.location}/{table}: the files are not all of the same study: {error}"
            ) from error

    def iter_runs(
        self,
        table: Table,
        find_problem: Callable[[str, pa.Table], str | None] = lambda run, rows: None,
        trial_ids: Iterable[str] | None = None,
    ) -> Iterator[tuple[str, pa.Table]]:
        """Iterate over the runs of a table.

        Args:
            table: The table.
            find_problem: Returns why the rows of a run are not part of the study; None if they are.
            trial_ids: The trials to read; None for all.

        Yields:
            The id and the rows of each run.

        Raises:
            ResultsFileError: As for :meth:`read`, or ``find_problem`` returned a problem.
        """
        wanted = None if trial_ids is None else set(trial_ids)
        for name in self.list_table_files(table):
            run = name.removesuffix(".parquet")
            if wanted is not None and trial_of(run) not in wanted:
                continue
            try:
                rows = self.read_file(table, name)
                problem = find_problem(run, rows)
                if problem is not None:
                    raise self._file_error(f"{table}/{name}", problem)
            except ResultsFileError as error:
                if self._tolerant:
                    self.left_out[f"{table}/{name}"] = error.reason
                    continue
                if isinstance(error, NewerResultsError):
                    raise
                hint = f"`{self.doctor_command}` moves it into quarantine"
                raise ResultsFileError(error.path, f"{error.reason}; {hint}") from error
            yield run, self._with_present_gaps(table, run, rows)

    def read_run(self, table: Table, run: str) -> pa.Table | None:
        """Read the rows of one run; None if it has no file in the table.

        Raises:
            ResultsFileError: As for :meth:`read`.
        """
        name = f"{run}.parquet"
        if not self.has(f"{table}/{name}"):
            return None
        return self._with_present_gaps(table, run, self.read_file(table, name))

    def _with_present_gaps(self, table: Table, run: str, rows: pa.Table) -> pa.Table:
        """Return the rows of a run; stability gaps of an earlier schema are recomputed."""
        if not needs_recomputation(table, rows):
            return rows
        curves = None
        with suppress(ResultsFileError):  # the gaps are null then
            if self.has(f"curves/{run}.parquet"):
                curves = self.read_file("curves", f"{run}.parquet")
        return recompute_gaps(table, rows, curves)

    def read_file(self, table: Table, name: str) -> pa.Table:
        """Read the rows of one file and check its schema and keys.

        Raises:
            ResultsFileError: As for :meth:`read`.
            OSError: The filesystem cannot read the file; this does not mean that it is damaged.
        """
        path = f"{table}/{name}"
        content = self.read_bytes(path)
        if content is None:
            raise self._file_error(path, "the file no longer exists")
        try:
            # Unlike pq.read_table, this loads neither pyarrow.dataset nor pandas.
            rows = pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)
            rows.validate(full=True)  # finds strings that are not valid UTF-8
        except (pa.ArrowException, OSError) as error:
            reason = str(error).partition("\n")[0]
            raise self._file_error(path, f"not readable as Parquet: {reason}") from error
        run = name.removesuffix(".parquet")
        problem = find_schema_problem(table, rows.schema)
        if problem is None:
            rows = with_settings(table, with_repetition(table, rows))
            problem = find_rows_problem(table, run, rows)
        if problem is not None and is_newer_version(rows.schema):
            raise NewerResultsError(
                f"{self.location}/{path}", f"{problem}; a newer version of ngm-tune reads it"
            )
        if problem is not None:
            raise self._file_error(path, problem)
        return rows

    def list_table_files(self, table: Table) -> list[str]:
        """Return the names of the files of a table, sorted."""
        names = self.list_files(table)
        return [n for n in names if n.endswith(".parquet") and not n.startswith(".")]

    def _read_text(self, name: str) -> str:
        try:
            return (self.read_bytes(name) or b"").decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise self._file_error(name, f"cannot be read: {error}") from error

    def _file_error(self, name: str, reason: str) -> ResultsFileError:
        return ResultsFileError(f"{self.location}/{name}", reason)


def is_completed(rows: pa.Table) -> bool:
    """Return whether every seed of a run in ``trials/`` completed."""
    return set(rows["status"].to_pylist()) == {Status.COMPLETED}
