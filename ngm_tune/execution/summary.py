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
        done: Ended runs of the search, or of the fixed runs where nothing is searched.
        total: Runs that the search will have, as far as is known.
        confirmed: Ended and expected confirmations; None where the study confirms nothing.
        best: Objectives of the knee of the front; None while the front is empty.
        hypervolume: Hypervolume of the front; None while the front is empty.
    """

    benchmark: str
    title: str
    done: int
    total: int
    confirmed: tuple[int, int] | None
    best: Values | None
    hypervolume: float | None


@dataclass(frozen=True)
class StudySummary:
    """The state of a study when driving it has ended.

    Attributes:
        done: Ended runs.
        total: Runs that the study will have, as far as is known.
        failed: Ended runs that failed.
        complete: Whether no run is left.
        already_complete: Whether no run was left at the start.
        timed_out: Whether the time budget ended it.
        methods: State of every method on every benchmark.
        notices: Sentences that the user should read.
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

    Values are those of the search, on validation data, or of fixed runs, on test data.
    """
    objectives, reference_point = study.objective_metrics, study.reference_point
    searched = any(isinstance(source, MethodSearch) for source in sources)
    confirmations = {
        (source.benchmark, source.method.name): source
        for source in sources
        if searched and isinstance(source, FixedRuns)
    }
    states = []
    for source in sources:
        key = (source.benchmark, source.method.name)
        if confirmations.get(key) is source:
            continue
        again = confirmations.get(key)
        values = source.values
        states.append(
            MethodState(
                benchmark=source.benchmark,
                title=source.method.title,
                done=len(source.outcomes),
                total=source.total,
                confirmed=None if again is None else (len(again.outcomes), again.total),
                best=values[find_knee(values, objectives, reference_point)] if values else None,
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
