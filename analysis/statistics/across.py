"""Methods over several benchmarks: mean hypervolume, rank, probability of improvement, profile.

The hypervolume of every repetition is normalised by the volume between the declared reference point
and the ideal, so values of different benchmarks can be averaged. Every benchmark has the same
weight. Intervals are over repetitions, with the benchmarks fixed: they say nothing about other
benchmarks.

Probability of improvement and performance profile are those of Agarwal, Schwarzer, Castro,
Courville and Bellemare, Deep reinforcement learning at the edge of the statistical precipice,
NeurIPS 2021, arXiv 2108.13264, with its bootstrap, which is stratified by benchmark. Repetitions
are drawn for all methods together, because the methods of a repetition share split, class order
and seeds. Ranks and their critical difference (Nemenyi) are those of Demšar, Statistical
comparisons of classifiers over multiple data sets, JMLR 7, 2006.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
from scipy import stats

from ngm_tune.metrics.curves import Floats

from ..loaded_study import LoadedStudy
from .paired import LEVEL
from .replicates import has_equal_effort, replicate_hypervolumes

_N_RESAMPLES, _BATCH = 2000, 200
"""Number of bootstrap samples, and of those that are in memory at the same time."""

_N_VALUES = 201
"""Number of hypervolumes at which a performance profile is evaluated."""


class Interval(NamedTuple):
    """An estimate with its 95 % confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class MethodScore:
    """A method over all benchmarks.

    Attributes:
        method: Name of the method.
        hypervolume: Mean normalised hypervolume.
        rank: Mean rank over the benchmarks; 1 is the best.
        improvement: Probability that the study's first method is better than this one; None for the
            first method itself.
    """

    method: str
    hypervolume: Interval
    rank: float
    improvement: Interval | None


@dataclass(frozen=True)
class AcrossInfo:
    """Comparison of methods over several benchmarks.

    Attributes:
        focus: The study's first method.
        scores: One entry per method, in the study's order.
        repetitions: Number of repetitions of each benchmark, by its name.
        critical_difference: The smallest difference of two mean ranks that is significant.
        n_benchmarks_to_differ: The smallest number of benchmarks with which mean ranks of this many
            methods can differ significantly.
        omitted: Methods that were not run on all these benchmarks.
        unconfirmed: Benchmarks whose values are from the validation data of the search.
        profile: Performance profile: ``Method`` (display name), ``hypervolume``, and the ``share``
            of searches with at least this hypervolume, with ``low`` and ``high``.
        methods: Display names of all methods of the study, in the order of colours.
    """

    focus: str
    scores: Sequence[MethodScore]
    repetitions: dict[str, int]
    critical_difference: float
    n_benchmarks_to_differ: int
    omitted: Sequence[str]
    unconfirmed: Sequence[str]
    profile: pl.DataFrame
    methods: list[str]

    @property
    def ranks_can_differ(self) -> bool:
        """Whether there are enough benchmarks for significantly different mean ranks."""
        return len(self.repetitions) >= self.n_benchmarks_to_differ

    @property
    def has_separated(self) -> bool:
        """Whether the first method is better, or worse, than a rival in all pairs of searches."""
        return any(
            score.improvement is not None and score.improvement.value in {0.0, 1.0}
            for score in self.scores
        )


def across_info(loaded: LoadedStudy) -> AcrossInfo | None:
    """Compare the methods of a study over its benchmarks.

    The benchmarks are those with the first method and at least two repetitions in which all methods
    had equal effort, and the methods those that were run on all of these benchmarks.

    Returns:
        None with fewer than two such benchmarks or methods, with a single objective, and for fixed
        runs, which have no searches to compare.
    """
    if loaded.has_fixed_runs or len(loaded.objectives) < 2:
        return None
    focus = loaded.study.methods[0]
    volumes = {name: replicate_hypervolumes(loaded, name) for name in loaded.benchmarks}
    volumes = {
        name: of_methods
        for name, of_methods in volumes.items()
        if focus in of_methods and len(of_methods[focus]) > 1 and has_equal_effort(loaded, name)
    }
    methods = [m for m in loaded.methods if all(m in each for each in volumes.values())]
    if len(volumes) < 2 or len(methods) < 2:
        return None
    samples = [np.array([each[method] for method in methods]) for each in volumes.values()]
    means = [mean_over_benchmarks([sample[i] for sample in samples]) for i in range(len(methods))]
    improvements = improvement_probabilities(samples)
    ranks = mean_ranks(np.array([sample.mean(axis=1) for sample in samples]))
    return AcrossInfo(
        focus,
        [
            MethodScore(*each)
            for each in zip(methods, means, ranks.tolist(), [None, *improvements], strict=True)
        ],
        {name: len(each[focus]) for name, each in volumes.items()},
        critical_difference(len(methods), len(volumes)),
        benchmarks_to_differ(len(methods)),
        [method for method in loaded.methods if method not in methods],
        [name for name in volumes if not loaded.is_confirmed(name)],
        performance_profile(samples, [loaded.method_title(method) for method in methods]),
        loaded.method_titles,
    )


def mean_over_benchmarks(values: Sequence[Floats]) -> Interval:
    """Return the mean over benchmarks of the mean over repetitions, with its t interval.

    The variance is the sum of those of the benchmarks' means; its degrees of freedom are those of
    Welch and Satterthwaite (Satterthwaite, Biometrics Bulletin 2, 1946).

    Args:
        values: For each benchmark, the values of its repetitions, at least two.
    """
    mean = float(np.mean([each.mean() for each in values]))
    variances = np.array([each.var(ddof=1) / len(each) for each in values])
    if not variances.any():
        return Interval(mean, mean, mean)
    degrees = variances.sum() ** 2 / sum(
        variance**2 / (len(each) - 1) for variance, each in zip(variances, values, strict=True)
    )
    width = float(stats.t.isf(LEVEL / 2, degrees) * variances.sum() ** 0.5 / len(values))
    return Interval(mean, mean - width, mean + width)


def improvement_probabilities(samples: Sequence[Floats]) -> list[Interval]:
    """Return the probability that the first method is better than each of the others.

    On a benchmark it is the share of pairs of one repetition of either method in which the first
    method has the larger value; equal values count half. It is averaged over the benchmarks.

    Args:
        samples: For each of B benchmarks, the values of K methods in R repetitions, shape (K, R).

    Returns:
        K - 1 probabilities, with the stratified percentile bootstrap interval.
    """

    def probabilities(*repetitions: Floats, axis: int) -> Floats:
        wins = []
        for values in repetitions:
            first, others = np.expand_dims(values[:1], axis - 1), np.expand_dims(values[1:], axis)
            wins.append(((others < first) + (others == first) / 2).mean(axis=(axis - 1, axis)))
        return np.asarray(np.mean(wins, axis=0))

    values, low, high = _bootstrap(probabilities, samples)
    return [Interval(*map(float, each)) for each in zip(values, low, high, strict=True)]


def mean_ranks(means: Floats) -> Floats:
    """Return the mean rank of each method over the benchmarks, shape (K,); 1 is the largest value.

    Equal values share the mean of their ranks.

    Args:
        means: The mean of each method on each benchmark, shape (B, K).
    """
    return np.asarray(stats.rankdata(-means, axis=1).mean(axis=0))


def critical_difference(n_methods: int, n_benchmarks: int) -> float:
    """Return the smallest difference of mean ranks that is significant at the level of 5 %.

    The level holds for all pairs of methods together (Nemenyi's test; Demšar 2006, section 3.2.2).
    The studentized range is that of infinitely many degrees of freedom, an approximation for many
    benchmarks.
    """
    quantile = float(stats.studentized_range.isf(LEVEL, n_methods, np.inf)) / 2**0.5
    return quantile * float(np.sqrt(n_methods * (n_methods + 1) / (6 * n_benchmarks)))


def benchmarks_to_differ(n_methods: int) -> int:
    """Return the smallest number of benchmarks with which mean ranks can differ significantly.

    The largest possible difference is that of a method which is the best on every benchmark from
    one that is the worst on every benchmark.
    """
    ratio = critical_difference(n_methods, 1) / (n_methods - 1)
    return int(np.ceil(ratio**2))


def performance_profile(samples: Sequence[Floats], titles: Sequence[str]) -> pl.DataFrame:
    """Return the share of searches whose value is at least a threshold, for each method.

    Args:
        samples: For each of B benchmarks, the values of K methods in R repetitions, shape (K, R).
        titles: Display names of the methods.

    Returns:
        ``Method``, ``hypervolume`` (the threshold), ``share``, and the bounds ``low`` and ``high``
        of the stratified percentile bootstrap interval at this threshold.
    """
    thresholds = np.linspace(
        min(values.min() for values in samples), max(values.max() for values in samples), _N_VALUES
    )

    def shares(*repetitions: Floats, axis: int) -> Floats:
        reached = [
            np.expand_dims(values, 1) >= thresholds.reshape(-1, *[1] * (values.ndim - 1))
            for values in repetitions
        ]
        return np.asarray(np.mean([each.mean(axis=axis) for each in reached], axis=0))

    values, low, high = _bootstrap(shares, samples)
    return pl.DataFrame(
        {
            "Method": np.repeat(titles, _N_VALUES),
            "hypervolume": np.tile(thresholds, len(titles)),
            "share": values.ravel(),
            "low": low.ravel(),
            "high": high.ravel(),
        }
    )


def _bootstrap(
    statistic: Callable[..., Floats], samples: Sequence[Floats]
) -> tuple[Floats, Floats, Floats]:
    """Return a statistic with the bounds of its stratified percentile bootstrap interval.

    Within each benchmark, repetitions are drawn with replacement, the same ones for all methods.

    Args:
        statistic: Function of one array per benchmark, with repetitions along ``axis``, -1.
        samples: For each benchmark, the values of K methods in R repetitions, shape (K, R).
    """
    result = stats.bootstrap(
        samples,
        statistic,
        n_resamples=_N_RESAMPLES,
        batch=_BATCH,
        axis=-1,
        confidence_level=1.0 - LEVEL,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    interval = result.confidence_interval
    return statistic(*samples, axis=-1), interval.low, interval.high
