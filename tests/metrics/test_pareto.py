"""Fronts, ranks, hypervolumes, selection from fronts, and constraints."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from ngm_tune.metrics.constraints import Constraint, is_feasible
from ngm_tune.metrics.pareto import hypervolume, on_front, ranks
from ngm_tune.metrics.registry import METRICS
from ngm_tune.metrics.selection import find_knee, hypervolume_subset

Points = NDArray[np.float64]
BOTH = [METRICS["avg_acc"], METRICS["avg_sg"]]
REFERENCE = {"avg_acc": 0.1, "avg_sg": 1.0}

# Some values repeat, so that ties and equal points occur.
coordinates = st.one_of(
    st.floats(0, 1).map(lambda x: round(x, 6)), st.sampled_from([0.0, 0.25, 0.5, 1.0])
)
clouds = hnp.arrays(np.float64, st.tuples(st.integers(1, 12), st.just(2)), elements=coordinates)


def is_dominated(point: Points, others: Points) -> bool:
    """Apply the definition: accuracy is maximized and the gap is minimized."""
    losses, loss = others * [-1.0, 1.0], point * [-1.0, 1.0]
    return any((other <= loss).all() and (other < loss).any() for other in losses)


def test_front_of_known_points() -> None:
    points = [[0.9, 0.5], [0.8, 0.1], [0.8, 0.2], [0.5, 0.6], [0.9, 0.5]]
    assert on_front(points, BOTH).tolist() == [True, True, False, False, True]


def test_hypervolume_of_known_points() -> None:
    # Rectangles of 0.8 x 0.5 and 0.7 x 0.9, which overlap in 0.7 x 0.5.
    volume = hypervolume([[0.9, 0.5], [0.8, 0.1]], BOTH, REFERENCE)
    assert volume == pytest.approx(0.8 * 0.5 + 0.7 * 0.9 - 0.7 * 0.5)


def test_values_beyond_the_reference_point_or_the_ideal_add_no_hypervolume() -> None:
    assert hypervolume([[0.05, 0.0]], BOTH, REFERENCE) == 0.0
    assert hypervolume([], BOTH, REFERENCE) == 0.0
    assert hypervolume([[0.6, -0.3]], BOTH, REFERENCE) == pytest.approx(0.5)
    assert ranks([[0.6, -0.3], [0.6, 0.0]], BOTH).tolist() == [0, 0]


@given(clouds)
def test_points_on_the_front_are_not_dominated_and_have_its_hypervolume(points: Points) -> None:
    assert on_front(points, BOTH).tolist() == [not is_dominated(p, points) for p in points]
    front = points[on_front(points, BOTH)]
    assert hypervolume(front, BOTH, REFERENCE) == pytest.approx(
        hypervolume(points, BOTH, REFERENCE)
    )


@given(clouds)
def test_rank_is_the_number_of_fronts_to_remove_first(points: Points) -> None:
    expected = np.full(len(points), -1)
    for rank in range(len(points)):
        remaining = np.flatnonzero(expected < 0)
        front = [i for i in remaining if not is_dominated(points[i], points[remaining])]
        expected[front] = rank
    assert ranks(points, BOTH).tolist() == expected.tolist()


def test_ranks_with_three_objectives() -> None:
    objectives = [*BOTH, METRICS["forgetting"]]
    points = [[0.9, 0.1, 0.5], [0.8, 0.2, 0.6], [0.8, 0.2, 0.4], [0.7, 0.3, 0.7]]
    assert ranks(points, objectives).tolist() == [0, 1, 0, 2]


@given(clouds, st.integers(0, 14))
def test_subset_selection_adds_the_point_with_the_largest_hypervolume(
    points: Points, count: int
) -> None:
    front = points[on_front(points, BOTH)]
    chosen = hypervolume_subset(front, BOTH, REFERENCE, count)
    assert len(chosen) == len(set(chosen)) == min(count, len(front))
    for size in range(len(chosen)):
        previous, added = chosen[:size], chosen[size]
        volumes = {
            i: hypervolume(front[[*previous, i]], BOTH, REFERENCE)
            for i in range(len(front))
            if i not in previous
        }
        assert volumes[added] == pytest.approx(max(volumes.values()))


def test_subset_selection_of_a_known_front() -> None:
    front = [[0.9, 0.5], [0.8, 0.2], [0.79, 0.19], [0.3, 0.0]]
    assert hypervolume_subset(front, BOTH, REFERENCE, 3) == [1, 0, 3]
    assert hypervolume_subset(front, BOTH, REFERENCE, 9) == [1, 0, 3, 2]


def test_points_without_hypervolume_come_last_by_distance_to_the_ideal() -> None:
    front = [[0.05, 0.3], [0.04, 0.1], [0.9, 0.5]]
    assert hypervolume_subset(front, BOTH, REFERENCE, 3) == [2, 1, 0]


def test_knee_is_nearest_to_the_ideal_relative_to_the_reference_point() -> None:
    points = [[0.9, 0.9], [0.6, 0.3], [0.2, 0.0]]
    assert find_knee(points, BOTH, REFERENCE) == 1
    assert find_knee(points, BOTH, {"avg_acc": -99.0, "avg_sg": 1.0}) == 2


@pytest.mark.parametrize(
    ("text", "value", "violation"),
    [
        ("avg_acc >= 0.9", 0.85, 0.05),
        ("avg_acc >= 0.9", 0.9, 0.0),
        ("avg_acc>=0.9", 0.95, -0.05),
        (" avg_sg <= 1e-1 ", 0.3, 0.2),
        ("avg_sg <= 0.1", 0.1, 0.0),
        ("avg_sg <= 0.1", 0.0, -0.1),
        ("forgetting <= -0.1", 0.0, 0.1),
    ],
)
def test_violation_is_the_distance_beyond_the_bound(
    text: str, value: float, violation: float
) -> None:
    constraint = Constraint.parse(text)
    assert constraint.metric is METRICS[text.strip().split(" ")[0].split(">")[0]]
    assert constraint.violation(value) == pytest.approx(violation)


def test_a_value_at_the_bound_is_feasible_despite_float32_rounding() -> None:
    accuracy = float(np.float32(0.9))  # accuracies are stored as float32
    limit = Constraint.parse("avg_acc >= 0.9")
    assert limit.violation(accuracy) > 0.0
    assert is_feasible(limit.violation(accuracy))
    assert not is_feasible(limit.violation(accuracy - 1e-5))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is not a constraint; it must have the form 'avg_acc >= 0.9'"),
        ("avg_acc", "'avg_acc' is not a constraint"),
        ("avg_acc > 0.9", "'avg_acc > 0.9' is not a constraint"),
        ("avg_acc == 0.9", "'avg_acc == 0.9' is not a constraint"),
        ("0.9 <= avg_acc", "'0.9 <= avg_acc' is not a constraint"),
        ("avg_acc >= high", "'avg_acc >= high' is not a constraint"),
        ("avg_acc >= 0.9 and avg_sg <= 0.1", "is not a constraint"),
        ("avg_acc >= nan", "'avg_acc >= nan': must be a finite bound on one of avg_acc, avg_sg"),
        ("avg_acc >= inf", "'avg_acc >= inf': must be a finite bound"),
        ("accuracy >= 0.9", "'accuracy >= 0.9': must be a finite bound on one of avg_acc, "),
        ("recovery <= 100", "'recovery <= 100': must be a finite bound on one of avg_acc, "),
    ],
)
def test_an_invalid_constraint_is_refused_with_the_allowed_form(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"is not a constraint|must be a finite bound") as error:
        Constraint.parse(text)
    assert message in str(error.value)
