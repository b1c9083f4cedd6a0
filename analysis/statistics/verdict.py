"""The verdict of a benchmark: the study's first method against each of its rivals.

The unit of replication is the whole search. A study repeats the search of every method; within a
repetition all methods share the split, the class order and the seeds, so differences are paired.
Sources: Bouthillier et al., MLSys 2021, arXiv 2103.03098; Dahl et al. (AlgoPerf), arXiv 2306.07179.
The same functions compare fixed runs, where the replicates are seeds.

The verdict rests on the primary endpoint; the secondary ones describe it in the units of the
objectives. For each endpoint the p values of all rivals are adjusted together, so the probability
of any false "better" or "worse" on that endpoint is at most 5 % (Holm, Scandinavian Journal of
Statistics 6, 1979). A difference is equivalent to zero if its interval lies within the margin
(Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15, 1987; with a 95 % interval, each
of the two one-sided tests has the level 2.5 %).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property

import numpy as np

from ngm_tune.metrics.curves import Floats

from .endpoints import Endpoint
from .paired import (
    LEVEL,
    Estimate,
    Probability,
    adjust_holm,
    estimate_mean,
    jackknife,
    probability_positive,
    replicates_to_decide,
    resolvable_difference,
)


class Outcome(Enum):
    """Outcome of a comparison, from the point of view of the study's first method."""

    BETTER = "better"
    WORSE = "worse"
    EQUIVALENT = "equivalent"
    UNDECIDED = "undecided"
    NO_INTERVAL = "no interval"


@dataclass(frozen=True)
class Comparison:
    """The study's first method against a rival in one endpoint.

    Positive differences mean that the first method is better.

    Attributes:
        endpoint: The compared quantity.
        rival: Name of the rival.
        differences: Differences of the replicates in which the endpoint is defined, in order.
        n_undefined: Number of replicates in which it is not.
        estimate: Mean difference and interval. With a single search it is over the confirmation's
            seeds.
        p_value: P value adjusted for the number of rivals by Holm's method; NaN without an
            interval.
        n_rivals: Number of rivals on the benchmark.
        one_search: Whether there is a single replicate, so that the comparison holds for this one
            search alone.
    """

    endpoint: Endpoint
    rival: str
    differences: tuple[float, ...]
    n_undefined: int
    estimate: Estimate
    p_value: float
    n_rivals: int
    one_search: bool

    @property
    def outcome(self) -> Outcome:
        """The outcome.

        "Equivalent" precedes "better" and "worse": a difference within the margin is of no
        practical use, even if it is significant.
        """
        mean, low, high = self.estimate[:3]
        if np.isnan(low):
            return Outcome.NO_INTERVAL
        if self.endpoint.margin is not None and max(-low, high) <= self.endpoint.margin:
            return Outcome.EQUIVALENT
        if self.p_value <= LEVEL:
            return Outcome.BETTER if mean > 0 else Outcome.WORSE
        return Outcome.UNDECIDED

    @property
    def raw(self) -> tuple[float, float, float]:
        """Mean and interval of the first method's value minus the rival's, in the metric's unit."""
        mean, low, high = self.estimate[:3]
        sign = self.endpoint.sign
        return (mean, low, high) if sign > 0 else (-mean, -high, -low)

    @cached_property
    def probability_better(self) -> Probability | None:
        """Probability that the first method is better in a new replicate; None for one search."""
        return None if self.one_search else probability_positive(self.differences)

    @cached_property
    def replicates_to_decide(self) -> int | None:
        """About the number of replicates that would decide an undecided comparison.

        None for another outcome, for one search, and beyond 1000. Replicates in which the endpoint
        is undefined do not count. The level of "better" and "worse" is divided by the number of
        rivals.
        """
        if self.one_search or self.outcome is not Outcome.UNDECIDED:
            return None
        return replicates_to_decide(self.estimate, self.endpoint.margin, self._level)

    @cached_property
    def resolvable(self) -> float | None:
        """The smallest true difference that 80 % of studies like this one would find.

        The number of replicates and their standard deviation are those of this comparison. The
        level is divided by the number of rivals. None for one search or without an interval.
        """
        if self.one_search or self.outcome is Outcome.NO_INTERVAL:
            return None
        return resolvable_difference(self.estimate.sd, self.estimate.n, self._level)

    @property
    def _level(self) -> float:
        """The strictest level that Holm's method applies, that of the smallest p value."""
        return LEVEL / self.n_rivals


def compare(
    values: Mapping[str, Sequence[Floats]], endpoints: Sequence[Endpoint]
) -> list[Comparison]:
    """Compare the first method with each of the others.

    With a single replicate, the interval is over the confirmation's seeds, by the jackknife: both
    methods leave out the same seed.

    Args:
        values: By method, the objectives in each replicate, shape (C, S, M): confirmed
            configurations, seeds, objectives. Diverged seeds have the worst values. The number of
            configurations differs between methods and replicates; it is 0 if there is nothing to
            confirm. All methods have the same replicates, and in a replicate the same seeds.
        endpoints: The quantities to compare.

    Returns:
        Comparisons by endpoint, then by rival, in the given order.

    Raises:
        ValueError: If the methods differ in the number of replicates.
    """
    focus, *rivals = values
    pairs = {rival: [*zip(values[focus], values[rival], strict=True)] for rival in rivals}
    comparisons: list[Comparison] = []
    for endpoint in endpoints:
        unadjusted = [
            _compare_replicates(endpoint, rival, pairs[rival], len(rivals)) for rival in rivals
        ]
        p_values = adjust_holm([each.p_value for each in unadjusted])
        comparisons += [
            replace(each, p_value=p_value)
            for each, p_value in zip(unadjusted, p_values, strict=True)
        ]
    return comparisons


def split_seeds(runs: Floats) -> list[Floats]:
    """Return the runs of each seed as a replicate of its own, for :func:`compare` of fixed runs.

    Args:
        runs: Shape (C, S, M).

    Returns:
        S arrays of shape (C, 1, M).
    """
    return np.split(runs, runs.shape[1], axis=1)


def _compare_replicates(
    endpoint: Endpoint, rival: str, pairs: Sequence[tuple[Floats, Floats]], n_rivals: int
) -> Comparison:
    """Return the comparison with one rival, with the p value of that rival alone."""
    differences = [_difference(endpoint, *pair) for pair in pairs]
    defined = tuple(each for each in differences if not np.isnan(each))
    one_search = len(pairs) == 1
    estimate = (
        _estimate_over_seeds(endpoint, *pairs[0], defined) if one_search else estimate_mean(defined)
    )
    return Comparison(
        endpoint=endpoint,
        rival=rival,
        differences=defined,
        n_undefined=len(differences) - len(defined),
        estimate=estimate,
        p_value=estimate.p_value,
        n_rivals=n_rivals,
        one_search=one_search,
    )


def _difference(endpoint: Endpoint, runs: Floats, others: Floats) -> float:
    """Return the difference of two methods in one replicate.

    It is rounded, so that equal values do not differ by the order of their summation.
    """
    points, other_points = (each.sum(axis=1) / max(1, each.shape[1]) for each in (runs, others))
    return round(float(endpoint.difference(points, other_points)), 12)


def _estimate_over_seeds(
    endpoint: Endpoint, runs: Floats, others: Floats, defined: Sequence[float]
) -> Estimate:
    """Return the difference of two methods in one replicate with its interval over seeds.

    There is no interval with a single seed, or if the endpoint is undefined without some seed.
    """
    seeds = max(runs.shape[1], others.shape[1])
    without = [
        _difference(endpoint, _leave_out(runs, seed), _leave_out(others, seed))
        for seed in range(seeds)
    ]
    if seeds < 2 or not defined or np.isnan(without).any():
        return estimate_mean(defined)
    return estimate_mean(jackknife(defined[0], without))


def _leave_out(runs: Floats, seed: int) -> Floats:
    """Return the runs of all other seeds."""
    return np.delete(runs, seed, axis=1) if len(runs) else runs
