"""The state of a running or finished study, as data that a terminal or notebook renders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ngm_tune.metrics.pareto import hypervolume
from ngm_tune.metrics.selection import find_knee
from ngm_tune.results.outcome import Values
from ngm_tune.results.schema import Status
from ngm_tune.search.fixed_runs import FixedRuns, RunSource
from ngm_tune.search.method_search import MethodSearch
from ngm_tune.study.study import Study


@dataclass(frozen=True)
class MethodState:
    """Progress of one method on one benchmark.

    Attributes:
        benchmark: Name of the benchmark.
        title: Title of the method.
        done: Number of ended runs of the search, or of ended fixed runs.
        total: Expected number of runs.
        confirmed: Numbers of ended and of expected confirmations; None without confirmations.
        knee: Objectives of the knee of the front; None while the front is empty.
        hypervolume: Hypervolume of the front; None while the front is empty.
    """

    benchmark: str
    title: str
    done: int
    total: int
    confirmed: tuple[int, int] | None
    knee: Values | None
    hypervolume: float | None


@dataclass(frozen=True)
class StudySummary:
    """The state of a study after its driver has ended.

    Attributes:
        done: Number of ended runs.
        total: Expected number of runs.
        failed: Number of ended runs that failed.
        complete: Whether all runs have ended.
        already_complete: Whether all runs had ended before the driver started.
        timed_out: Whether the time budget ended the driver.
        methods: State of every method on every benchmark.
        notices: Messages for the user.
    """

    done: int
    total: int
    failed: int
    complete: bool
    already_complete: bool
    timed_out: bool
    methods: Sequence[MethodState]
    notices: Sequence[str] = ()


def method_states(study: Study, sources: Sequence[RunSource]) -> list[MethodState]:
    """Return the state of every method on every benchmark.

    Objectives of a search are from validation data, those of fixed runs from test data.
    """
    objectives, reference_point = study.objective_metrics, study.reference_point
    has_search = any(isinstance(source, MethodSearch) for source in sources)
    confirmations = {
        (source.benchmark, source.method.name): source
        for source in sources
        if has_search and isinstance(source, FixedRuns)
    }
    states = []
    for source in sources:
        key = (source.benchmark, source.method.name)
        if confirmations.get(key) is source:
            continue
        confirmation = confirmations.get(key)
        values = source.values
        states.append(
            MethodState(
                benchmark=source.benchmark,
                title=source.method.title,
                done=len(source.outcomes),
                total=source.total,
                confirmed=None
                if confirmation is None
                else (len(confirmation.outcomes), confirmation.total),
                knee=values[find_knee(values, objectives, reference_point)] if values else None,
                hypervolume=hypervolume(values, objectives, reference_point) if values else None,
            )
        )
    return states


def summarise(
    study: Study,
    sources: Sequence[RunSource],
    *,
    already_complete: bool,
    timed_out: bool,
    notices: Sequence[str],
) -> StudySummary:
    """Return the summary of a study from its searches and fixed runs."""
    outcomes = [outcome for source in sources for outcome in source.outcomes]
    return StudySummary(
        done=len(outcomes),
        total=sum(source.total for source in sources),
        failed=sum(outcome.status == Status.FAILED for outcome in outcomes),
        complete=all(source.complete for source in sources),
        already_complete=already_complete,
        timed_out=timed_out,
        methods=method_states(study, sources),
        notices=notices,
    )
