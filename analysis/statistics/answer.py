"""The answer of a study: its first method against every rival, benchmark by benchmark."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ngm_tune.metrics.curves import Floats
from ngm_tune.metrics.pareto import normalised_hypervolume

from ..loaded_study import LoadedStudy
from .endpoints import Endpoint, search_endpoints, value_endpoints
from .optimism import jackknife_variance
from .replicates import has_equal_effort, hypervolume_of_means, replicate_values
from .verdict import Comparison, compare


@dataclass(frozen=True)
class MethodHypervolume:
    """Normalised hypervolume of a method.

    Attributes:
        method: Name of the method.
        value: Mean over repetitions.
        error: Its standard error over repetitions, with a single one over seeds; None without a
            confirmation, and with a single seed.
    """

    method: str
    value: float
    error: float | None


@dataclass(frozen=True)
class Answer:
    """Comparison of the study's first method with its rivals on one benchmark.

    Attributes:
        benchmark: Name of the benchmark.
        focus: The study's first method.
        comparisons: By endpoint, the primary one first, then by rival. Empty if the first method or
            all its rivals were not run, and while the effort is unequal.
        is_unequal: Whether the searches that would be compared have not all ended and nothing is
            confirmed yet, so that the methods differ in their numbers of trials.
        n_replicates: Number of compared repetitions or, in a study of fixed runs, of seeds.
        confirmed: Whether the values are from test data.
        without_front: For each method whose trials cannot be on a front, the number of its trials
            by status; ``"infeasible"`` counts completed trials that violate a constraint.
        failed_confirmations: Number of configurations that failed during confirmation, by method.
        not_run: Methods of the study without any trial, in the study's order.
        hypervolumes: By method, best first; empty with a single objective and for fixed runs.
    """

    benchmark: str
    focus: str
    comparisons: Sequence[Comparison]
    is_unequal: bool
    n_replicates: int
    confirmed: bool
    without_front: Mapping[str, Mapping[str, int]]
    failed_confirmations: Mapping[str, int]
    not_run: Sequence[str]
    hypervolumes: Sequence[MethodHypervolume]

    @property
    def endpoints(self) -> list[Endpoint]:
        """The compared quantities, the primary one first."""
        return list({each.endpoint.name: each.endpoint for each in self.comparisons}.values())

    def of(self, endpoint: Endpoint) -> list[Comparison]:
        """Return the comparisons in one endpoint, by rival."""
        return [each for each in self.comparisons if each.endpoint.name == endpoint.name]

    @property
    def resolvable(self) -> tuple[float, float] | None:
        """Smallest and largest difference in the primary endpoint that the study can resolve.

        Over the rivals (:attr:`~analysis.statistics.verdict.Comparison.resolvable`); None with a
        single search.
        """
        primary = [each for each in self.comparisons if each.endpoint.primary]
        found = [each.resolvable for each in primary if each.resolvable is not None]
        return (min(found), max(found)) if found else None

    @property
    def one_search(self) -> bool:
        """Whether the comparisons hold for a single search of each method."""
        return any(each.one_search for each in self.comparisons)


def answers(loaded: LoadedStudy) -> list[Answer]:
    """Return the answer for each benchmark."""
    return [answer(loaded, benchmark) for benchmark in loaded.benchmarks]


def answer(loaded: LoadedStudy, benchmark: str) -> Answer:
    """Return the answer for one benchmark."""
    values = replicate_values(loaded, benchmark)
    focus, *rivals = loaded.study.methods
    is_unequal = not has_equal_effort(loaded, benchmark)
    is_comparable = focus in values and len(values) > 1 and not is_unequal
    return Answer(
        benchmark,
        focus,
        compare(values, endpoints_of(loaded, benchmark)) if is_comparable else [],
        is_unequal,
        len(next(iter(values.values()))),
        loaded.is_confirmed(benchmark),
        _without_front(loaded, benchmark),
        _failed_confirmations(loaded, benchmark),
        [method for method in (focus, *rivals) if method not in values],
        [] if loaded.has_fixed_runs else _hypervolumes(loaded, benchmark, values),
    )


def endpoints_of(loaded: LoadedStudy, benchmark: str) -> list[Endpoint]:
    """Return the quantities in which the methods of a study are compared on a benchmark."""
    objectives, margin = loaded.objectives, loaded.study.margin
    if loaded.has_fixed_runs:
        return value_endpoints(objectives, margin)
    return search_endpoints(objectives, loaded.reference_point(benchmark), margin)


def _without_front(loaded: LoadedStudy, benchmark: str) -> dict[str, dict[str, int]]:
    counts = {}
    for method in loaded.methods:
        trials = loaded.first_phase_trials(benchmark, method)
        if trials.height and not trials.filter("eligible").height:
            statuses = trials["status"].replace("completed", "infeasible")
            counts[method] = dict(Counter(statuses).most_common())
    return counts


def _failed_confirmations(loaded: LoadedStudy, benchmark: str) -> dict[str, int]:
    if loaded.has_fixed_runs or not loaded.is_confirmed(benchmark):
        return {}
    failed = loaded.evidence(benchmark).filter(status="failed")
    counts = {method: failed.filter(method=method).height for method in loaded.methods}
    return {method: count for method, count in counts.items() if count}


def _hypervolumes(
    loaded: LoadedStudy, benchmark: str, values: Mapping[str, Sequence[Floats]]
) -> list[MethodHypervolume]:
    if len(loaded.objectives) < 2:
        return []
    volume = partial(
        normalised_hypervolume,
        objectives=loaded.objectives,
        reference_point=loaded.reference_point(benchmark),
    )
    result = []
    for method, repetitions in values.items():
        shares = [hypervolume_of_means(loaded, benchmark, runs) for runs in repetitions]
        if not any(runs.size for runs in repetitions):
            error = np.nan
        elif len(shares) == 1:
            variance = jackknife_variance(repetitions[0], lambda means: np.array([volume(means)]))
            error = float(np.sqrt(variance[0]))
        else:
            error = float(np.std(shares, ddof=1) / len(shares) ** 0.5)
        has_error = loaded.is_confirmed(benchmark) and not np.isnan(error)
        mean = float(np.mean(shares))
        result.append(MethodHypervolume(method, mean, error if has_error else None))
    return sorted(result, key=lambda each: -each.value)
