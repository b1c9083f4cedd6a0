"""Looking at a results directory from one end to the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import get_args

from ngm_tune.errors import UserError
from ngm_tune.results.directory import DAMAGED, LOCK, Results
from ngm_tune.results.schema import Table
from ngm_tune.workspace.doctor.files import (
    A_FOLDER,
    examine_checkpoints,
    examine_companions,
    examine_environment,
    examine_tables,
    files_for_folders,
    folders_for_files,
    strangers,
)
from ngm_tune.workspace.doctor.finding import Finding, quarantine
from ngm_tune.workspace.doctor.journal import examine_journal
from ngm_tune.workspace.doctor.study import examine_study
from ngm_tune.workspace.lock import holder_of, study_lock


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
        # What is damaged is moved to a folder, for which there may be no room.
        repair = repair and DAMAGED not in results.files()
        if repair and LOCK in results.folders():  # nobody can hold the study by it
            found.append(quarantine(results, Finding(LOCK, A_FOLDER)))
        found += _lease(results)
        if not repair or any(finding.kind == "damage" and not finding.mended for finding in found):
            return found + _looked_at(results, repair=False)
        with study_lock(results, lambda reason: None):
            return found + _looked_at(results, repair=True)
    except OSError as error:
        hint = "; with --look nothing need be written" if repair else ""
        raise UserError(f"{location}: cannot be read or written: {error}{hint}") from error


def _looked_at(results: Results, *, repair: bool) -> list[Finding]:
    def seen_to(harmed: Iterable[Finding]) -> list[Finding]:
        return [quarantine(results, finding) if repair else finding for finding in harmed]

    found = seen_to([*folders_for_files(results), *files_for_folders(results)])
    study, problems = examine_study(results, repair=repair)
    found += problems
    found += seen_to(
        [
            *examine_environment(results),
            *examine_tables(results, study),
            *examine_checkpoints(results),
        ]
    )
    if not any(finding.kind == "unread" for finding in found):  # else it would tell of a part
        found += examine_journal(results, study, repair=repair)
    return [*found, *examine_companions(results, study), *strangers(results)]


def _lease(results: Results) -> Iterator[Finding]:
    if not results.has(LOCK):
        return
    holder = holder_of(results)
    if holder is None:
        yield Finding(LOCK, "left by a driver that is dead; the next one takes its place", "note")
    else:
        yield Finding(LOCK, f"the study is being run by {holder}, so nothing is mended now")
