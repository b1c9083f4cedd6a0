"""The examination of single files, and of the files of a run against each other."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import get_args

import pyarrow as pa

from ngm_tune.errors import NewerResultsError, UserError
from ngm_tune.results.directory import (
    CHECKPOINTS,
    DAMAGED,
    ENVIRONMENT,
    FAILURES,
    JOURNAL,
    LOCK,
    METHODS,
    REPORT,
    STUDY,
    Results,
    checkpoint_of,
    is_completed,
)
from ngm_tune.results.recomputation import FIRST_CURRENT_VERSION
from ngm_tune.results.schema import SCHEMA_VERSION, Table, schema_version
from ngm_tune.study.plan import StudyPlan
from ngm_tune.study.study import Study
from ngm_tune.training.checkpoints import unpack
from ngm_tune.workspace.doctor.finding import Finding, Kind, report_unreadable
from ngm_tune.workspace.resume import find_trial_problem

FOLDER_INSTEAD_OF_FILE = "a folder instead of a file"
_FILE_INSTEAD_OF_FOLDER = "a file instead of a folder"
_FOREIGN = "not created by ngm-tune; left unchanged"

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}")
"""Names of files that are renamed once they are completely written."""
_FILES = {STUDY, ENVIRONMENT, JOURNAL, LOCK, "defaults.toml"}
_FOLDERS_TO_WRITE = {*get_args(Table), CHECKPOINTS, FAILURES, DAMAGED, METHODS, REPORT}
_FOLDERS = {*_FOLDERS_TO_WRITE, "tune"}


def read_trials(results: Results) -> dict[str, pa.Table]:
    """Return the rows of each readable file in ``trials/``, by run id."""
    runs = {}
    for name in results.list_table_files("trials"):
        with suppress(OSError, UserError):  # examine_tables reports these files
            runs[name.removesuffix(".parquet")] = results.read_file("trials", name)
    return runs


def find_folders_instead_of_files(results: Results) -> Iterator[Finding]:
    """Find folders that have the name of a file."""
    for parent in ("", *get_args(Table), CHECKPOINTS):
        for name in results.list_folders(parent):
            if name in _FILES if parent == "" else name.endswith((".parquet", ".pt")):
                yield Finding(f"{parent}/{name}".lstrip("/"), FOLDER_INSTEAD_OF_FILE)


def find_files_instead_of_folders(results: Results) -> Iterator[Finding]:
    """Find files that have the name of a folder."""
    for name in results.list_files():
        if name in _FOLDERS_TO_WRITE:
            # A file with the name of the quarantine cannot be quarantined.
            kind: Kind = "unreadable" if name == DAMAGED else "damage"
            yield Finding(name, _FILE_INSTEAD_OF_FOLDER, kind)


def examine_environment(results: Results) -> Iterator[Finding]:
    """Examine whether ``environment.json`` can be read."""
    try:
        results.read_bytes(ENVIRONMENT)
        results.read_environment()
    except OSError as error:
        yield report_unreadable(results, ENVIRONMENT, error)
    except UserError as error:
        yield Finding(ENVIRONMENT, error.reason)


def examine_tables(results: Results, study: Study | None) -> Iterator[Finding]:
    """Examine each Parquet file, and whether the files in ``trials/`` belong to the study."""
    plan = StudyPlan.resolve(study) if study is not None else None
    for table in get_args(Table):
        n_older: Counter[int] = Counter()
        for name in results.list_table_files(table):
            path = f"{table}/{name}"
            try:
                rows = results.read_file(table, name)
            except OSError as error:
                yield report_unreadable(results, path, error)
                continue
            except UserError as error:
                kind: Kind = "newer" if isinstance(error, NewerResultsError) else "damage"
                yield Finding(path, error.reason, kind)
                continue
            problem = None
            if table == "trials" and plan is not None:
                problem = find_trial_problem(name.removesuffix(".parquet"), rows, plan)
            if problem is not None:
                yield Finding(path, problem)
            elif (version := schema_version(rows.schema)) != SCHEMA_VERSION:
                n_older[version] += 1
                yield from _examine_gaps(results, table, name, rows)
        for version, count in sorted(n_older.items()):
            description = f"{count} files of schema version {version}, which can still be read"
            if table in ("trials", "tasks") and version < FIRST_CURRENT_VERSION:
                description += "; their stability gaps are recomputed from curves/"
            yield Finding(f"{table}/", description, "note")


def _examine_gaps(results: Results, table: Table, name: str, rows: pa.Table) -> Iterator[Finding]:
    """Find stability gaps of an earlier schema that cannot be recomputed."""
    if table != "trials":
        return
    recomputed = results.read_run(table, name.removesuffix(".parquet"))
    if recomputed is not None and recomputed["avg_sg"].null_count > rows["avg_sg"].null_count:
        yield Finding(
            f"{table}/{name}",
            f"its stability gaps cannot be recomputed, as curves/{name} is missing or damaged; the "
            "run counts as failed, and `ngm-tune run --retry-failed` repeats it",
            "note",
        )


def examine_checkpoints(results: Results) -> Iterator[Finding]:
    """Examine whether each checkpoint can be read and belongs to the run in its name."""
    for name in results.list_files(CHECKPOINTS):
        if not name.endswith(".pt") or _TEMPORARY.fullmatch(name):
            continue
        path = f"{CHECKPOINTS}/{name}"
        try:
            run = unpack(results.read_bytes(path) or b"").identity["run_id"]
        except OSError as error:
            yield report_unreadable(results, path, error)
            continue
        except ValueError as error:
            yield Finding(path, str(error))
            continue
        if checkpoint_of(run) != path:
            yield Finding(path, f"the checkpoint of a different run, {run}")


def examine_companions(results: Results, study: Study | None) -> Iterator[Finding]:
    """Examine whether the companion files of each run are present and complete.

    The companions of a file in ``trials/`` are the files of the same run in the other tables.
    """
    trials = {f"{run}.parquet": rows for run, rows in read_trials(results).items()}
    hint = "to recreate it, move trials/{} out of this directory and resume the study"
    for table, name in results.find_missing_files(
        trials, has_probes=study is not None and bool(study.probes)
    ):
        yield Finding(f"{table}/{name}", f"missing, but its run is complete; {hint.format(name)}")
    for table in ("tasks", "curves", "steps", "probes"):
        for name in results.list_table_files(table):
            if name not in trials:
                description = "belongs to an unfinished run, which rewrites it"
                yield Finding(f"{table}/{name}", description, "note")
            elif table in ("curves", "steps") and is_completed(trials[name]):
                problem = _find_wrong_length(results, table, name, trials[name])
                if problem is not None:
                    yield Finding(f"{table}/{name}", f"{problem}; {hint.format(name)}")


def _find_wrong_length(results: Results, table: Table, name: str, trial: pa.Table) -> str | None:
    """Describe a seed for which a file has too few or too many iterations.

    Args:
        results: The results directory.
        table: ``curves`` or ``steps``.
        name: Name of the file.
        trial: Rows of the same run in ``trials/``.

    Returns:
        The description; None if all lengths are right or the file cannot be read.
    """
    try:
        rows = results.read_file(table, name)
    except (OSError, UserError):  # examine_tables reports this file
        return None
    aggregation = "count_distinct" if table == "steps" else "max"
    lengths_table = rows.group_by("seed").aggregate([("iteration", aggregation)])
    columns = (lengths_table[i].to_pylist() for i in lengths_table.column_names)
    lengths = dict(zip(*columns, strict=True))
    for seed, iterations in zip(
        trial["seed"].to_pylist(), trial["iterations"].to_pylist(), strict=True
    ):
        if lengths.get(seed, 0) != iterations:
            return f"{lengths.get(seed, 0)} iterations of seed {seed} instead of {iterations}"
    return None


def find_foreign_files(results: Results) -> Iterator[Finding]:
    """Find files that ngm-tune did not create or did not finish writing."""
    folders = [("", _FILES, ""), *((f"{table}/", set(), ".parquet") for table in get_args(Table))]
    folders += [(f"{CHECKPOINTS}/", set(), ".pt")]
    for prefix, names, suffix in folders:
        for name in results.list_files(prefix.rstrip("/")):
            if _TEMPORARY.fullmatch(name):
                description = "incomplete file of a process that was killed while writing; ignored"
                yield Finding(f"{prefix}{name}", description, "note")
            elif not prefix and name in _FOLDERS_TO_WRITE:
                continue  # find_files_instead_of_folders reports it
            elif name not in names and not (suffix and name.endswith(suffix)):
                yield Finding(f"{prefix}{name}", _FOREIGN, "note")
    for folder in ("", *get_args(Table), CHECKPOINTS):
        n_undecodable = results.count_undecodable_names(folder)
        if n_undecodable:
            description = f"undecodable file names: {n_undecodable}; {_FOREIGN}"
            yield Finding(f"{folder or '.'}/", description, "note")
    for name in results.list_folders():
        if name not in _FOLDERS | _FILES:
            yield Finding(f"{name}/", _FOREIGN, "note")
