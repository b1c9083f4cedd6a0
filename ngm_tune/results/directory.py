"""Results on disk: written and read here and nowhere else.

A results directory holds::

    study.toml                      what was asked
    environment.json                versions, revision, hardware, start time, and the study again
    trials/<run>.parquet            a row per seed: configuration, status, metrics
    tasks/<run>.parquet             a row per seed and task: the metrics up to that task's end
    curves/<run>.parquet            a row per seed, iteration and evaluated task
    steps/<run>.parquet             a row per seed and iteration
    probes/<run>.parquet            a row per seed, iteration and quantity, with probes
    costs/<study>.parquet           a row per method and network, with costs
    failures/<run>.txt              the traceback of a trial that raised
    checkpoints/<run>.pt            where a trial is that has not ended yet
    optuna.journal, driver.json     record of the search; who runs the study at the moment
    damaged/                        what was set aside by `ngm-tune doctor` or `--retry-failed`

A run is named by its ``trial_id``; where a trial's seeds are run one by one, as in racing, by
``<trial_id>@<seed>``. ``phase`` is ``search`` (on validation data) or ``confirm`` (on test data).

Every file is written once, under another name, and then renamed; a trial's file in ``trials/``
comes last, so a trial that has one is complete on disk. Any tool that reads Parquet reads a folder
of them as one table: their schemas, in :mod:`ngm_tune.results.schema`, are the same.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from shlex import quote
from typing import Any

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq

from ngm_tune.errors import NewerResultsError, UserError, printable
from ngm_tune.results.filesystem import Directory
from ngm_tune.results.ids import trial_of
from ngm_tune.results.legacy_keys import with_current_keys
from ngm_tune.results.records import StoredEnvironment, read_record
from ngm_tune.results.schema import (
    SCHEMAS,
    Table,
    is_newer,
    problem_of,
    problem_of_rows,
    version_of,
)

STUDY, ENVIRONMENT = "study.toml", "environment.json"
JOURNAL, LOCK = "optuna.journal", "driver.json"
CHECKPOINTS, FAILURES, DAMAGED, REPORT = "checkpoints", "failures", "damaged", "report"


def checkpoint_of(run_id: str) -> str:
    """Return the path of a run's checkpoint, relative to the results directory."""
    return f"{CHECKPOINTS}/{run_id}.pt"


def reason_of(error: UserError, name: str) -> str:
    """What an error says of a file of the directory, without its name."""
    before, _, reason = str(error).partition(f"{printable(name)}: ")
    return reason or before


class Results(Directory):
    """A results directory.

    Args:
        location: A path, or a URI of any filesystem that pyarrow knows, such as s3://bucket/study.
        tolerant: Pass over damaged files of tables, and keep account of them in ``left_out``.
    """

    def __init__(self, location: str, *, tolerant: bool = False) -> None:
        super().__init__(location)
        self.left_out: dict[str, str] = {}
        """Why, by file, in a tolerant reading."""
        self._tolerant = tolerant

    @property
    def doctor(self) -> str:
        """The command that examines it, as people type it."""
        return f"ngm-tune doctor {quote(self.location)}"

    def exists(self) -> bool:
        """Whether a study was started here."""
        return self.has(STUDY)

    def require(self) -> None:
        """Raise :class:`UserError` unless a study was started here."""
        try:
            there = self.exists()
        except (OSError, ValueError) as error:
            raise UserError(f"{self.location}: cannot be read: {error}") from error
        if not there:
            hint = (
                f"`{self.doctor}` says how to have it again"
                if self.table_files("trials")
                else "`ngm-tune run STUDY --results DIR` makes some"
            )
            raise UserError(f"{self.location}: no results there (no study.toml); {hint}")

    def study(self) -> dict[str, Any]:
        """The study as it was asked for."""
        try:
            return with_current_keys(tomllib.loads(self._text(STUDY)))
        except (ValueError, RecursionError) as error:
            raise UserError(f"{self.location}/study.toml: not valid TOML: {error}") from error

    def environment(self) -> dict[str, Any]:
        """Where and with what the study was run; empty if that was not kept."""
        try:
            return self._environment() if self.has(ENVIRONMENT) else {}
        except UserError as error:
            if not self._tolerant:
                raise
            self.left_out[ENVIRONMENT] = reason_of(error, ENVIRONMENT)
            return {}

    def _environment(self) -> dict[str, Any]:
        try:
            found = json.loads(self._text(ENVIRONMENT))
        except (ValueError, RecursionError) as error:
            raise UserError(f"{self.location}/environment.json: not JSON: {error}") from error
        try:
            read_record(StoredEnvironment, found)
        except ValueError as error:
            raise UserError(f"{self.location}/environment.json: {error}") from error
        return dict(found)

    def write_environment(self, content: Mapping[str, Any]) -> None:
        """Write where and with what the study is run."""
        self.write_text(ENVIRONMENT, json.dumps(content, indent=2) + "\n")

    def has_run(self, run: str) -> bool:
        """Whether a run is complete on disk."""
        return self.has(f"trials/{run}.parquet")

    def write(self, table: Table, run: str, rows: pa.Table) -> None:
        """Write one run's file of ``table`` (or the study's, of costs), whole or not at all."""
        self.write_by(
            f"{table}/{run}.parquet",
            lambda stream: pq.write_table(rows, stream, compression="zstd"),
        )

    def free_place(self, name: str) -> str:
        """A name in ``damaged/`` that no file or folder has yet."""
        place = f"{DAMAGED}/{name}"
        while self.has_any(place):
            place += "~"
        return place

    def quarantine(self, name: str) -> str:
        """Move a file to ``damaged/``, where nothing reads it; its new name."""
        place = self.free_place(name)
        self.make_folder(str(PurePosixPath(place).parent))
        self.rename(name, place)
        return place

    def gone(self, ended: Mapping[str, pa.Table], *, probed: bool) -> list[tuple[Table, str]]:
        """Tables and names of files that are not there, though the trial is complete.

        Args:
            ended: The rows in ``trials/``, by the names of their files.
            probed: Whether it is a study with probes.
        """
        tables: list[Table] = ["tasks", "curves", "steps"]
        if probed:
            tables.append("probes")
        there = {table: set(self.table_files(table)) for table in tables}
        return [
            (table, name)
            for name, rows in ended.items()
            for table in tables
            if name not in there[table]
            and is_whole(rows)
            and not (table == "tasks" and version_of(rows.schema) < 2)
        ]

    def read(self, table: Table, trial_ids: Iterable[str] | None = None) -> pa.Table:
        """One table of all trials, or of some; columns a file lacks are null.

        Raises:
            UserError: A file is damaged, or newer than this version of ngm-tune can read.
        """
        wanted = None if trial_ids is None else set(trial_ids)
        return self.joined(
            table,
            [rows for run, rows in self.runs(table) if wanted is None or trial_of(run) in wanted],
        )

    def joined(self, table: Table, parts: Sequence[pa.Table]) -> pa.Table:
        """The rows of some runs as one table; columns some lack are null.

        Raises:
            UserError: They are not all of one study.
        """
        try:
            return pa.concat_tables(
                list(parts) or [SCHEMAS[table].empty_table()], promote_options="default"
            )
        except pa.ArrowException as error:
            raise UserError(
                f"{self.location}/{table}: these are not all files of one study: {error}"
            ) from error

    def runs(
        self,
        table: Table,
        problem_of_run: Callable[[str, pa.Table], str | None] = lambda run, rows: None,
    ) -> Iterator[tuple[str, pa.Table]]:
        """The rows of each run, by its id.

        Args:
            table: Which.
            problem_of_run: Says what else is the matter with the rows of a run; None if nothing is.

        Raises:
            UserError: As for :meth:`read`, or there is such a problem.
        """
        for name in self.table_files(table):
            run = name.removesuffix(".parquet")
            try:
                rows = self.read_file(table, name)
                problem = problem_of_run(run, rows)
                if problem is not None:
                    raise UserError(f"{self.location}/{table}/{name}: {problem}")
                yield run, rows
            except UserError as error:
                if not self._tolerant:
                    if isinstance(error, NewerResultsError):
                        raise
                    hint = f"`{self.doctor}` sets it aside"
                    raise UserError(f"{error}; {hint}") from error
                self.left_out[f"{table}/{name}"] = reason_of(error, f"{table}/{name}")

    def run(self, table: Table, run: str) -> pa.Table | None:
        """The rows of one run; None if it has none.

        Raises:
            UserError: As for :meth:`read`.
        """
        name = f"{run}.parquet"
        return self.read_file(table, name) if self.has(f"{table}/{name}") else None

    def read_file(self, table: Table, name: str) -> pa.Table:
        """The rows of one file.

        Raises:
            UserError: As for :meth:`read`.
        """
        where = f"{self.location}/{table}/{name}"
        content = self.read_bytes(f"{table}/{name}")  # what fails here is no damage of the file
        if content is None:
            raise UserError(f"{where}: it is gone")
        try:
            part = pq.read_table(pa.BufferReader(content))
            part.validate(full=True)  # else texts could be none
        except (pa.ArrowException, OSError) as error:
            reason = str(error).partition("\n")[0].rpartition("': ")[2]
            raise UserError(f"{where}: not readable as Parquet: {reason}") from error
        problem = problem_of(table, part.schema) or problem_of_rows(
            table, name.removesuffix(".parquet"), part
        )
        if problem is not None and is_newer(part.schema):
            raise NewerResultsError(f"{where}: {problem}; a newer version of ngm-tune reads it")
        if problem is not None:
            raise UserError(f"{where}: {problem}")
        return part

    def table_files(self, table: Table) -> list[str]:
        """Names of the files of a table, sorted."""
        names = self.files(table)
        return [n for n in names if n.endswith(".parquet") and not n.startswith(".")]

    def _text(self, name: str) -> str:
        try:
            return (self.read_bytes(name) or b"").decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{self.location}/{name}: cannot be read: {error}") from error


def is_whole(rows: pa.Table) -> bool:
    """Whether a run ended as it should, with all that is to be written of one."""
    return set(rows["status"].to_pylist()) == {"completed"}
