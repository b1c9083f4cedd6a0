"""Open a results directory to start or resume a study, with one driver at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from threading import Event

import pyarrow as pa
from optuna.storages import BaseStorage

from ngm_tune.errors import RecordError, UserError
from ngm_tune.results.columns import CONFIG_PREFIX, SEARCH_PREFIX
from ngm_tune.results.directory import FAILURES, JOURNAL, Results
from ngm_tune.results.outcome import Outcome, compute_outcome, extract_coordinates
from ngm_tune.results.recomputation import needs_recomputation
from ngm_tune.results.schema import Status
from ngm_tune.search.fixed_runs import (
    RunSource,
    create_confirmation,
    create_fixed_run,
    create_transfer,
)
from ngm_tune.search.method_search import MethodSearch
from ngm_tune.search.optuna_journal import open_journal
from ngm_tune.search.sampling import decode_coordinates, explain_invalid_coordinates
from ngm_tune.study.plan import StudyPlan
from ngm_tune.workspace.lock import study_lock
from ngm_tune.workspace.manifest import write_manifest


@contextmanager
def open_study(
    plan: StudyPlan,
    location: str,
    on_lost: Callable[[str], None] = lambda reason: None,
    *,
    retry_failed: bool = False,
) -> Iterator[list[RunSource]]:
    """Lock a results directory and return the searches and fixed runs of its study.

    The searches and fixed runs continue from the results in ``trials/``, which are authoritative.
    On exit, also by an exception, the search record in Optuna's journal agrees with ``trials/`` and
    contains no running trial.

    Args:
        plan: The plan of the study.
        location: The results directory; it is created if it does not exist.
        on_lost: Called with the reason, in another thread, if another driver takes the lock over.
        retry_failed: Quarantine the files of failed runs, so that these runs are repeated.

    Raises:
        UserError: The directory belongs to a different study, another driver holds its lock, or it
            cannot be read or written.
    """
    results = Results(location)
    results.create()
    is_lost = Event()

    def handle_lost_lock(reason: str) -> None:
        is_lost.set()
        on_lost(reason)

    try:
        with study_lock(results, handle_lost_lock):
            write_manifest(plan, results, retry_failed=retry_failed)
            if retry_failed:
                _quarantine_failed_runs(plan, results)
            with reconcile_record(plan, results, is_lost.is_set) as sources:
                yield sources
    except OSError as error:
        raise UserError(
            f"{location}: cannot be read or written: {error}; the study can be resumed once this "
            "is fixed"
        ) from error


@contextmanager
def reconcile_record(
    plan: StudyPlan, results: Results, is_lost: Callable[[], bool] = lambda: False
) -> Iterator[list[RunSource]]:
    """Bring the search record up to date with ``trials/`` and return the study's run sources.

    The caller must hold :func:`~ngm_tune.workspace.lock.study_lock`.

    Args:
        plan: The plan of the study.
        results: The results directory.
        is_lost: Returns whether another driver took the lock over. If so, the search record belongs
            to that driver and is not written.

    Raises:
        UserError: The search record contradicts the results in ``trials/``.
    """
    with open_journal(results, is_lost) as storage:
        try:
            sources = list(create_sources(plan, storage, read_outcomes(results, plan)))
        except RecordError as error:
            raise UserError(
                f"{results.location}/{JOURNAL}: contradicts the results in trials/: {error}; "
                f"`{results.doctor_command}` rebuilds it"
            ) from error
        try:
            yield sources
        finally:
            for source in () if is_lost() else sources:
                source.close()


def _quarantine_failed_runs(plan: StudyPlan, results: Results) -> None:
    """Move the traceback and the ``trials/`` file of each failed run into quarantine."""
    for run, outcome in read_outcomes(results, plan).items():
        if outcome.finite().status == Status.FAILED:
            for name in (f"{FAILURES}/{run}.txt", f"trials/{run}.parquet"):
                if results.has(name):
                    results.quarantine(name)


def create_sources(
    plan: StudyPlan, storage: BaseStorage, finished: dict[str, Outcome]
) -> Sequence[RunSource]:
    """Create the searches and fixed runs of a study, advanced past its finished runs.

    Args:
        plan: The plan of the study.
        storage: Optuna's storage of the search record.
        finished: Outcomes of finished runs, by run id.

    Raises:
        RecordError: The search record contradicts the outcomes.
    """
    study = plan.study
    combinations = product(range(study.searches), study.benchmarks, study.methods)
    if study.settings is not None:
        return [
            create_fixed_run(study, benchmark, method, repetition, finished)
            for repetition, benchmark, method in combinations
        ]
    searches = [
        MethodSearch(plan, benchmark, method, repetition, storage=storage, finished=finished)
        for repetition, benchmark, method in combinations
    ]
    if not study.confirm.max_configurations:
        return searches
    transfers = [
        create_transfer(study, search, benchmark, finished)
        for search, benchmark in product(searches, study.benchmarks)
        if study.confirm.transfer and benchmark != search.benchmark
    ]
    confirmations = [create_confirmation(study, search, finished) for search in searches]
    return [*searches, *confirmations, *transfers]


def read_outcomes(results: Results, plan: StudyPlan) -> dict[str, Outcome]:
    """Read the outcome of each run in ``trials/``, by run id.

    Raises:
        UserError: A file is damaged or does not belong to the study, and ``results`` is not
            tolerant.
    """

    def find_problem(run: str, rows: pa.Table) -> str | None:
        return find_trial_problem(run, rows, plan)

    outcomes = {}
    for run_id, rows in results.iter_runs("trials", find_problem):
        study = plan.study
        outcome = compute_outcome(rows.to_pylist(), study.objectives, study.constraints)
        outcomes[run_id] = replace(outcome, is_recomputed=needs_recomputation("trials", rows))
    return outcomes


def find_trial_problem(run: str, rows: pa.Table, plan: StudyPlan) -> str | None:
    """Describe why a file in ``trials/`` cannot belong to the study; None if it can.

    Args:
        run: Id of the run that the file is named after.
        rows: Rows of the file.
        plan: The plan of the study.
    """
    problem = plan.study.expected_runs.find_problem(run, rows)
    if problem is not None:
        return problem
    for prefix, kinds in ((CONFIG_PREFIX, plan.hyperparameters), (SEARCH_PREFIX, plan.coordinates)):
        for name, kind in kinds.items():
            column, expected = prefix + name, pa.float64() if kind == "float" else pa.string()
            if column in rows.schema.names and rows.schema.field(column).type != expected:
                actual = rows.schema.field(column).type
                return f"column {column} is of type {actual} instead of {expected}"
    if plan.study.settings is not None:
        return None
    space = plan.spaces[rows["method"][0].as_py()]
    coordinates = extract_coordinates(rows.slice(0, 1).to_pylist()[0])
    return explain_invalid_coordinates(space, decode_coordinates(space, coordinates))
