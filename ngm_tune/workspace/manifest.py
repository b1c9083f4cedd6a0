"""The manifest of a results directory: which study it holds, and what may change on resume.

``study.toml`` contains the study. ``environment.json`` contains a second copy, so that a lost,
damaged or replaced ``study.toml`` can be detected and repaired.
"""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import pyarrow as pa

from ngm_tune.errors import UserError
from ngm_tune.results.directory import ENVIRONMENT, STUDY, Results
from ngm_tune.results.ids import TrialId, parse_run
from ngm_tune.results.legacy_keys import with_current_keys
from ngm_tune.study.files import validate_study
from ngm_tune.study.plan import StudyPlan
from ngm_tune.study.study import Study
from ngm_tune.workspace.method_files import require_same_files, write_copies
from ngm_tune.workspace.provenance import collect_provenance, describe_references

_MUTABLE_KEYS = {"title", "margin", "searches", "trials", "confirm", "cost", "resources"}
"""Keys of a study that may change when it is resumed."""
_KEYS_OF_METHODS = ("search_space", "fixed", "settings")
"""Keys of a study with an entry for each method."""


def write_manifest(plan: StudyPlan, results: Results, *, retry_failed: bool = False) -> None:
    """Write ``study.toml``, ``environment.json`` and ``methods/``, unless they are up to date.

    Args:
        plan: The plan of the study.
        results: The results directory.
        retry_failed: Whether failed trials are re-run, also with a method that has changed.

    Raises:
        UserError: The directory holds a different study, its manifest is damaged or missing, or a
            method with trials has changed.
    """
    study = plan.study
    trial_files = results.list_table_files("trials")
    try:
        environment = results.read_environment()
        stored = load_stored_study(results, study.name)
    except UserError as error:
        raise UserError(f"{error}; `{results.doctor_command}` repairs it if possible") from error
    copy = load_study_copy(results)
    require_same_study(study, (stored, copy), results.location)
    changed = require_same_files(plan, results, environment, retry_failed=retry_failed)
    if stored is None and copy is None and trial_files:
        raise UserError(
            f"{results.location}: trials/ contains results but {STUDY} is missing; restore the "
            "original study file under this name, or choose another directory with --results"
        )
    write_copies(plan, results)
    if stored != study or "name" not in results.read_study():
        write_study(study, results)
    if not environment:
        environment = collect_provenance(plan)
        if trial_files:  # an earlier driver started the study, perhaps on another machine
            environment["resumed"] = environment.pop("started")
    has_references = environment.get("references", {}) == describe_references(plan)
    if environment.get("study") != study.content() or not has_references or changed:
        described = collect_provenance(plan)
        for method in changed:
            del environment["methods"][method]
        for key in ("benchmarks", "methods"):  # the study may have more of them than before
            environment[key] = described[key] | environment.get(key, {})
        for key in ("points", "references"):
            if key in described:
                environment[key] = described[key]
        results.write_environment(environment | {"study": study.content()})


def record_data_checksum(
    results: Results, benchmark: str, checksum: str, *, has_runs: bool
) -> bool:
    """Record in ``environment.json`` which data the runs of a benchmark use.

    Nothing is recorded if earlier runs of the benchmark have no recorded checksum.

    Args:
        results: The results directory.
        benchmark: Name of the benchmark.
        checksum: Checksum of the data (:meth:`ngm_tune.benchmarks.TaskData.checksum`).
        has_runs: Whether the directory contains runs of the benchmark, finished or not.

    Returns:
        Whether the runs of the benchmark use more than one version of the data.
    """
    environment = results.read_environment()
    data = environment.get("data", {})
    recorded = data.get(benchmark, []) if has_runs else []
    if has_runs and not recorded:
        return False
    checksums = recorded if checksum in recorded else [*recorded, checksum]
    if data.get(benchmark) != checksums:
        results.write_environment(environment | {"data": data | {benchmark: checksums}})
    return len(checksums) > 1


def write_study(study: Study, results: Results) -> str | None:
    """Write ``study.toml``, and quarantine a previous file that ngm-tune did not write.

    A file that ngm-tune wrote for the same study is overwritten, since nothing in it is lost.

    Returns:
        The path of the previous file in quarantine; None if no file was quarantined.
    """
    content = results.read_bytes(STUDY)
    quarantined = None
    if content is not None and not _is_generated(content, study, results):
        quarantined = results.quarantine(STUDY)
    results.write_text(STUDY, study.to_toml())
    return quarantined


def _is_generated(content: bytes, study: Study, results: Results) -> bool:
    """Return whether ``study.toml`` is equivalent to a file that ngm-tune wrote for the same study.

    The parsed values are compared, so that a file with the keys of an earlier version counts as
    generated. A file without a name or with comments was written by a user.

    Args:
        content: Content of ``study.toml``.
        study: The study.
        results: The results directory.
    """
    try:
        stored = load_stored_study(results, study.name)
        values = results.read_study()
    except UserError:
        return False
    if stored is None or find_differences(study, stored):
        return False
    generated = stored.to_toml()
    has_comments = content.count(b"#") > generated.encode().count(b"#")
    is_generated = _is_subset(values, tomllib.loads(generated))  # earlier versions: fewer keys
    return "name" in values and is_generated and not has_comments


def _is_subset(values: Mapping[str, Any], whole: Mapping[str, Any]) -> bool:
    """Return whether all values are in another mapping, also those in nested mappings."""
    return all(
        _is_subset(value, whole[key])
        if isinstance(value, Mapping) and isinstance(whole.get(key), Mapping)
        else key in whole and whole[key] == value
        for key, value in values.items()
    )


def load_stored_study(results: Results, name: str) -> Study | None:
    """Load the study in ``study.toml``; None if the file does not exist.

    Args:
        results: The results directory.
        name: Name of the study if the file lacks one, as a file that a user put there may.

    Raises:
        UserError: This version of ngm-tune cannot read the study, or its data does not exist.
    """
    if not results.has_study():
        return None
    content = {"name": name} | results.read_study()
    return _resolve_custom_data(validate_study(content, f"{results.location}/{STUDY}"))


def load_study_copy(results: Results) -> Study | None:
    """Load the copy of the study in ``environment.json``; None if no valid copy exists.

    The rest of the file may be damaged.
    """
    with suppress(ValueError, RecursionError, OSError, UserError):
        environment = json.loads(results.read_bytes(ENVIRONMENT) or b"{}")
        content = environment.get("study") if isinstance(environment, dict) else None
        if isinstance(content, dict):
            return _resolve_custom_data(validate_study(with_current_keys(content), ENVIRONMENT))
    return None


def is_started(study: Study, location: str) -> bool:
    """Return whether a results directory holds exactly this study, so that it was valid there."""
    with suppress(OSError, UserError):
        stored: object = Results(location).read_environment().get("study")
        return stored == study.content()
    return False


def _resolve_custom_data(study: Study) -> Study:
    """Return the study with every value of ``custom`` that is determined by the data.

    ngm-tune writes these values, but a file that a user wrote may omit them.
    """
    custom = study.custom
    if custom is None or not (isinstance(custom.tasks, int) or custom.normalisation is None):
        return study
    return study.resolved()


def extend_to_runs(study: Study, runs: Mapping[str, pa.Table]) -> Study:
    """Return the study with as many repetitions, trials and seeds as its results have.

    The stored study can have fewer, and no transfers, if it was written before the study was
    extended. Only repetitions and trials that are numbered without a gap count.

    Args:
        study: The study.
        runs: Rows in ``trials/`` by run id.
    """
    numbers: dict[tuple[str, str, int], set[int]] = {}
    confirmed_seeds: Counter[TrialId] = Counter()
    has_transfer = study.confirm.transfer
    for run, rows in runs.items():
        trial = parse_run(run)
        if trial is None or trial.method not in study.methods:
            continue
        searched = trial.searched
        if {trial.benchmark, searched.benchmark} <= set(study.benchmarks):
            search = (searched.benchmark, trial.method, trial.repetition)
            numbers.setdefault(search, set()).add(trial.number)
            confirmed_seeds[trial] += rows.num_rows if trial.is_selected else 0
            has_transfer |= trial.origin is not None
    trials = study.trials
    for of_search in numbers.values():
        while trials in of_search:
            trials += 1
    searches = study.searches
    while searches in {repetition for _, _, repetition in numbers}:
        searches += 1
    seeds = max([study.confirm.seeds, *confirmed_seeds.values()])
    return study.model_copy(
        update={
            "trials": trials,
            "searches": searches,
            "confirm": study.confirm.model_copy(update={"seeds": seeds, "transfer": has_transfer}),
        }
    )


def find_differences(study: Study, stored: Study) -> list[str]:
    """Describe each key whose stored value makes it a different study.

    Keys that may change on resume are not compared. A study may have more methods and benchmarks
    than the stored one, since their searches are independent.
    """
    expected, actual = _without_additions(study, stored).model_dump(), stored.model_dump()
    return [
        f"{key} is {actual[key]!r} instead of {value!r}"
        for key, value in expected.items()
        if key not in _MUTABLE_KEYS and actual[key] != value
    ]


def _without_additions(study: Study, stored: Study) -> Study:
    """Return the part of a study that is about the methods and benchmarks of the stored one."""
    update: dict[str, Any] = {
        "methods": [name for name in study.methods if name in stored.methods],
        "benchmarks": [name for name in study.benchmarks if name in stored.benchmarks],
        "points_to_evaluate": [
            point
            for point in study.points_to_evaluate
            if isinstance(point, str)
            or (
                point["method"] in stored.methods
                and point.get("benchmark", stored.benchmarks[0]) in stored.benchmarks
            )
        ],
    }
    for key in _KEYS_OF_METHODS:
        entries = getattr(study, key)
        if entries is not None:
            update[key] = {name: entry for name, entry in entries.items() if name in stored.methods}
    return study.model_copy(update=update)


def require_same_study(study: Study, stored_studies: Iterable[Study | None], location: str) -> None:
    """Raise :class:`UserError` unless a study resumes or extends those of a results directory.

    Args:
        study: The study.
        stored_studies: The study of ``study.toml`` and its copy; None where there is none.
        location: The results directory.
    """
    for stored in stored_studies:
        if stored is not None:
            _require_extension(study, stored, location)


def _require_extension(study: Study, stored: Study, location: str) -> None:
    differences = find_differences(study, stored)
    if differences:
        raise UserError(
            f"{location} holds a different study: {'; '.join(differences)}; choose another "
            "directory with --results"
        )
    _require_same_columns(study, stored, location)
    if stored.confirm.transfer and not study.confirm.transfer:
        raise UserError(
            f"{location} holds this study with confirm.transfer = true, which cannot be taken "
            "back; choose another directory with --results"
        )
    for key, stored_value, value in (
        ("searches", stored.searches, study.searches),
        ("trials", stored.trials, study.trials),
        (
            "confirm.max_configurations",
            stored.confirm.max_configurations,
            study.confirm.max_configurations,
        ),
        ("confirm.seeds", stored.confirm.seeds, study.confirm.seeds),
    ):
        is_unused = key == "confirm.seeds" and not stored.confirm.max_configurations
        if value < stored_value and not is_unused:
            raise UserError(
                f"{location} holds this study with {key} = {stored_value}, which cannot be lowered "
                f"to {value}; choose another directory with --results"
            )


def _require_same_columns(study: Study, stored: Study, location: str) -> None:
    """Raise :class:`UserError` if added methods change the types of existing result columns."""
    if study.methods == stored.methods:
        return
    plan, stored_plan = StudyPlan.resolve(study), StudyPlan.resolve(stored)
    for kinds, stored_kinds in (
        (plan.hyperparameters, stored_plan.hyperparameters),
        (plan.coordinates, stored_plan.coordinates),
    ):
        for name, kind in stored_kinds.items():
            if kinds.get(name) != kind:
                raise UserError(
                    f"{location} stores {name} as {kind}, which the added methods "
                    f"{', '.join(m for m in study.methods if m not in stored.methods)} would "
                    f"change to {kinds.get(name)}; choose another directory with --results"
                )
