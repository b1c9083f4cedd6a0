"""Opening a results directory for a study: by one driver at a time, for the same study only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event

import pyarrow as pa
from optuna.storages import BaseStorage

from ngm_tune.errors import RecordError, UserError
from ngm_tune.results.directory import FAILURES, JOURNAL, Results
from ngm_tune.results.outcome import Outcome, coordinates_of, outcome_of
from ngm_tune.results.schema import trials_schema
from ngm_tune.search.benchmark_search import BenchmarkSearch
from ngm_tune.search.fixed_runs import RunSource, confirmation, fixed_hyperparameters
from ngm_tune.search.optuna_journal import journal
from ngm_tune.search.sampling import problem_of_coordinates, restored_coordinates
from ngm_tune.study.plan import StudyPlan
from ngm_tune.workspace.lock import study_lock
from ngm_tune.workspace.manifest import write_manifest


@contextmanager
def opened(
    plan: StudyPlan,
    location: str,
    lost: Callable[[str], None] = lambda reason: None,
    *,
    retry_failed: bool = False,
) -> Iterator[list[RunSource]]:
    """The arms of a study, reconciled with what its results directory holds, to be run.

    What is in ``trials/`` is the truth. However the context is left, Optuna's record is up to date
    with it afterwards, and no trial there is left running.

    Args:
        plan: The plan of the study.
        location: The results directory; made if there is none.
        lost: Told, in another thread, if another driver takes the directory over.
        retry_failed: Forget how runs ended that failed, so that they are run again.

    Raises:
        UserError: The directory holds results of another study, is being run by another driver, or
            cannot be read or written.
    """
    results = Results(location)
    results.create()
    taken_over = Event()

    def told(reason: str) -> None:
        taken_over.set()
        lost(reason)

    try:
        with study_lock(results, told):
            write_manifest(plan, results)
            if retry_failed:
                _quarantine_failed(plan, results)
            with reconciled(plan, results, taken_over.is_set) as sources:
                yield sources
    except OSError as error:
        raise UserError(
            f"{location}: cannot be read or written: {error}; the study goes on from there once "
            "that is mended"
        ) from error


@contextmanager
def reconciled(
    plan: StudyPlan, results: Results, taken_over: Callable[[], bool] = lambda: False
) -> Iterator[list[RunSource]]:
    """The arms of a study, reconciled with its results, for a caller who holds the study_lock.

    Args:
        plan: The plan of the study.
        results: The results directory.
        taken_over: Whether another driver has the directory by now, and with it the record.

    Raises:
        UserError: Optuna's record is not that of the trials.
    """
    with journal(results, taken_over) as storage:
        try:
            sources = list(sources_of(plan, storage, outcomes_of(results, plan)))
        except RecordError as error:
            raise UserError(
                f"{results.location}/{JOURNAL}: not the record of what is in trials/: {error}; "
                f"`{results.doctor}` makes it anew"
            ) from error
        try:
            yield sources
        finally:
            for source in () if taken_over() else sources:
                source.close()


def _quarantine_failed(plan: StudyPlan, results: Results) -> None:
    """Move what there is of runs that failed to ``damaged/``."""
    for run, outcome in outcomes_of(results, plan).items():
        if outcome.finite().status == "failed":
            for name in (f"{FAILURES}/{run}.txt", f"trials/{run}.parquet"):
                if results.has(name):
                    results.quarantine(name)


def sources_of(
    plan: StudyPlan, storage: BaseStorage, finished: dict[str, Outcome]
) -> Sequence[RunSource]:
    """Return the searches and fixed runs of a study, advanced as far as its runs have ended.

    Raises:
        RecordError: Optuna's storage is not the record of these runs.
    """
    study = plan.study
    if study.settings is not None:
        return [
            fixed_hyperparameters(study, benchmark, method, finished)
            for benchmark in study.benchmarks
            for method in study.methods
        ]
    benchmarks = [
        BenchmarkSearch(plan, benchmark, storage=storage, finished=finished)
        for benchmark in study.benchmarks
    ]
    searches = [search for benchmark in benchmarks for search in benchmark.searches]
    if not study.confirm.max_configurations:
        return searches
    confirmations = [
        confirmation(study, search, benchmark, finished)
        for benchmark in benchmarks
        for search in benchmark.searches
    ]
    return [*searches, *confirmations]


def outcomes_of(results: Results, plan: StudyPlan) -> dict[str, Outcome]:
    """How each run in ``trials/`` ended, by its id.

    Raises:
        UserError: One is none of the study, unless the results are read with tolerance.
    """

    def problem(run: str, rows: pa.Table) -> str | None:
        return problem_of_trial(run, rows, plan)

    tasks = dict(results.runs("tasks"))
    return {
        run_id: outcome_of(
            rows.to_pylist(),
            tasks[run_id].to_pylist() if run_id in tasks else [],
            plan.study.objectives,
            plan.study.constraints,
        )
        for run_id, rows in results.runs("trials", problem)
    }


def problem_of_trial(run: str, rows: pa.Table, plan: StudyPlan) -> str | None:
    """Why the rows of a file in ``trials/`` are none of the study; None if they are."""
    problem = plan.study.expected_runs.problem(run, rows)
    if problem is not None:
        return problem
    for column in trials_schema(plan.hyperparameters, plan.coordinates):
        if column.name in rows.schema.names and rows.schema.field(column.name).type != column.type:
            found = rows.schema.field(column.name).type
            return f"column {column.name} is of type {found} instead of {column.type}"
    if plan.study.settings is not None:
        return None
    space = plan.spaces[rows["method"][0].as_py()]
    stored = coordinates_of(rows.slice(0, 1).to_pylist()[0])
    return problem_of_coordinates(space, restored_coordinates(space, stored))
