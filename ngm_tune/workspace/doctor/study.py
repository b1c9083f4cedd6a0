"""The examination of the manifest: ``study.toml`` and its copy in ``environment.json``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from ngm_tune.errors import UserError
from ngm_tune.results.directory import ENVIRONMENT, STUDY, Results
from ngm_tune.study.plan import StudyPlan
from ngm_tune.study.study import Study
from ngm_tune.workspace.doctor.files import read_trials
from ngm_tune.workspace.doctor.finding import Finding, quarantine, report_unreadable
from ngm_tune.workspace.manifest import (
    extend_to_runs,
    find_differences,
    load_stored_study,
    load_study_copy,
    write_study,
)
from ngm_tune.workspace.resume import find_trial_problem

Runs = Mapping[str, pa.Table]
"""Rows in ``trials/``, by run id."""

_NO_NAME = "the key 'name' is missing"


def examine_study(results: Results, *, repair: bool) -> tuple[Study | None, list[Finding]]:
    """Determine the study of a results directory, and examine its manifest.

    If ``study.toml`` and the copy in ``environment.json`` agree, they contain the study. Otherwise
    the study is that of the copy, or else that of the file, if at least half of the files in
    ``trials/`` belong to it. Both can be older than the last extension of the study.

    Returns:
        The study, and the findings about the manifest. The study is None if it is unknown.
    """
    runs = read_trials(results)
    copy = load_study_copy(results)
    try:
        stored, problem = _load_study_file(results, copy, runs)
    except OSError as error:
        return None, [report_unreadable(results, STUDY, error)]
    agree = stored is not None and copy is not None and not find_differences(stored, copy)
    for candidate in (stored,) if agree else (copy, stored):
        if candidate is None:
            continue
        study = extend_to_runs(candidate, runs)
        mismatches = _find_mismatches(study, runs)
        if agree or 2 * len(mismatches) <= len(runs):
            findings = [*_examine_study_file(results, stored, study, problem, repair=repair)]
            if copy is not None and find_differences(study, copy):
                foreign = Finding(ENVIRONMENT, "contains a different study than trials/")
                findings.append(quarantine(results, foreign) if repair else foreign)
            return study, findings
        run, reason = next(iter(mismatches.items()))
        problem = problem or (
            f"does not match {len(mismatches)} of the {len(runs)} files in trials/, such as "
            f"{run}.parquet: {reason}"
        )
    return None, [Finding(STUDY, f"{problem}; restore the original study file under this name")]


def _load_study_file(results: Results, copy: Study | None, runs: Runs) -> tuple[Study | None, str]:
    """Load ``study.toml``.

    A missing name is taken from the copy of the study or from the trials.

    Returns:
        The study and an empty text, or None and the reason why the file contains no study.

    Raises:
        OSError: The file cannot be read.
    """
    if results.read_bytes(STUDY) is None:
        return None, "missing"
    names = [rows["study"][0].as_py() for rows in runs.values()]
    name = copy.name if copy is not None else next(filter(None, names), None)
    try:
        if name is None and "name" not in results.read_study():
            return None, _NO_NAME
        return load_stored_study(results, name or ""), ""
    except UserError as error:
        return None, error.reason


def _examine_study_file(
    results: Results, stored: Study | None, study: Study, problem: str, *, repair: bool
) -> Iterator[Finding]:
    """Examine ``study.toml``; a repair rewrites it.

    Args:
        results: The results directory.
        stored: The study in the file; None if the file contains no study.
        study: The study to which the trials belong.
        problem: Why the file contains no study.
        repair: Whether to repair it.
    """
    if stored is None:
        finding = Finding(STUDY, problem)
    elif differences := find_differences(study, stored):
        finding = Finding(STUDY, f"a different study than in trials/: {'; '.join(differences)}")
    elif added := [
        *_added(study.methods, stored.methods),
        *_added(study.benchmarks, stored.benchmarks),
    ]:
        finding = Finding(STUDY, f"lacks {', '.join(added)}, of which trials/ contains runs")
    elif study.searches > stored.searches:
        finding = Finding(
            STUDY,
            f"searches = {stored.searches}, but trials/ contains {study.searches} repetitions",
        )
    elif study.confirm.seeds > stored.confirm.seeds:
        finding = Finding(
            STUDY,
            f"confirm.seeds = {stored.confirm.seeds}, but trials/ contains a confirmation with "
            f"{study.confirm.seeds} seeds",
        )
    elif study.confirm.transfer and not stored.confirm.transfer:
        finding = Finding(
            STUDY, "confirm.transfer = false, but trials/ contains transfers between benchmarks"
        )
    elif study.trials > stored.trials:
        finding = Finding(
            STUDY,
            f"trials = {stored.trials}, but trials/ contains a search with {study.trials} trials",
        )
    elif "name" not in results.read_study():
        finding = Finding(STUDY, _NO_NAME, "note")
    else:
        return
    if repair:
        quarantined = write_study(study, results)
        text = "rewritten to match trials/"
        finding = finding._replace(
            repair=f"{text}; the previous file was moved to {quarantined}" if quarantined else text
        )
    yield finding


def _find_mismatches(study: Study, runs: Runs) -> dict[str, str]:
    """Return the runs that cannot belong to the study, with the reason for each."""
    plan = StudyPlan.resolve(study)
    problems = {run: find_trial_problem(run, rows, plan) for run, rows in runs.items()}
    return {run: problem for run, problem in problems.items() if problem is not None}


def _added(names: Sequence[str], stored: Sequence[str]) -> list[str]:
    """Return the names that a stored study lacks."""
    return [name for name in names if name not in stored]
