"""Statistics of paired differences: interval, test, resolution, and probability of improvement.

The interval is that of Student's paired t test. Its replicates are repetitions of the whole search,
because the variation over seeds of a single search leaves out most of what differs between two
repetitions of an experiment (Bouthillier et al., MLSys 2021, arXiv 2103.03098). With three to ten
repetitions bootstraps cover too little, and rank tests cannot decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats

from ngm_tune.metrics.curves import Floats

LEVEL = 0.05
"""Level of two-sided tests; intervals have the confidence ``1 - LEVEL``."""

POWER = 0.8
"""Share of studies in which a difference that a study "can resolve" is significant."""

MAX_REPLICATES = 1000
"""Largest number of replicates that :func:`replicates_to_decide` considers."""


class Estimate(NamedTuple):
    """A mean difference with its confidence interval.

    Attributes:
        mean: Mean difference; NaN without replicates.
        low: Lower bound of the 95 % paired t interval; NaN for fewer than two replicates.
        high: Upper bound.
        sd: Standard deviation of the differences (n - 1); NaN for fewer than two replicates.
        p_value: Two-sided p value of the difference from zero; NaN for fewer than two replicates.
        n: Number of replicates.
    """

    mean: float
    low: float
    high: float
    sd: float
    p_value: float
    n: int


class Probability(NamedTuple):
    """A probability with its 95 % confidence interval; NaN without replicates."""

    value: float
    low: float
    high: float


def estimate_mean(differences: ArrayLike) -> Estimate:
    """Return the mean of paired differences with the interval of Student's t test.

    Equal differences have an interval of zero width.

    Args:
        differences: Finite differences, shape (R,).
    """
    values = np.asarray(differences, dtype=np.float64)
    n = len(values)
    if n < 2:
        return Estimate(float(values[0]) if n else np.nan, np.nan, np.nan, np.nan, np.nan, n)
    mean, sd = float(values.mean()), float(values.std(ddof=1))
    error = sd / n**0.5
    width = float(stats.t.isf(LEVEL / 2, n - 1)) * error
    p_value = 2 * float(stats.t.sf(abs(mean) / error, n - 1)) if error else float(mean == 0)
    return Estimate(mean, mean - width, mean + width, sd, p_value, n)


def jackknife(whole: float, without: ArrayLike) -> Floats:
    """Return values whose mean is a statistic and whose standard error is that of the jackknife.

    They are Tukey's pseudo-values, shifted so that their mean is the statistic itself (Efron and
    Tibshirani, An Introduction to the Bootstrap, 1993, section 11.5).

    Args:
        whole: The statistic of all observations.
        without: The statistic without each of the observations, shape (S,).

    Returns:
        Shape (S,).
    """
    left_out = np.asarray(without, dtype=np.float64)
    return np.asarray(whole + (len(left_out) - 1) * (left_out.mean() - left_out))


def adjust_holm(p_values: Sequence[float]) -> list[float]:
    """Return the p values adjusted for their number by Holm's method.

    The probability of a significant value among true hypotheses is then at most the level
    (Holm, Scandinavian Journal of Statistics 6, 1979). A NaN counts as a hypothesis that is not
    rejected.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = p.argsort(kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return [float(value) for value in adjusted.clip(max=1.0)]


def probability_positive(differences: ArrayLike) -> Probability:
    """Return the probability that the difference of a new replicate is positive.

    The estimate is the share of positive differences, where a zero counts as half a positive one.
    The interval is that of Clopper and Pearson (Biometrika 26, 1934), with the bounds of the whole
    numbers around a half.

    Args:
        differences: Finite differences, shape (R,).
    """
    values = np.asarray(differences, dtype=np.float64)
    n = len(values)
    if not n:
        return Probability(np.nan, np.nan, np.nan)
    zeros = int((values == 0).sum())
    positive = int((values > 0).sum())
    fewest, most = positive + zeros // 2, positive + (zeros + 1) // 2
    low = stats.binomtest(fewest, n).proportion_ci(1.0 - LEVEL).low
    high = stats.binomtest(most, n).proportion_ci(1.0 - LEVEL).high
    return Probability((positive + zeros / 2) / n, float(low), float(high))


def resolvable_difference(sd: float, n: int, level: float = LEVEL) -> float:
    """Return the smallest true difference that is significant in :data:`POWER` of studies.

    It is the difference at which the two-sided t test has that power, by the noncentral t
    distribution. The probability of a significant difference of the wrong sign is neglected; it is
    below 1e-4.

    Args:
        sd: Standard deviation of the paired differences.
        n: Number of replicates, at least 2.
        level: Level of the two-sided test.

    Returns:
        The difference, in the unit of ``sd``.
    """
    critical = stats.t.isf(level / 2, n - 1)
    noncentrality = optimize.brentq(
        lambda value: stats.nct.sf(critical, n - 1, value) - POWER, 0.0, 10.0 * (critical + 1.0)
    )
    return float(noncentrality * sd / n**0.5)


def replicates_to_decide(
    estimate: Estimate, margin: float | None, level: float = LEVEL
) -> int | None:
    """Return the number of replicates at which a comparison would be decided.

    It is the smallest number at which, with the same mean and standard deviation, the t interval
    excludes zero or the 95 % interval lies within the margin. As both are estimates, so is this
    number.

    Args:
        estimate: The estimate at the present number of replicates, at least 2.
        margin: Largest difference without practical use; None if a difference cannot be that small.
        level: Level of the test of the difference from zero.

    Returns:
        A number above the present one; None if it exceeds :data:`MAX_REPLICATES`.
    """
    n = np.arange(estimate.n + 1, MAX_REPLICATES + 1)
    error = estimate.sd / np.sqrt(n)
    size = abs(estimate.mean)
    decided = size > stats.t.isf(level / 2, n - 1) * error
    if margin is not None:
        decided |= size + stats.t.isf(LEVEL / 2, n - 1) * error <= margin
    return int(n[decided.argmax()]) if decided.any() else None
