"""The study that a results directory is of: its file, and the copy beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pyarrow as pa

from ngm_tune.errors import UserError
from ngm_tune.results.directory import ENVIRONMENT, STUDY, Results, reason_of
from ngm_tune.study.plan import StudyPlan
from ngm_tune.study.study import Study
from ngm_tune.workspace.doctor.files import read_trials
from ngm_tune.workspace.doctor.finding import Finding, quarantine, unread
from ngm_tune.workspace.manifest import (
    copied_study,
    differences,
    extended,
    stored_study,
    write_study,
)
from ngm_tune.workspace.resume import problem_of_trial

Runs = Mapping[str, pa.Table]


def examine_study(results: Results, *, repair: bool) -> tuple[Study | None, list[Finding]]:
    """The study that the directory is of, as far as that is known, and what is wrong with its file.

    Where ``study.toml`` and the copy in ``environment.json`` agree it is that one. Else it is the
    first, the copy before the file, that most of the files in ``trials/`` are of. Either may be
    from before the study was extended.
    """
    runs = read_trials(results)
    copy = copied_study(results)
    try:
        there, problem = _study_there(results, copy, runs)
    except OSError as error:
        return None, [unread(results, STUDY, error)]
    agreed = there is not None and copy is not None and not differences(there, copy)
    for candidate in (there,) if agreed else (copy, there):
        if candidate is None:
            continue
        study = extended(candidate, runs)
        strange = _none_of(study, runs)
        if agreed or 2 * len(strange) <= len(runs):
            findings = [*_of_the_file(results, there, study, problem, repair=repair)]
            if copy is not None and differences(copy, study):
                foreign = Finding(ENVIRONMENT, "has another study than the trials are of")
                findings.append(quarantine(results, foreign) if repair else foreign)
            return study, findings
        run, reason = next(iter(strange.items()))
        problem = problem or (
            f"not the study of {len(strange)} of the {len(runs)} files in trials/, such as "
            f"{run}.parquet: {reason}"
        )
    return None, [Finding(STUDY, f"{problem}; put the study's file there as it was run")]


def _study_there(results: Results, copy: Study | None, runs: Runs) -> tuple[Study | None, str]:
    """The study of ``study.toml``, or why there is none; it may lack a name, which others have.

    Raises:
        OSError: It cannot be read.
    """
    if results.read_bytes(STUDY) is None:
        return None, "gone"
    names = [rows["study"][0].as_py() for rows in runs.values()]
    known = copy.name if copy is not None else next(filter(None, names), None)
    try:
        if known is None and "name" not in results.study():
            return None, "says no name of the study"
        return stored_study(results, known or ""), ""
    except UserError as error:
        return None, reason_of(error, STUDY)


def _of_the_file(
    results: Results, there: Study | None, study: Study, problem: str, *, repair: bool
) -> Iterator[Finding]:
    """What is wrong with ``study.toml`` where the study is known."""
    nameless = there is not None and "name" not in results.study()
    if there is None:
        found = Finding(STUDY, problem)
    elif others := differences(study, there):
        found = Finding(STUDY, f"another study than the trials are of: {'; '.join(others)}")
    elif study.trials > there.trials:
        found = Finding(STUDY, f"trials = {there.trials}, and there are runs of {study.trials}")
    elif nameless:
        found = Finding(STUDY, "says no name of the study", "note")
    else:
        return
    if repair:
        place = write_study(study, results)
        mended = "written again as the study was run"
        found = found._replace(
            mended=f"{mended}; what was there was moved to {place}" if place else mended
        )
    yield found


def _none_of(study: Study, runs: Runs) -> dict[str, str]:
    """Runs that are none of a study, and why."""
    plan = StudyPlan.resolve(study)
    problems = {run: problem_of_trial(run, rows, plan) for run, rows in runs.items()}
    return {run: problem for run, problem in problems.items() if problem is not None}
