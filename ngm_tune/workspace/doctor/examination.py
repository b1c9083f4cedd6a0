"""The examination of a whole results directory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import get_args

from ngm_tune.errors import UserError
from ngm_tune.results.directory import DAMAGED, LOCK, Results
from ngm_tune.results.schema import Table
from ngm_tune.workspace.doctor.files import (
    FOLDER_INSTEAD_OF_FILE,
    examine_checkpoints,
    examine_companions,
    examine_environment,
    examine_tables,
    find_files_instead_of_folders,
    find_folders_instead_of_files,
    find_foreign_files,
)
from ngm_tune.workspace.doctor.finding import Finding, quarantine
from ngm_tune.workspace.doctor.journal import examine_journal
from ngm_tune.workspace.doctor.study import examine_study
from ngm_tune.workspace.lock import find_lock_holder, study_lock
from ngm_tune.workspace.method_files import require_files


def examine(location: str, *, repair: bool = True) -> list[Finding]:
    """Find the problems of a results directory, and repair them if possible.

    Args:
        location: The results directory.
        repair: Repair damage, unless a driver is running the study.

    Raises:
        UserError: The directory contains no results, cannot be read or written, or a file of its
            methods is not given.
    """
    results = Results(location)
    if not set(results.list_folders()) & set(get_args(Table)):
        results.require_study()
    require_files(results)
    try:
        findings = []
        can_quarantine = DAMAGED not in results.list_files()
        repair = repair and can_quarantine
        if repair and LOCK in results.list_folders():  # a folder cannot be the lock of a driver
            findings.append(quarantine(results, Finding(LOCK, FOLDER_INSTEAD_OF_FILE)))
        findings += _examine_lock(results)
        is_locked = any(f.kind == "damage" and f.repair is None for f in findings)
        if not repair or is_locked:
            return findings + _examine_files(results, repair=False)
        with study_lock(results, lambda reason: None):
            return findings + _examine_files(results, repair=True)
    except OSError as error:
        hint = "; --look examines it without writing" if repair else ""
        raise UserError(f"{location}: cannot be read or written: {error}{hint}") from error


def _examine_files(results: Results, *, repair: bool) -> list[Finding]:
    """Return the findings about all files except the lock."""

    def quarantine_damage(findings: Iterable[Finding]) -> list[Finding]:
        return [quarantine(results, finding) if repair else finding for finding in findings]

    findings = quarantine_damage(
        [*find_folders_instead_of_files(results), *find_files_instead_of_folders(results)]
    )
    study, study_findings = examine_study(results, repair=repair)
    findings += study_findings
    findings += quarantine_damage(
        [
            *examine_environment(results),
            *examine_tables(results, study),
            *examine_checkpoints(results),
        ]
    )
    if not any(finding.kind == "unreadable" for finding in findings):
        # The journal can only be compared with all trials.
        findings += examine_journal(results, study, repair=repair)
    return [*findings, *examine_companions(results, study), *find_foreign_files(results)]


def _examine_lock(results: Results) -> Iterator[Finding]:
    """Report the lock, if one exists, and whether its driver is alive."""
    if not results.has(LOCK):
        return
    holder = find_lock_holder(results)
    if holder is None:
        yield Finding(
            LOCK, "the lock of a driver that no longer runs; the next driver replaces it", "note"
        )
    else:
        yield Finding(LOCK, f"the study is being run by {holder}; nothing is repaired meanwhile")
