"""Endpoints of the verdict, with values computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngm_tune.analysis.statistics.endpoints import (
    hypervolume_margin,
    normalised_hypervolume,
    search_endpoints,
    value_endpoints,
)
from ngm_tune.metrics.registry import METRICS

ACCURACY, GAP = METRICS["avg_acc"], METRICS["avg_sg"]
OBJECTIVES = [ACCURACY, GAP]
REFERENCE = {"avg_acc": 0.8, "avg_sg": 0.5}
ENDPOINTS = search_endpoints(OBJECTIVES, REFERENCE, {})

Points = list[tuple[float, float]]

POINTS = st.lists(
    st.tuples(st.floats(0.0, 1.0, width=16), st.floats(0.0, 1.0, width=16)), max_size=4
)


def compare(points: Points, others: Points) -> list[float]:
    """Return the differences in hypervolume, gap at equal accuracy, and accuracy at equal gap."""
    arrays = [np.array(each, dtype=np.float64).reshape(-1, 2) for each in (points, others)]
    return [endpoint.difference(*arrays) for endpoint in ENDPOINTS]


def test_one_configuration_each() -> None:
    # hypervolumes 0.1 x 0.4 and 0.1 x 0.3 of 0.2 x 0.5
    assert compare([(0.9, 0.1)], [(0.9, 0.2)]) == pytest.approx([0.1, 0.1, 0.0])
    assert compare([(0.9, 0.2)], [(0.9, 0.1)]) == pytest.approx([-0.1, -0.1, 0.0])
    assert compare([(0.95, 0.2)], [(0.9, 0.2)]) == pytest.approx([0.15, 0.0, 0.05])


def test_fronts_that_cross() -> None:
    steps, point = [(0.95, 0.4), (0.85, 0.1)], [(0.9, 0.3)]
    # accuracies 0.8 to 0.9: gap 0.1 against 0.3 up to 0.85, then 0.4 against 0.3
    # gaps 0.3 to 0.5: accuracy 0.85 against 0.9 up to 0.4, then 0.95 against 0.9
    volume = (0.05 * 0.4 + 0.1 * 0.1 - 0.1 * 0.2) / 0.1
    assert compare(steps, point) == pytest.approx([volume, 0.05, 0.0])


def test_identical_fronts_do_not_differ() -> None:
    front = [(0.95, 0.4), (0.9, 0.2), (0.85, 0.1)]
    assert compare(front, front[::-1]) == [0.0, 0.0, 0.0]


def test_a_dominated_configuration_changes_nothing() -> None:
    front, other = [(0.95, 0.4), (0.85, 0.1)], [(0.9, 0.3)]
    assert compare([*front, (0.84, 0.2)], other) == compare(front, other)


def test_a_gap_beyond_the_reference_counts_as_the_reference() -> None:
    _, gap, accuracy = compare([(0.9, 0.7)], [(0.9, 0.3)])
    assert gap == pytest.approx(-0.2)
    assert math.isnan(accuracy)  # no gap better than the reference


@pytest.mark.parametrize("points", [[], [(0.79, 0.1)], [(0.8, 0.1)]])
def test_without_a_common_accuracy_the_gap_is_undefined(points: Points) -> None:
    volume, gap, _ = compare(points, [(0.9, 0.3)])
    assert volume == pytest.approx(-0.2)
    assert math.isnan(gap)


def test_two_methods_without_configurations() -> None:
    volume, *distances = compare([], [])
    assert volume == 0.0
    assert np.isnan(distances).all()


def test_direction_and_order_of_the_objectives_do_not_matter() -> None:
    reference = {"avg_sg": 0.5, "min_acc": 0.8}
    endpoints = search_endpoints([GAP, METRICS["min_acc"]], reference, {})
    points, others = np.array([[0.4, 0.95], [0.1, 0.85]]), np.array([[0.3, 0.9]])
    assert [each.name for each in endpoints] == [
        "hypervolume",
        "min_acc at equal avg_sg",
        "avg_sg at equal min_acc",
    ]
    volume, gap, accuracy = compare([(0.95, 0.4), (0.85, 0.1)], [(0.9, 0.3)])
    differences = [each.difference(points, others) for each in endpoints]
    assert differences == pytest.approx([volume, accuracy, gap])


@given(POINTS, POINTS)
def test_exchanged_methods_have_the_negative_difference(points: Points, others: Points) -> None:
    expected = [-value for value in compare(others, points)]
    assert compare(points, others) == pytest.approx(expected, nan_ok=True)


@given(POINTS.filter(bool), st.floats(0.0, 0.2))
def test_a_shift_by_the_margin_stays_within_the_margin_of_the_hypervolume(
    points: Points, margin: float
) -> None:
    for shift in ((margin, 0.0), (0.0, -margin)):
        name = "avg_acc" if shift[0] else "avg_sg"
        bound = margin / abs(METRICS[name].best - REFERENCE[name])
        shifted = [(accuracy + shift[0], gap + shift[1]) for accuracy, gap in points]
        assert -1e-9 <= compare(shifted, points)[0] <= bound + 1e-9


def test_a_shifted_front_is_as_far_away_as_it_was_shifted() -> None:
    front = [(0.95, 0.4), (0.9, 0.2), (0.85, 0.1)]
    _, gap, _ = compare([(a, g - 0.03) for a, g in front], front)
    _, _, accuracy = compare([(a + 0.02, g) for a, g in front], front)
    assert (gap, accuracy) == pytest.approx((0.03, 0.02))


def test_the_hypervolume_is_a_share_of_the_volume_up_to_the_ideal() -> None:
    shares = [
        normalised_hypervolume(np.array(points).reshape(-1, 2), OBJECTIVES, REFERENCE)
        for points in ([], [(0.8, 0.5)], [(0.9, 0.25)], [(1.0, 0.0)])
    ]
    assert shares == pytest.approx([0.0, 0.0, 0.25, 1.0])


def test_margin_of_the_hypervolume() -> None:
    margins = {"avg_acc": 0.01, "avg_sg": 0.02}
    assert hypervolume_margin(OBJECTIVES, REFERENCE, margins) == pytest.approx(0.02 / 0.5)
    assert hypervolume_margin(OBJECTIVES, REFERENCE, {"avg_acc": 0.01}) is None


def test_endpoints_have_the_margin_unit_and_sign_of_their_metric() -> None:
    hypervolume, gap, accuracy = search_endpoints(OBJECTIVES, REFERENCE, {"avg_sg": 0.02})
    assert (hypervolume.primary, gap.primary, accuracy.primary) == (True, False, False)
    assert (hypervolume.metric, gap.metric, accuracy.metric) == (None, GAP, ACCURACY)
    assert (hypervolume.margin, gap.margin, accuracy.margin) == (None, 0.02, None)
    assert (hypervolume.sign, gap.sign, accuracy.sign) == (1.0, -1.0, 1.0)
    assert gap.title == "Stability gap (previous task) at equal average accuracy"


def test_a_single_objective_is_compared_by_its_best_value() -> None:
    (gap,) = search_endpoints([GAP], {"avg_sg": 0.5}, {"avg_sg": 0.02})
    assert (gap.name, gap.margin, gap.primary) == ("avg_sg", 0.02, True)
    assert gap.difference(np.array([[0.3], [0.1]]), np.array([[0.2]])) == pytest.approx(0.1)
    assert gap.difference(np.empty((0, 1)), np.array([[0.2]])) == pytest.approx(-0.8)  # the worst


def test_three_objectives_are_compared_by_the_hypervolume_alone() -> None:
    objectives = [*OBJECTIVES, METRICS["min_acc"]]
    (volume,) = search_endpoints(objectives, {**REFERENCE, "min_acc": 0.5}, {})
    point, other = np.array([[0.9, 0.25, 0.75]]), np.array([[0.9, 0.25, 0.5]])
    assert volume.difference(point, other) == pytest.approx(0.125)


def test_fixed_runs_are_compared_in_each_objective() -> None:
    endpoints = value_endpoints(OBJECTIVES, {"avg_acc": 0.01})
    differences = [
        each.difference(np.array([[0.9, 0.1]]), np.array([[0.8, 0.3]])) for each in endpoints
    ]
    assert differences == pytest.approx([0.1, 0.2])
    assert [(each.name, each.primary) for each in endpoints] == [
        ("avg_acc", True),
        ("avg_sg", False),
    ]
