"""The study that a results directory is of: its file, and the copy beside it."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from ngm_tune.doctor.files import read_trials
from ngm_tune.doctor.finding import Finding, unread
from ngm_tune.errors import UserError
from ngm_tune.opening import kept_study, problem_of_trial, study_in
from ngm_tune.results import ENVIRONMENT, STUDY, Results, reason_of
from ngm_tune.study import Study


def examine_study(results: Results, *, repair: bool) -> tuple[Study | None, list[Finding]]:
    """The study that the directory is of, as far as that is known, and what is wrong with its file.

    It is that of ``study.toml``, unless most of the files in ``trials/`` are of another; where more
    of them are of the study that ``environment.json`` has, it is that one.
    """
    runs = read_trials(results)
    try:
        there, problem = _study_there(results, runs)
    except OSError as error:
        return None, [unread(results, STUDY, error)]
    kept = _study_kept(results, runs)
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


def _study_kept(results: Results, runs: Mapping[str, pa.Table]) -> Study | None:
    """The study of ``environment.json``; None if it has none, or one that is not of most runs."""
    try:
        study = study_in(results.environment(), ENVIRONMENT)
    except (OSError, UserError):
        return None  # of which a damaged file is told elsewhere
    return study if study and 2 * len(_none_of(study, runs)) <= len(runs) else None


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
