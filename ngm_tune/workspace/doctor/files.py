"""The files of a results directory, one by one and next to each other."""

from __future__ import annotations

import re
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
    REPORT,
    STUDY,
    Results,
    checkpoint_of,
    is_whole,
    reason_of,
)
from ngm_tune.results.schema import SCHEMA_VERSION, Table, version_of
from ngm_tune.study.plan import StudyPlan
from ngm_tune.study.study import Study
from ngm_tune.training.checkpoints import unpack
from ngm_tune.workspace.doctor.finding import Finding, Kind, unread
from ngm_tune.workspace.resume import problem_of_trial

A_FOLDER = "a folder where a file should be"

_DRAFT = re.compile(r"\..+\.[0-9a-f]{32}")
_FILES = {STUDY, ENVIRONMENT, JOURNAL, LOCK, "defaults.toml"}
_NEEDED = {*get_args(Table), CHECKPOINTS, FAILURES, DAMAGED, REPORT}
_FOLDERS = {*_NEEDED, "tune"}


def read_trials(results: Results) -> dict[str, pa.Table]:
    """The rows of each run in ``trials/``, but for what cannot be read, which is told elsewhere."""
    found = {}
    for name in results.table_files("trials"):
        with suppress(OSError, UserError):
            found[name.removesuffix(".parquet")] = results.read_file("trials", name)
    return found


def folders_for_files(results: Results) -> Iterator[Finding]:
    """Folders that have the name of a file."""
    for folder in ("", *get_args(Table), CHECKPOINTS):
        for name in results.folders(folder):
            if name in _FILES if folder == "" else name.endswith((".parquet", ".pt")):
                yield Finding(f"{folder}/{name}".lstrip("/"), A_FOLDER)


def files_for_folders(results: Results) -> Iterator[Finding]:
    """Files that have the name of a folder."""
    for name in results.files():
        if name in _NEEDED:  # of these damaged/ is where others are moved to
            kind: Kind = "unread" if name == DAMAGED else "damage"
            yield Finding(name, "a file where a folder should be", kind)


def examine_environment(results: Results) -> Iterator[Finding]:
    """Whether ``environment.json`` can be read."""
    try:
        results.read_bytes(ENVIRONMENT)
        results.environment()
    except OSError as error:
        yield unread(results, ENVIRONMENT, error)
    except UserError as error:
        yield Finding(ENVIRONMENT, reason_of(error, ENVIRONMENT))


def examine_tables(results: Results, study: Study | None) -> Iterator[Finding]:
    """Each file of a table by itself, those of trials also against the study."""
    plan = StudyPlan.resolve(study) if study is not None else None
    for table in get_args(Table):
        for name in results.table_files(table):
            try:
                rows = results.read_file(table, name)
            except OSError as error:
                yield unread(results, f"{table}/{name}", error)
                continue
            except UserError as error:
                newer = isinstance(error, NewerResultsError)
                yield Finding(
                    f"{table}/{name}",
                    reason_of(error, f"{table}/{name}"),
                    "newer" if newer else "damage",
                )
                continue
            run = name.removesuffix(".parquet")
            of_study = plan if table == "trials" else None
            problem = problem_of_trial(run, rows, of_study) if of_study else None
            if problem is not None:
                yield Finding(f"{table}/{name}", problem)
            elif (version := version_of(rows.schema)) != SCHEMA_VERSION:
                what = f"schema version {version}, an older one that is read as it is"
                yield Finding(f"{table}/{name}", what, "note")


def examine_checkpoints(results: Results) -> Iterator[Finding]:
    """Whether checkpoints can be read, and are of the trials that they are called after."""
    for name in results.files(CHECKPOINTS):
        if not name.endswith(".pt") or _DRAFT.fullmatch(name):
            continue
        try:
            run = unpack(results.read_bytes(f"{CHECKPOINTS}/{name}") or b"").of["run_id"]
        except OSError as error:
            yield unread(results, f"{CHECKPOINTS}/{name}", error)
            continue
        except ValueError as error:
            yield Finding(f"{CHECKPOINTS}/{name}", str(error))
            continue
        if checkpoint_of(run) != f"{CHECKPOINTS}/{name}":
            yield Finding(f"{CHECKPOINTS}/{name}", f"a checkpoint of {run}")


def examine_companions(results: Results, study: Study | None) -> Iterator[Finding]:
    """Files of trials that have no row in ``trials/``, and the other way round."""
    ended = {f"{run}.parquet": rows for run, rows in read_trials(results).items()}
    then = "to have it again, move {} away, and the trial is run again when the study goes on"
    for table, name in results.gone(ended, probed=study is not None and bool(study.probes)):
        what = f"gone, though its trial is complete; {then.format(f'trials/{name}')}"
        yield Finding(f"{table}/{name}", what)
    for table in ("tasks", "curves", "steps", "probes"):
        for name in results.table_files(table):
            if name not in ended:
                what = "of a trial that has not ended; written again when it is run"
                yield Finding(f"{table}/{name}", what, "note")
            elif table in ("curves", "steps") and is_whole(ended[name]):
                problem = _problem_of_length(results, table, name, ended[name])
                if problem is not None:
                    what = f"{problem}; {then.format(f'trials/{name}')}"
                    yield Finding(f"{table}/{name}", what)


def _problem_of_length(results: Results, table: Table, name: str, ended: pa.Table) -> str | None:
    """Why curves or steps are not those of a whole run; None if they are, or cannot be read."""
    try:
        rows = results.read_file(table, name)
    except (OSError, UserError):
        return None  # which was told already
    counted = "count_distinct" if table == "steps" else "max"
    found = rows.group_by("seed").aggregate([("iteration", counted)])
    lengths = dict(zip(*(found[i].to_pylist() for i in found.column_names), strict=True))
    for seed, iterations in zip(
        ended["seed"].to_pylist(), ended["iterations"].to_pylist(), strict=True
    ):
        if lengths.get(seed, 0) != iterations:
            return f"{lengths.get(seed, 0)} iterations of seed {seed} instead of {iterations}"
    return None


def strangers(results: Results) -> Iterator[Finding]:
    """What ngm-tune has not made, or has not finished making."""
    places = [("", _FILES, ""), *((f"{table}/", set(), ".parquet") for table in get_args(Table))]
    places += [(f"{CHECKPOINTS}/", set(), ".pt")]
    for folder, known, ending in places:
        for name in results.files(folder.rstrip("/")):
            if _DRAFT.fullmatch(name):
                what = "left by a process that was killed while it wrote; nothing reads it"
                yield Finding(f"{folder}{name}", what, "note")
            elif not folder and name in _NEEDED:
                continue  # which was told already
            elif name not in known and not (ending and name.endswith(ending)):
                yield Finding(f"{folder}{name}", "not of ngm-tune, left alone", "note")
    for folder in ("", *get_args(Table), CHECKPOINTS):
        if results.nameless(folder):
            what = (
                f"{results.nameless(folder)} whose names are no text, not of ngm-tune, left alone"
            )
            yield Finding(f"{folder or '.'}/", what, "note")
    for name in results.folders():
        if name not in _FOLDERS | _FILES:
            yield Finding(f"{name}/", "not of ngm-tune, left alone", "note")
