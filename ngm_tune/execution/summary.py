"""The state of a running or finished study, as data that a terminal or notebook renders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from ngm_tune.metrics.pareto import normalised_hypervolume
from ngm_tune.metrics.selection import find_knee
from ngm_tune.results.outcome import Values
from ngm_tune.results.schema import Status
from ngm_tune.search.fixed_runs import RunSource
from ngm_tune.search.method_search import MethodSearch
from ngm_tune.search.run_spec import Phase
from ngm_tune.study.study import Study


@dataclass(frozen=True)
class MethodState:
    """Progress of one method on one benchmark.

    Attributes:
        benchmark: Name of the benchmark.
        title: Title of the method.
        done: Number of ended runs of its searches, or of ended fixed runs.
        total: Expected number of runs.
        confirmed: Numbers of ended and of expected confirmations; None without confirmations.
        transferred: Numbers of ended and of expected runs on the benchmark of configurations that
            were selected on the others; None without transfers.
        knee: Objectives of the knee of the front, means over repetitions; None while every front is
            empty.
        hypervolume: Normalised hypervolume of the front, mean over repetitions; None while every
            front is empty.
    """

    benchmark: str
    title: str
    done: int
    total: int
    confirmed: tuple[int, int] | None
    transferred: tuple[int, int] | None
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
    has_search = any(isinstance(source, MethodSearch) for source in sources)
    first_phase: Phase = "search" if has_search else "confirm"
    groups: dict[tuple[str, str], dict[Phase, list[RunSource]]] = {}
    for source in sources:
        phases = groups.setdefault((source.benchmark, source.method.name), {})
        phases.setdefault(source.phase, []).append(source)
    return [_method_state(study, phases, first_phase) for phases in groups.values()]


def _method_state(
    study: Study, phases: Mapping[Phase, Sequence[RunSource]], first_phase: Phase
) -> MethodState:
    """Return the state of a method on a benchmark.

    Args:
        study: The study.
        phases: The repetitions of each phase.
        first_phase: ``"search"``, or ``"confirm"`` in a study without a search.
    """
    repetitions = phases[first_phase]
    later = {phase: _count(sources) for phase, sources in phases.items() if phase != first_phase}
    objectives, reference_point = study.objective_metrics, study.reference_point
    fronts = [source.values for source in repetitions if source.values]
    knees = [front[find_knee(front, objectives, reference_point)] for front in fronts]
    done, total = _count(repetitions)
    volumes = [normalised_hypervolume(front, objectives, reference_point) for front in fronts]
    return MethodState(
        benchmark=repetitions[0].benchmark,
        title=repetitions[0].method.title,
        done=done,
        total=total,
        confirmed=later.get("confirm"),
        transferred=later.get("transfer"),
        knee=tuple(map(fmean, zip(*knees, strict=True))) if knees else None,
        hypervolume=fmean(volumes) if volumes else None,
    )


def _count(sources: Sequence[RunSource]) -> tuple[int, int]:
    """Return the numbers of ended and of expected runs."""
    return sum(len(source.outcomes) for source in sources), sum(s.total for s in sources)


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
