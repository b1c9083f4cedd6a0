"""Optuna's record of a search, held against what is in ``trials/``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from ngm_tune.errors import UserError
from ngm_tune.results.directory import JOURNAL, Results
from ngm_tune.search.optuna_journal import LINK, cut_tail, is_link, open_storage
from ngm_tune.study.plan import StudyPlan
from ngm_tune.study.study import Study
from ngm_tune.workspace.doctor.finding import Finding, unread
from ngm_tune.workspace.resume import outcomes_of, reconciled, sources_of


def examine_journal(results: Results, study: Study | None, *, repair: bool) -> Iterator[Finding]:
    """What is wrong with Optuna's record; it is made anew from ``trials/`` if there is a study."""
    if is_link(results):
        yield Finding(JOURNAL, f"{LINK}; put the file itself there")
        return
    try:
        before = results.read_bytes(JOURNAL)
    except OSError as error:
        yield unread(results, JOURNAL, error)
        return
    searched = study is not None and study.settings is None
    found: Finding | None = None
    if before is not None:
        whole = before[: before.rfind(b"\n") + 1]
        state = _state_of(whole, study, results)
        if state == "damaged":
            found = Finding(JOURNAL, "not readable as Optuna's journal of this study")
            if repair and searched:
                place = results.quarantine(JOURNAL)
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
            with reconciled(StudyPlan.resolve(study), results):
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
            if study is not None:
                plan = StudyPlan.resolve(study)
                for source in sources_of(plan, storage, outcomes_of(known, plan)):
                    source.close()
        except OSError:
            raise
        except Exception:  # whatever somebody's lines make Optuna raise
            return "damaged"
        return "well" if path.read_bytes() == content else "behind"
