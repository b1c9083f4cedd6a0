"""The examination of the search record in Optuna's journal against ``trials/``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from ngm_tune.errors import UserError
from ngm_tune.results.directory import JOURNAL, Results
from ngm_tune.search.optuna_journal import (
    SYMLINK_REFUSED,
    is_symlink,
    open_storage,
    quarantine_incomplete_line,
)
from ngm_tune.study.plan import StudyPlan
from ngm_tune.study.study import Study
from ngm_tune.workspace.doctor.finding import Finding, report_unreadable
from ngm_tune.workspace.resume import create_sources, read_outcomes, reconcile_record

_OUT_OF_DATE = "older than the results in trials/"


def examine_journal(results: Results, study: Study | None, *, repair: bool) -> Iterator[Finding]:
    """Examine Optuna's journal; a repair rebuilds it from ``trials/`` if the study is known.

    A study with settings has no search to record, so its journal is not created if it is missing.
    """
    if is_symlink(results):
        yield Finding(JOURNAL, f"{SYMLINK_REFUSED}; replace the link with the file itself")
        return
    try:
        content = results.read_bytes(JOURNAL)
    except OSError as error:
        yield report_unreadable(results, JOURNAL, error)
        return
    finding: Finding | None = None
    if content is not None:
        complete_lines = content[: content.rfind(b"\n") + 1]
        state = _determine_state(complete_lines, study, results)
        if state == "damaged":
            finding = Finding(JOURNAL, "not readable as the Optuna journal of this study")
            if repair and study is not None:
                quarantined = results.quarantine(JOURNAL)
                finding = finding._replace(repair=f"moved to {quarantined}; rebuilt from trials/")
        elif len(complete_lines) < len(content):
            finding = Finding(JOURNAL, "its last line is incomplete")
            if repair:
                finding = finding._replace(
                    repair=f"moved the line to {quarantine_incomplete_line(results)}"
                )
        elif state == "out of date" and not repair:
            finding = Finding(JOURNAL, _OUT_OF_DATE, "note")
    if finding is not None:
        yield finding
    is_expected = study is not None and (study.settings is None or content is not None)
    if repair and study is not None and is_expected:
        before = results.read_bytes(JOURNAL)
        try:
            with reconcile_record(StudyPlan.resolve(study), results):
                pass
        except UserError as error:
            yield Finding(JOURNAL, f"cannot be brought up to date: {error}")
            return
        if finding is None and results.read_bytes(JOURNAL) != before:
            yield Finding(JOURNAL, _OUT_OF_DATE, "note", "brought up to date")


def _determine_state(
    content: bytes, study: Study | None, results: Results
) -> Literal["damaged", "out of date", "up to date"]:
    """Determine whether Optuna can read a journal and whether it agrees with ``trials/``.

    Args:
        content: Content of the journal.
        study: The study; None if unknown, and then the journal is not compared with ``trials/``.
        results: The results directory.
    """
    readable_results = Results(results.location, tolerant=True)
    with TemporaryDirectory(prefix="ngm-tune-") as folder:
        path = Path(folder) / JOURNAL
        path.write_bytes(content)
        try:
            storage = open_storage(path)
            if study is not None:
                plan = StudyPlan.resolve(study)
                outcomes = read_outcomes(readable_results, plan)
                for source in create_sources(plan, storage, outcomes):
                    source.close()
        except OSError:
            raise
        except Exception:  # damaged lines make Optuna raise anything
            return "damaged"
        return "up to date" if path.read_bytes() == content else "out of date"
