"""Facts that a reader needs to judge a study: effort, evaluation data and completeness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..loaded_study import LoadedStudy


@dataclass(frozen=True)
class Progress:
    """Progress of one method on one benchmark.

    Attributes:
        benchmark: Name of the benchmark.
        method: Name of the method.
        trials: Number of trials in the results.
        expected: Their number in a complete study.
    """

    benchmark: str
    method: str
    trials: int
    expected: int


@dataclass(frozen=True)
class ExhaustedSearch:
    """A method search that tried its whole finite search space.

    Attributes:
        benchmark: Name of the benchmark.
        method: Name of the method.
        n_configurations: Number of configurations in the search space.
    """

    benchmark: str
    method: str
    n_configurations: int


@dataclass(frozen=True)
class Confirmation:
    """Confirmation of a benchmark's search fronts.

    Attributes:
        benchmark: Name of the benchmark.
        n_confirmed: Number of confirmed configurations.
        n_to_confirm: Number of configurations that the study confirms.
        complete: Whether claims about the benchmark rest on test data.
    """

    benchmark: str
    n_confirmed: int
    n_to_confirm: int
    complete: bool


@dataclass(frozen=True)
class Facts:
    """Facts about a study.

    Attributes:
        exhausted: Method searches that tried their whole search space.
        confirmations: One entry per benchmark with trials.
        initial_points: Number of ``points_to_evaluate`` by display name of the method, for each
            benchmark where any method has one.
        incomplete: Methods whose trials are not all in the results.
        reference_points: Display names of benchmarks with the same reference point, and this point.
        seconds: Time spent on training and evaluation.
    """

    exhausted: list[ExhaustedSearch]
    confirmations: list[Confirmation]
    initial_points: dict[str, dict[str, int]]
    incomplete: list[Progress]
    reference_points: list[tuple[list[str], Mapping[str, float]]]
    seconds: float


def facts(loaded: LoadedStudy) -> Facts:
    """Collect the facts about a study."""
    initial_points = {name: loaded.initial_points(name) for name in loaded.benchmarks}
    return Facts(
        [
            ExhaustedSearch(
                benchmark,
                method,
                loaded.search_trials(benchmark, method).filter(repetition=0).height,
            )
            for benchmark in loaded.benchmarks
            for method in loaded.trials_at_exhaustion(benchmark)
        ],
        [
            Confirmation(
                name,
                loaded.confirmed_trials(name).height,
                loaded.n_to_confirm(name),
                loaded.is_confirmed(name),
            )
            for name in loaded.benchmarks
        ],
        {name: counts for name, counts in initial_points.items() if any(counts.values())},
        _incomplete(loaded),
        _reference_points(loaded),
        float(loaded.runs["wall_seconds"].sum()),
    )


def _reference_points(loaded: LoadedStudy) -> list[tuple[list[str], Mapping[str, float]]]:
    titles: dict[tuple[tuple[str, float], ...], list[str]] = {}
    for benchmark in loaded.study.benchmarks:
        point = tuple(loaded.reference_point(benchmark).items())
        titles.setdefault(point, []).append(loaded.benchmark_title(benchmark))
    return [(of_point, dict(point)) for point, of_point in titles.items()]


def _incomplete(loaded: LoadedStudy) -> list[Progress]:
    incomplete = []
    for benchmark in loaded.study.benchmarks:
        for method in loaded.study.methods:
            trials = loaded.first_phase_trials(benchmark, method)
            expected = loaded.study.searches * loaded.expected_trials(benchmark, method)
            if trials.height < expected:
                incomplete.append(Progress(benchmark, method, trials.height, expected))
    return incomplete
