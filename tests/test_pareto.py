"""Fronts and hypervolumes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ngm_tune.metrics import METRICS
from ngm_tune.pareto import hypervolume, on_front

BOTH = [METRICS["avg_acc"], METRICS["avg_sg"]]
REFERENCE = {"avg_acc": 0.1, "avg_sg": 1.0}


def test_front_by_hand() -> None:
    points = [[0.9, 0.5], [0.8, 0.1], [0.8, 0.2], [0.5, 0.6], [0.9, 0.5]]
    assert on_front(points, BOTH).tolist() == [True, True, False, False, True]


def test_hypervolume_by_hand() -> None:
    # A rectangle of 0.8 x 0.5, and one of 0.7 x 0.9 that overlaps it in 0.7 x 0.5.
    volume = hypervolume([[0.9, 0.5], [0.8, 0.1]], BOTH, REFERENCE)
    assert volume == pytest.approx(0.8 * 0.5 + 0.7 * 0.9 - 0.7 * 0.5)


def test_what_is_beyond_the_reference_or_the_ideal_gains_nothing() -> None:
    assert hypervolume([[0.05, 0.0]], BOTH, REFERENCE) == 0.0
    assert hypervolume([], BOTH, REFERENCE) == 0.0
    assert hypervolume([[0.6, -0.3]], BOTH, REFERENCE) == pytest.approx(0.5)


@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 12), st.just(2)), elements=st.floats(0, 1)))
def test_front_is_what_nothing_dominates(points: np.ndarray) -> None:
    losses = points * [-1.0, 1.0]
    dominated = [
        any((other <= mine).all() and (other < mine).any() for other in losses) for mine in losses
    ]
    assert on_front(points, BOTH).tolist() == [not d for d in dominated]
    front = points[on_front(points, BOTH)]
    assert hypervolume(front, BOTH, REFERENCE) == pytest.approx(
        hypervolume(points, BOTH, REFERENCE)
    )
