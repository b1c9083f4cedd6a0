"""Statistics of paired differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from ngm_tune.analysis.statistics.paired import (
    Estimate,
    adjust_holm,
    estimate_mean,
    jackknife,
    probability_positive,
    replicates_to_decide,
    resolvable_difference,
)

DIFFERENCES = [0.02, 0.05, -0.01, 0.03, 0.06]


def test_the_interval_is_that_of_the_paired_t_test() -> None:
    estimate = estimate_mean(DIFFERENCES)
    test = stats.ttest_1samp(DIFFERENCES, 0.0)
    assert estimate[:3] == pytest.approx((0.03, *test.confidence_interval(0.95)))
    assert estimate.sd == pytest.approx(np.std(DIFFERENCES, ddof=1))
    assert (estimate.p_value, estimate.n) == (pytest.approx(test.pvalue), 5)


@pytest.mark.filterwarnings("error")
def test_equal_differences_have_an_interval_of_zero_width() -> None:
    assert estimate_mean([0.5, 0.5, 0.5]) == (0.5, 0.5, 0.5, 0.0, 0.0, 3)
    assert estimate_mean([0.0, 0.0]) == (0.0, 0.0, 0.0, 0.0, 1.0, 2)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("differences", "mean"), [([], math.nan), ([0.2], 0.2)])
def test_fewer_than_two_replicates_have_no_interval(differences: list[float], mean: float) -> None:
    nan = math.nan
    expected = (mean, nan, nan, nan, nan, len(differences))
    assert estimate_mean(differences) == pytest.approx(expected, nan_ok=True)


def test_the_jackknife_of_a_mean_is_the_t_interval_of_its_observations() -> None:
    values = np.array(DIFFERENCES)
    without = [np.delete(values, i).mean() for i in range(len(values))]
    assert jackknife(float(values.mean()), without) == pytest.approx(values)


def test_the_jackknife_keeps_the_statistic_and_has_its_standard_error() -> None:
    values = jackknife(1.0, [0.8, 1.1, 1.4])
    assert values.mean() == pytest.approx(1.0)
    # (S - 1) / S times the sum of squares of 0.3, 0.0 and 0.3
    assert values.var(ddof=1) / 3 == pytest.approx(2 / 3 * 0.18)


def test_holm() -> None:
    assert adjust_holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert adjust_holm([0.6, 0.5]) == [1.0, 1.0]
    assert adjust_holm([0.02]) == [0.02]
    assert adjust_holm([]) == []


def test_holm_counts_hypotheses_without_a_p_value() -> None:
    assert adjust_holm([math.nan, 0.02, 0.04]) == pytest.approx([math.nan, 0.06, 0.08], nan_ok=True)


def test_probability_of_improvement() -> None:
    value, low, high = probability_positive([0.1, 0.2, 0.3, -0.1])
    interval = stats.binomtest(3, 4).proportion_ci()
    assert (value, low, high) == pytest.approx((0.75, interval.low, interval.high))
    assert probability_positive([0.1] * 3).high == 1.0
    assert math.isnan(probability_positive([]).value)


def test_a_zero_counts_as_half_an_improvement() -> None:
    value, low, high = probability_positive([0.1, 0.0, -0.1])
    assert value == 0.5
    assert low == pytest.approx(stats.binomtest(1, 3).proportion_ci().low)
    assert high == pytest.approx(stats.binomtest(2, 3).proportion_ci().high)
    assert probability_positive([0.0, 0.0]).value == 0.5


@pytest.mark.parametrize(
    ("n", "level", "expected"),
    [(3, 0.05, 3.26404), (5, 0.05, 1.68200), (10, 0.05, 0.99600), (5, 0.0125, 2.47679)],
)
def test_resolvable_difference(n: int, level: float, expected: float) -> None:
    """The values are those of statsmodels 0.15, ``TTestPower().solve_power(power=0.8)``."""
    assert resolvable_difference(1.0, n, level) == pytest.approx(expected, abs=1e-5)
    assert resolvable_difference(0.1, n, level) == pytest.approx(expected / 10, abs=1e-6)


def test_a_resolvable_difference_is_found_in_four_of_five_studies() -> None:
    random = np.random.default_rng(0)
    for n, level in ((2, 0.05), (5, 0.0125)):
        true = resolvable_difference(1.0, n, level)
        tests = stats.ttest_1samp(random.normal(true, 1.0, (20_000, n)), 0.0, axis=1)
        found = ((tests.pvalue <= level) & (tests.statistic > 0)).mean()
        assert found == pytest.approx(0.8, abs=3.5 * (0.16 / 20_000) ** 0.5)


def test_replicates_to_decide() -> None:
    estimate = estimate_mean(DIFFERENCES[:3])  # mean 0.02, standard deviation 0.03
    widths = {n: stats.t.ppf(0.975, n - 1) * 0.03 / n**0.5 for n in range(4, 20)}
    expected = min(n for n, width in widths.items() if width < 0.02)
    assert replicates_to_decide(estimate, None) == expected == 12  # 0.0202 at 11, 0.0191 at 12
    assert replicates_to_decide(estimate, None, level=0.0125) == 18
    assert replicates_to_decide(estimate, 0.05) == 7  # width 0.0277 within 0.05 - 0.02


def test_a_small_difference_is_decided_by_equivalence_alone() -> None:
    estimate = Estimate(0.0, -0.02, 0.02, 0.01, 1.0, 3)
    assert replicates_to_decide(estimate, None) is None
    assert replicates_to_decide(estimate, 1e-4) is None  # beyond the limit
    assert replicates_to_decide(estimate, 0.01) == 7
