"""What is wrong with a results directory, and putting right what can be.

Nothing is ever deleted: what cannot be read is moved to ``damaged/`` in the directory, and then the
study, run again, makes it anew. What is in ``trials/`` is the truth; Optuna's record follows it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, NamedTuple, get_args

import pyarrow as pa

from ngm_tune.checkpoints import checkpoint_of, unpack
from ngm_tune.errors import NewerResultsError, UserError
from ngm_tune.lease import holder_of, lease
from ngm_tune.opening import (
    arms_of,
    kept_study,
    outcomes_of,
    problem_of_trial,
    reconciled,
    study_in,
)
from ngm_tune.record import LINK, cut_tail, is_link, open_storage
from ngm_tune.results import (
    CHECKPOINTS,
    DAMAGED,
    ENVIRONMENT,
    FAILURES,
    JOURNAL,
    LEASE,
    REPORT,
    STUDY,
    Results,
    is_whole,
    reason_of,
)
from ngm_tune.schema import SCHEMA_VERSION, Table, version_of
from ngm_tune.study import Study

_DRAFT = re.compile(r"\..+\.[0-9a-f]{32}")
_FILES = {STUDY, ENVIRONMENT, JOURNAL, LEASE, "defaults.toml"}
_FOLDER = "a folder where a file should be"
_FOLDERS = {*get_args(Table), CHECKPOINTS, FAILURES, DAMAGED, REPORT, "tune"}


class Finding(NamedTuple):
    """Something about a file.

    Attributes:
        name: The file, as seen from the directory.
        what: What is the matter with it.
        kind: ``damage``; ``newer`` for results of a later version and ``unread`` for what the disk
            or its permissions do not give, which both stay where they are; or ``note`` for what
            does no harm.
        mended: What was done about it; None if nothing was or can be.
    """

    name: str
    what: str
    kind: Literal["damage", "newer", "unread", "note"] = "damage"
    mended: str | None = None


def examine(location: str, *, repair: bool = True) -> list[Finding]:
    """Everything that is the matter with a results directory.

    Args:
        location: The results directory.
        repair: Mend what can be mended, unless a driver is running the study at the moment.

    Raises:
        UserError: There are no results, or the directory cannot be read or written.
    """
    results = Results(location)
    if not set(results.folders()) & set(get_args(Table)):
        results.require()
    try:
        found = []
        if repair and LEASE in results.folders():  # nobody can hold the study by it
            found.append(_set_aside(results, Finding(LEASE, _FOLDER)))
        found += _lease(results)
        if not repair or any(finding.kind == "damage" and not finding.mended for finding in found):
            return found + _looked_at(results, repair=False)
        with lease(results, lambda reason: None):
            return found + _looked_at(results, repair=True)
    except OSError as error:
        hint = "; with --look nothing need be written" if repair else ""
        raise UserError(f"{location}: cannot be read or written: {error}{hint}") from error


def _looked_at(results: Results, *, repair: bool) -> list[Finding]:
    def seen_to(harmed: Iterable[Finding]) -> list[Finding]:
        return [_set_aside(results, finding) if repair else finding for finding in harmed]

    found = seen_to([*_folders_for_files(results), *_environment(results)])
    study, problems = _study(results, repair=repair)
    found += problems
    found += seen_to([*_tables(results, study), *_checkpoints(results)])
    if not any(finding.kind == "unread" for finding in found):  # else it would tell of a part
        found += _journal(results, study, repair=repair)
    return [*found, *_companions(results, study), *_strangers(results)]


def _set_aside(results: Results, finding: Finding) -> Finding:
    if finding.kind != "damage":
        return finding
    place = results.set_aside(finding.name)
    table = finding.name.partition("/")[0]
    then = {
        "trials": "; what the study lacks now is run again when it goes on",
        "checkpoints": "; its trial starts from its first task",
        "environment.json": "; written again when the study goes on",
    }.get(table, "")
    return finding._replace(mended=f"moved to {place}{then}")


def _lease(results: Results) -> Iterator[Finding]:
    if not results.has(LEASE):
        return
    holder = holder_of(results)
    if holder is None:
        yield Finding(LEASE, "left by a driver that is dead; the next one takes its place", "note")
    else:
        yield Finding(LEASE, f"the study is being run by {holder}, so nothing is mended now")


def _study(results: Results, *, repair: bool) -> tuple[Study | None, list[Finding]]:
    """The study that the directory is of, as far as that is known, and what is wrong with its file.

    It is that of ``study.toml``, unless most of the files in ``trials/`` are of another; where more
    of them are of the study that ``environment.json`` has, it is that one.
    """
    runs = _trials(results)
    try:
        there, problem = _study_there(results, runs)
    except OSError as error:
        return None, [_unread(results, STUDY, error)]
    kept = _study_kept(results)
    strange = {} if there is None else _none_of(there, runs)
    if strange:
        run, reason = next(iter(strange.items()))
        problem = (
            f"not the study of {len(strange)} of the {len(runs)} files in trials/, such as "
            f"{run}.parquet: {reason}"
        )
    if kept is not None and (there is None or len(_none_of(kept, runs)) < len(strange)):
        mended = _restored(results, kept) if repair else None
        return kept, [Finding(STUDY, problem, mended=mended)]
    if there is None or 2 * len(strange) > len(runs):
        return None, [Finding(STUDY, f"{problem}; put the study's file there as it was run")]
    if "name" in results.study():
        return there, []
    if repair:
        results.write_text(STUDY, there.to_toml())
    mended = f"called {there.name}" if repair else None
    return there, [Finding(STUDY, "says no name of the study", "note", mended)]


def _study_there(results: Results, runs: Mapping[str, pa.Table]) -> tuple[Study | None, str]:
    """The study of ``study.toml``, or why there is none; it may lack a name, which trials have.

    Raises:
        OSError: It cannot be read.
    """
    if results.read_bytes(STUDY) is None:
        return None, "gone"
    names = [rows["study"][0].as_py() for rows in runs.values()]
    try:
        return kept_study(results, {}, str(next(iter(names), "study"))), ""
    except UserError as error:
        return None, reason_of(error, STUDY)


def _study_kept(results: Results) -> Study | None:
    """The study of ``environment.json``; None if it has none of this version."""
    try:
        return study_in(results.environment(), ENVIRONMENT)
    except (OSError, UserError):
        return None  # of which a damaged file is told elsewhere


def _trials(results: Results) -> dict[str, pa.Table]:
    """The rows of each run in ``trials/``, but for what cannot be read, which is told elsewhere."""
    found = {}
    for name in results.table_files("trials"):
        with suppress(OSError, UserError):
            found[name.removesuffix(".parquet")] = results.read_file("trials", name)
    return found


def _none_of(study: Study, runs: Mapping[str, pa.Table]) -> dict[str, str]:
    """Runs that are none of a study, and why."""
    problems = {run: problem_of_trial(run, rows, study) for run, rows in runs.items()}
    return {run: problem for run, problem in problems.items() if problem is not None}


def _restored(results: Results, study: Study) -> str:
    """Put a study where it belongs; what was done."""
    place = results.set_aside(STUDY) if results.exists() else None
    results.write_text(STUDY, study.to_toml())
    what = f"written again from {ENVIRONMENT}, as the study was run"
    return f"{what}; what was there was moved to {place}" if place else what


def _folders_for_files(results: Results) -> Iterator[Finding]:
    for folder in ("", *get_args(Table), CHECKPOINTS):
        for name in results.folders(folder):
            if name in _FILES if folder == "" else name.endswith((".parquet", ".pt")):
                yield Finding(f"{folder}/{name}".lstrip("/"), _FOLDER)


def _unread(results: Results, name: str, error: OSError) -> Finding:
    """A file that cannot be read; where all are behind a network, that is what is the matter."""
    if results.folder is None:
        raise error
    return Finding(name, f"cannot be read: {error.strerror or error}", "unread")


def _environment(results: Results) -> Iterator[Finding]:
    try:
        results.read_bytes(ENVIRONMENT)
        results.environment()
    except OSError as error:
        yield _unread(results, ENVIRONMENT, error)
    except UserError as error:
        yield Finding(ENVIRONMENT, reason_of(error, ENVIRONMENT))


def _tables(results: Results, study: Study | None) -> Iterator[Finding]:
    for table in get_args(Table):
        for name in results.table_files(table):
            try:
                rows = results.read_file(table, name)
            except OSError as error:
                yield _unread(results, f"{table}/{name}", error)
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
            of_study = study if table == "trials" else None
            problem = problem_of_trial(run, rows, of_study) if of_study else None
            if problem is not None:
                yield Finding(f"{table}/{name}", problem)
            elif (version := version_of(rows.schema)) != SCHEMA_VERSION:
                what = f"schema version {version}, an older one that is read as it is"
                yield Finding(f"{table}/{name}", what, "note")


def _checkpoints(results: Results) -> Iterator[Finding]:
    for name in results.files(CHECKPOINTS):
        if not name.endswith(".pt") or _DRAFT.fullmatch(name):
            continue
        try:
            run = unpack(results.read_bytes(f"{CHECKPOINTS}/{name}") or b"").of["run_id"]
        except OSError as error:
            yield _unread(results, f"{CHECKPOINTS}/{name}", error)
            continue
        except ValueError as error:
            yield Finding(f"{CHECKPOINTS}/{name}", str(error))
            continue
        if checkpoint_of(run) != f"{CHECKPOINTS}/{name}":
            yield Finding(f"{CHECKPOINTS}/{name}", f"a checkpoint of {run}")


def _journal(results: Results, study: Study | None, *, repair: bool) -> Iterator[Finding]:
    """What is wrong with Optuna's record; it is made anew from ``trials/`` if there is a study."""
    if is_link(results):
        yield Finding(JOURNAL, f"{LINK}; put the file itself there")
        return
    try:
        before = results.read_bytes(JOURNAL)
    except OSError as error:
        yield _unread(results, JOURNAL, error)
        return
    searched = study is not None and study.settings is None
    found: Finding | None = None
    if before is not None:
        whole = before[: before.rfind(b"\n") + 1]
        state = _state_of(whole, study, results)
        if state == "damaged":
            found = Finding(JOURNAL, "not readable as Optuna's journal of this study")
            if repair and searched:
                place = results.set_aside(JOURNAL)
                found = found._replace(mended=f"moved to {place}; made anew from trials/")
        elif len(whole) < len(before):
            found = Finding(JOURNAL, "its last line was cut off while it was written")
            if repair:
                found = found._replace(mended=f"the line was moved to {cut_tail(results)}")
        elif state == "behind" and not repair:
            found = Finding(JOURNAL, "behind what is in trials/", "note")
    if found is not None:
        yield found
    if repair and searched and study is not None:
        start = results.read_bytes(JOURNAL)
        try:
            with reconciled(study, results):
                pass
        except UserError as error:
            yield Finding(JOURNAL, f"not brought up to date: {error}")
            return
        if found is None and results.read_bytes(JOURNAL) != start:
            yield Finding(JOURNAL, "behind what is in trials/", "note", "brought up to date")


def _state_of(
    content: bytes, study: Study | None, results: Results
) -> Literal["damaged", "behind", "well"]:
    """Whether Optuna can read a journal, and it is the record of what is in ``trials/``."""
    known = Results(results.location, tolerant=True)
    with TemporaryDirectory(prefix="ngm-tune-") as scratch:
        path = Path(scratch) / JOURNAL
        path.write_bytes(content)
        try:
            storage = open_storage(path)
            for arm in arms_of(study, storage, outcomes_of(known, study)) if study else ():
                arm.close()
        except OSError:
            raise
        except Exception:  # whatever somebody's lines make Optuna raise
            return "damaged"
        return "well" if path.read_bytes() == content else "behind"


def _companions(results: Results, study: Study | None) -> Iterator[Finding]:
    """Files of trials that have no row in ``trials/``, and the other way round."""
    ended = {f"{run}.parquet": rows for run, rows in _trials(results).items()}
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


def _strangers(results: Results) -> Iterator[Finding]:
    """What ngm-tune has not made, or has not finished making."""
    places = [("", _FILES, ""), *((f"{table}/", set(), ".parquet") for table in get_args(Table))]
    places += [(f"{CHECKPOINTS}/", set(), ".pt")]
    for folder, known, ending in places:
        for name in results.files(folder.rstrip("/")):
            if _DRAFT.fullmatch(name):
                what = "left by a process that was killed while it wrote; nothing reads it"
                yield Finding(f"{folder}{name}", what, "note")
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
