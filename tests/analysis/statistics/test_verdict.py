"""The verdict: outcomes of comparisons over repetitions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from ngm_tune.analysis.statistics.endpoints import search_endpoints, value_endpoints
from ngm_tune.analysis.statistics.verdict import Comparison, Outcome, compare, split_seeds
from ngm_tune.metrics.registry import METRICS

OBJECTIVES = [METRICS["avg_acc"], METRICS["avg_sg"]]
REFERENCE = {"avg_acc": 0.8, "avg_sg": 0.5}
MARGINS = {"avg_acc": 0.01, "avg_sg": 0.02}
ENDPOINTS = search_endpoints(OBJECTIVES, REFERENCE, MARGINS)
WITHOUT_MARGINS = search_endpoints(OBJECTIVES, REFERENCE, {})
NOTHING = np.empty((0, 3, 2))

Floats = NDArray[np.float64]


def repetition(*gaps: float, accuracy: float = 0.9) -> Floats:
    """Return a configuration with these gaps, one per seed."""
    return np.array([[(accuracy, gap) for gap in gaps]])


def by_gap(gaps: Sequence[float]) -> list[Floats]:
    """Return repetitions with one configuration of one seed."""
    return [repetition(gap) for gap in gaps]


def gap_against(
    gaps: Sequence[float], *rivals: Sequence[float], margins: bool = True
) -> list[Comparison]:
    """Compare gaps at equal accuracy, by repetition."""
    values = {f"method {i}": by_gap(each) for i, each in enumerate((gaps, *rivals))}
    return compare(values, (ENDPOINTS if margins else WITHOUT_MARGINS)[1:2])


def test_differences_are_paired_by_repetition() -> None:
    mine, other = [0.10, 0.30, 0.20], [0.16, 0.35, 0.27]
    (comparison,) = gap_against(mine, other)
    expected = stats.ttest_rel(other, mine).confidence_interval(0.95)
    assert comparison.differences == pytest.approx((0.06, 0.05, 0.07))
    assert comparison.estimate[:3] == pytest.approx((0.06, expected.low, expected.high))
    assert comparison.outcome is Outcome.BETTER
    assert comparison.raw == pytest.approx((-0.06, -expected.high, -expected.low))
    assert (comparison.estimate.n, comparison.n_undefined, comparison.one_search) == (3, 0, False)


def test_a_larger_gap_is_worse() -> None:
    (comparison,) = gap_against([0.16, 0.35, 0.27], [0.10, 0.30, 0.20])
    assert comparison.outcome is Outcome.WORSE
    assert comparison.raw[0] == pytest.approx(0.06)
    assert comparison.probability_better == pytest.approx((0.0, 0.0, 0.7076), abs=1e-4)


def test_all_endpoints_in_order() -> None:
    values = {"mine": by_gap([0.1, 0.1]), "other": by_gap([0.2, 0.2]), "third": by_gap([0.1, 0.2])}
    compared = [(each.endpoint.name, each.rival) for each in compare(values, ENDPOINTS)]
    assert compared == [
        (name, rival)
        for name in ("hypervolume", "avg_sg at equal avg_acc", "avg_acc at equal avg_sg")
        for rival in ("other", "third")
    ]


def test_a_significant_difference_within_the_margin_is_equivalent() -> None:
    gaps = [0.210, 0.211, 0.209], [0.2, 0.2, 0.2]
    assert gap_against(*gaps)[0].outcome is Outcome.EQUIVALENT
    (without_margin,) = gap_against(*gaps, margins=False)
    assert without_margin.outcome is Outcome.WORSE


def test_an_interval_beyond_the_margin_and_zero_is_undecided() -> None:
    (comparison,) = gap_against([0.10, 0.30, 0.20], [0.20, 0.22, 0.25])
    assert comparison.outcome is Outcome.UNDECIDED
    needed = comparison.replicates_to_decide
    assert needed is not None
    assert needed > 3
    assert comparison.resolvable == pytest.approx(3.26404 * comparison.estimate.sd, rel=1e-3)


def test_identical_fronts() -> None:
    gaps = [0.1, 0.3, 0.2]
    assert gap_against(gaps, gaps)[0].outcome is Outcome.EQUIVALENT
    (comparison,) = gap_against(gaps, gaps, margins=False)
    assert comparison.outcome is Outcome.UNDECIDED
    assert (comparison.p_value, comparison.replicates_to_decide) == (1.0, None)
    assert comparison.probability_better is not None
    assert comparison.probability_better.value == 0.5


def test_p_values_are_adjusted_for_the_number_of_rivals() -> None:
    mine, other = [0.10, 0.30, 0.20], [0.15, 0.39, 0.27]
    (alone,) = gap_against(mine, other)
    both = gap_against(mine, other, [0.2, 0.2, 0.2])
    assert alone.outcome is Outcome.BETTER
    assert both[0].p_value == pytest.approx(2 * alone.p_value)
    assert both[0].outcome is Outcome.UNDECIDED  # although the same interval excludes zero
    assert both[0].estimate == alone.estimate
    assert alone.resolvable is not None
    assert both[0].resolvable is not None
    assert both[0].resolvable > alone.resolvable


def test_undefined_repetitions_are_left_out_and_counted() -> None:
    mine, other = by_gap([0.1, 0.1, 0.1]), by_gap([0.2, 0.21, 0.22])
    other[1] = repetition(0.2, accuracy=0.7)
    volume, gap, accuracy = compare({"mine": mine, "other": other}, ENDPOINTS)
    assert (volume.estimate.n, volume.n_undefined) == (3, 0)
    assert (gap.estimate.n, gap.n_undefined) == (2, 1)
    assert gap.differences == pytest.approx((0.1, 0.12))
    assert accuracy.n_undefined == 0  # the rival's accuracy counts as the reference's


def test_a_method_that_diverged_in_a_repetition_has_no_hypervolume_there() -> None:
    mine = [repetition(0.1, 0.1, 0.1)] * 3
    other = [repetition(0.1, 0.1, 0.1), NOTHING, NOTHING]
    volume, gap, _ = compare({"mine": mine, "other": other}, ENDPOINTS)
    assert volume.differences == pytest.approx((0.0, 0.4, 0.4))
    assert (gap.n_undefined, gap.outcome) == (2, Outcome.NO_INTERVAL)
    assert gap.estimate.mean == 0.0
    assert (gap.resolvable, gap.replicates_to_decide) == (None, None)


def test_an_endpoint_that_is_never_defined() -> None:
    compared = compare({"mine": [NOTHING] * 3, "other": [NOTHING] * 3}, ENDPOINTS)
    assert [each.outcome for each in compared] == [
        Outcome.EQUIVALENT,
        Outcome.NO_INTERVAL,
        Outcome.NO_INTERVAL,
    ]
    assert math.isnan(compared[1].estimate.mean)


def test_an_undefined_rival_does_not_hide_the_others() -> None:
    mine, other = by_gap([0.10, 0.30, 0.20]), by_gap([0.16, 0.35, 0.27])
    nothing = [NOTHING] * 3
    gaps = compare({"mine": mine, "nothing": nothing, "other": other}, ENDPOINTS[1:2])
    assert [each.outcome for each in gaps] == [Outcome.NO_INTERVAL, Outcome.BETTER]


def test_configurations_are_means_over_seeds() -> None:
    mine, other = [repetition(0.0, 0.2)] * 2, [repetition(0.3, 0.1), repetition(0.2, 0.4)]
    (comparison,) = compare({"mine": mine, "other": other}, ENDPOINTS[1:2])
    assert comparison.differences == pytest.approx((0.1, 0.2))


def test_one_search_has_an_interval_over_seeds() -> None:
    mine, other = (0.10, 0.30, 0.20), (0.16, 0.35, 0.27)
    values = {"mine": [repetition(*mine)], "other": [repetition(*other)]}
    (comparison,) = compare(values, ENDPOINTS[1:2])
    expected = stats.ttest_rel(other, mine).confidence_interval(0.95)
    assert comparison.estimate[:3] == pytest.approx((0.06, expected.low, expected.high))
    assert comparison.one_search
    assert comparison.differences == pytest.approx((0.06,))
    assert comparison.outcome is Outcome.BETTER
    assert comparison.probability_better is None
    assert (comparison.resolvable, comparison.replicates_to_decide) == (None, None)


def test_one_search_of_one_seed_has_no_interval() -> None:
    for comparison in compare({"mine": by_gap([0.1]), "other": by_gap([0.2])}, ENDPOINTS):
        assert comparison.outcome is Outcome.NO_INTERVAL
        assert comparison.one_search
        assert not math.isnan(comparison.estimate.mean)


def test_one_search_against_a_method_without_configurations() -> None:
    values = {"mine": [repetition(0.1, 0.1, 0.1)], "other": [NOTHING]}
    volume, gap, _ = compare(values, ENDPOINTS)
    assert volume.estimate.mean == pytest.approx(0.4)
    assert volume.outcome is Outcome.BETTER
    assert (gap.outcome, gap.n_undefined) == (Outcome.NO_INTERVAL, 1)


def test_one_search_is_undecided_if_a_seed_alone_makes_it_defined() -> None:
    runs = np.array([[(0.9, 0.1), (0.75, 0.1), (0.79, 0.1)]])  # without the first seed below 0.8
    values = {"mine": [runs], "other": [repetition(0.2, 0.2, 0.2)]}
    gap = compare(values, ENDPOINTS)[1]
    assert gap.differences == pytest.approx((0.1,))
    assert gap.outcome is Outcome.NO_INTERVAL


def test_seeds_are_the_replicates_of_fixed_runs() -> None:
    mine, other = repetition(0.10, 0.30, 0.20), repetition(0.16, 0.35, 0.27, accuracy=0.8)
    values = {"mine": split_seeds(mine), "other": split_seeds(other)}
    accuracy, gap = compare(values, value_endpoints(OBJECTIVES, {}))
    assert accuracy.differences == pytest.approx((0.1, 0.1, 0.1))
    assert gap.differences == pytest.approx((0.06, 0.05, 0.07))
    assert (gap.outcome, gap.one_search) == (Outcome.BETTER, False)


def test_a_study_of_one_method_has_no_comparisons() -> None:
    assert compare({"mine": by_gap([0.1, 0.2])}, ENDPOINTS) == []


def test_methods_with_different_repetitions_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        compare({"mine": by_gap([0.1, 0.2]), "other": by_gap([0.1])}, ENDPOINTS)
