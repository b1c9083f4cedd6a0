"""The answer of a study: its first method against the best rival, benchmark by benchmark."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum

import numpy as np

from ngm_tune.metrics.curves import Floats
from ngm_tune.metrics.pareto import hypervolume

from ..loaded_study import LoadedStudy
from .comparison import (
    Contender,
    Difference,
    Outcome,
    candidates,
    compared_contenders,
    contenders,
    paired_differences,
    second_objective,
)
from .optimism import jackknife_variance, values_by_seed


class Verdict(Enum):
    """Outcome of the selection of contenders: which methods can be compared, or why not."""

    NO_ELIGIBLE_TRIAL = "no eligible trial"
    """No trial of any method can be on a front."""
    NOTHING_CONFIRMED = "nothing confirmed"
    """The search had eligible trials, but no configuration can be compared."""
    COMPARED = "compared"
    FOCUS_NOT_RUN = "focus not run"
    FOCUS_NOT_NEAR = "focus not near"
    """Only rivals come near the best first objective."""
    RIVALS_NOT_RUN = "rivals not run"
    RIVALS_NOT_NEAR = "rivals not near"
    """Only the first method comes near the best first objective."""


@dataclass(frozen=True)
class MethodHypervolume:
    """Hypervolume of a method's eligible trials.

    Attributes:
        method: Name of the method.
        value: Hypervolume of the means over seeds, in the product of the objectives' units.
        error: Its standard error over seeds; None without a confirmation or with a single seed.
    """

    method: str
    value: float
    error: float | None


@dataclass(frozen=True)
class Tradeoff:
    """A configuration with a better second objective whose first objective is not near the best.

    Attributes:
        contender: The configuration.
        reference: The better of the compared contenders.
        difference: ``contender`` minus ``reference`` in the second objective.
    """

    contender: Contender
    reference: Contender
    difference: Difference


@dataclass(frozen=True)
class Answer:
    """Comparison of the study's first method with the best rival on one benchmark.

    Attributes:
        benchmark: Name of the benchmark.
        focus: The study's first method.
        verdict: Which methods can be compared, or why not.
        contenders: The compared contenders: two if ``verdict`` is ``COMPARED``, else at most one.
        differences: First contender minus second, per objective; empty unless two are compared.
        tradeoff: For fixed runs, a method with a better second objective outside the range of the
            comparison, unless the difference is not significant.
        without_front: For each method whose trials cannot be on a front, the number of its trials
            by status; ``"infeasible"`` counts completed trials that violate a constraint.
        failed_confirmations: Number of configurations that failed during confirmation, by method.
        not_run: Methods of the study without any trial, in the study's order.
        hypervolumes: By method, best first.
        confirmed: Whether the values are from test data.
    """

    benchmark: str
    focus: str
    verdict: Verdict
    contenders: list[Contender]
    differences: list[Difference]
    tradeoff: Tradeoff | None
    without_front: dict[str, dict[str, int]]
    failed_confirmations: dict[str, int]
    not_run: list[str]
    hypervolumes: list[MethodHypervolume]
    confirmed: bool

    @property
    def outcome(self) -> Outcome | None:
        """Outcome of the comparison in the second objective; None unless two are compared."""
        return self.differences[1].outcome if self.differences else None


def answers(loaded: LoadedStudy) -> list[Answer]:
    """Return the answer for each benchmark; empty for a study with a single objective."""
    if len(loaded.objectives) < 2:
        return []
    return [_answer(loaded, benchmark) for benchmark in loaded.benchmarks]


def _answer(loaded: LoadedStudy, benchmark: str) -> Answer:
    compared = compared_contenders(loaded, benchmark)
    trial_ids = [contender.trial_id for contender in compared]
    run = {
        *loaded.search_trials(benchmark)["method"],
        *loaded.confirmed_trials(benchmark)["method"],
    }
    return Answer(
        benchmark,
        loaded.study.methods[0],
        _verdict(loaded, benchmark, compared, run),
        compared,
        paired_differences(loaded, *trial_ids) if len(trial_ids) == 2 else [],
        _tradeoff(loaded, benchmark, compared),
        _without_front(loaded, benchmark),
        _failed_confirmations(loaded, benchmark),
        [method for method in loaded.study.methods if method not in run],
        _hypervolumes(loaded, benchmark),
        loaded.is_confirmed(benchmark),
    )


def _verdict(
    loaded: LoadedStudy, benchmark: str, compared: list[Contender], run: set[str]
) -> Verdict:
    focus, *rivals = loaded.study.methods
    if not compared:
        eligible = loaded.first_phase_trials(benchmark).filter("eligible").height
        return Verdict.NOTHING_CONFIRMED if eligible else Verdict.NO_ELIGIBLE_TRIAL
    if len(compared) == 2:
        return Verdict.COMPARED
    if compared[0].method != focus:
        return Verdict.FOCUS_NOT_NEAR if focus in run else Verdict.FOCUS_NOT_RUN
    return Verdict.RIVALS_NOT_RUN if run.isdisjoint(rivals) else Verdict.RIVALS_NOT_NEAR


def _tradeoff(loaded: LoadedStudy, benchmark: str, compared: list[Contender]) -> Tradeoff | None:
    if not loaded.has_fixed_runs or not compared:
        return None
    key = second_objective(loaded)
    best = min(contenders(loaded, benchmark, near=False).values(), key=key, default=None)
    reference = min(compared, key=key)
    if best is None or key(best) >= key(reference):
        return None
    difference = paired_differences(loaded, best.trial_id, reference.trial_id)[1]
    if difference.outcome is Outcome.NOT_SIGNIFICANT:
        return None
    return Tradeoff(best, reference, difference)


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
    failed = loaded.confirmed_trials(benchmark).filter(status="failed")
    counts = {method: failed.filter(method=method).height for method in loaded.methods}
    return {method: count for method, count in counts.items() if count}


def _hypervolumes(loaded: LoadedStudy, benchmark: str) -> list[MethodHypervolume]:
    objectives, reference_point = loaded.objectives, loaded.study.reference_point

    def volume(values: Floats) -> Floats:
        return np.array([hypervolume(values, objectives, reference_point)])

    eligible = candidates(loaded, benchmark).filter("eligible")
    hypervolumes = []
    for method in loaded.methods:
        trials = eligible.filter(method=method)
        if not trials.height:
            continue
        values = values_by_seed(loaded, trials["trial_id"])
        mean = float(volume(np.nanmean(values, axis=1))[0])
        error = float(np.sqrt(jackknife_variance(values, volume)[0]))
        has_error = loaded.is_confirmed(benchmark) and not np.isnan(error)
        hypervolumes.append(MethodHypervolume(method, mean, error if has_error else None))
    return sorted(hypervolumes, key=lambda each: -each.value)
