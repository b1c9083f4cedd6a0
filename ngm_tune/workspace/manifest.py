"""Which study a results directory is of: what its files say, and what may change of it.

``study.toml`` has it, and ``environment.json`` has it once more, so that one that is lost, damaged
or replaced can be told and put back.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from contextlib import suppress

from ngm_tune.errors import UserError
from ngm_tune.results.directory import ENVIRONMENT, STUDY, Results
from ngm_tune.results.ids import number_of, trial_of
from ngm_tune.results.legacy_keys import with_current_keys
from ngm_tune.study.files import validate_study
from ngm_tune.study.plan import StudyPlan
from ngm_tune.study.study import Study
from ngm_tune.workspace.provenance import describe_environment

_MAY_CHANGE = {"title", "trials", "confirm", "cost", "resources"}


def write_manifest(plan: StudyPlan, results: Results) -> None:
    """Have a results directory say what is run in it, unless that is another study.

    Raises:
        UserError: It holds another study, or its files do not say which.
    """
    study = plan.study
    trials = results.table_files("trials")
    try:
        environment = results.environment()
        there = stored_study(results, study.name)
    except UserError as error:
        hint = f"`{results.doctor}` mends what can be"
        raise UserError(f"{error}; {hint}") from error
    copy = copied_study(results)
    for found in (there, copy):
        if found is not None:
            _require_same(study, found, results.location)
    if there is None and copy is None and trials:
        raise UserError(
            f"{results.location}: there are trials, but the {STUDY} that they are of is gone; put "
            f"that study's file there as {STUDY}, or choose another directory with --results"
        )
    if there != study or "name" not in results.study():
        write_study(study, results)
    if not environment:
        environment = describe_environment(plan)
        if trials:  # which were begun another time, perhaps elsewhere
            environment["resumed"] = environment.pop("started")
    if environment.get("study") != study.content():
        results.write_environment(environment | {"study": study.content()})


def record_data(results: Results, benchmark: str, checksum: str, *, begun: bool) -> bool:
    """Have a results directory say of what data its runs of a benchmark are.

    Where that was not said of runs that there are, it stays open.

    Args:
        results: The directory.
        benchmark: Of the study.
        checksum: Of the data (:meth:`ngm_tune.benchmarks.TaskData.checksum`).
        begun: Whether there are runs of it already, or parts of some.

    Returns:
        Whether there are runs of other data, too.
    """
    environment = results.environment()
    data = environment.get("data", {})
    known = data.get(benchmark, []) if begun else []
    if begun and not known:
        return False
    now = known if checksum in known else [*known, checksum]
    if data.get(benchmark) != now:
        results.write_environment(environment | {"data": data | {benchmark: now}})
    return len(now) > 1


def write_study(study: Study, results: Results) -> str | None:
    """Write ``study.toml``; where what was there is now, unless ngm-tune wrote it of this study."""
    before = results.read_bytes(STUDY)
    place = None
    if before is not None and not _is_former(before, study, results):
        place = results.quarantine(STUDY)
    results.write_text(STUDY, study.to_toml())
    return place


def _is_former(content: bytes, study: Study, results: Results) -> bool:
    """Whether ``study.toml`` is as ngm-tune wrote it, of the same study before it was extended."""
    with suppress(UserError):
        there = stored_study(results, study.name)
        if there is not None and not differences(study, there):
            return there.to_toml().encode() == content
    return False


def stored_study(results: Results, name: str) -> Study | None:
    """The study of ``study.toml``; None if there is no such file.

    Args:
        results: The directory.
        name: What a study is called that says no name: a file that was put there by hand.

    Raises:
        UserError: It is none of this version, or its data is not there.
    """
    if not results.exists():
        return None
    content = {"name": name} | results.study()
    return _whole(validate_study(content, f"{results.location}/{STUDY}"))


def copied_study(results: Results) -> Study | None:
    """The study of ``environment.json``, whatever else is in there; None if it has none.

    One of another version of ngm-tune is none.
    """
    with suppress(ValueError, RecursionError, OSError, UserError):
        environment = json.loads(results.read_bytes(ENVIRONMENT) or b"{}")
        content = environment.get("study") if isinstance(environment, dict) else None
        if isinstance(content, dict):
            return _whole(validate_study(with_current_keys(content), ENVIRONMENT))
    return None


def _whole(study: Study) -> Study:
    """The study with what its file leaves to the data, as one may that was put there by hand."""
    custom = study.custom
    left = custom is not None and (isinstance(custom.tasks, int) or custom.normalisation is None)
    return study.resolved() if left else study


def extended(study: Study, runs: Iterable[str]) -> Study:
    """The study with as many trials as an arm has, without a gap, if those are more.

    A study whose trials were raised may have a file from before.

    Args:
        study: The study.
        runs: Names of the runs in ``trials/``.
    """
    arms = [(benchmark, method) for benchmark in study.benchmarks for method in study.methods]
    trials = {trial_of(run) for run in runs}
    most = study.runs_per_search
    for arm in arms:
        numbers = {number_of(trial, *arm) for trial in trials}
        while most in numbers:
            most += 1
    if most == study.runs_per_search:
        return study
    return study.model_copy(update={"trials": math.ceil(most / study.runs_per_trial)})


def differences(study: Study, found: Study) -> list[str]:
    """What makes a study another one than the one found, by key; what may change left out."""
    asked, there = study.model_dump(), found.model_dump()
    other = [key for key in asked if key not in _MAY_CHANGE and asked[key] != there[key]]
    changes = [f"{key} is {there[key]!r} there and {asked[key]!r} here" for key in other]
    if found.confirm.max_configurations and study.confirm.seeds != found.confirm.seeds:
        changes.append(
            f"confirm.seeds is {found.confirm.seeds} there and {study.confirm.seeds} here"
        )
    return changes


def _require_same(study: Study, found: Study, location: str) -> None:
    """Refuse to mix two studies in one directory; raising ``trials`` extends one."""
    changes = differences(study, found)
    if changes:
        raise UserError(
            f"{location} holds another study: {'; '.join(changes)}; choose another directory with "
            "--results"
        )
    for key, before, now in (
        ("trials", found.trials, study.trials),
        (
            "confirm.max_configurations",
            found.confirm.max_configurations,
            study.confirm.max_configurations,
        ),
    ):
        if now < before:
            raise UserError(
                f"{location} holds this study with {key} = {before}, more than {key} = {now}; it "
                "can only be raised, or choose another directory with --results"
            )
