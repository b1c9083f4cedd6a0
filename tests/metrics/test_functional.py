"""Metrics of curves computed by hand, and properties of metrics."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ngm_tune.metrics import functional as metrics
from ngm_tune.metrics.curves import AccuracyCurves, transitions
from ngm_tune.metrics.registry import METRICS, compute_metrics

NAN = math.nan

# Three tasks with four iterations each.
HAND = AccuracyCurves(
    iterations=range(1, 13),
    accuracy=[
        [0.2, NAN, NAN],
        [0.5, NAN, NAN],
        [0.7, NAN, NAN],
        [0.8, NAN, NAN],  # T_1
        [0.4, 0.0, NAN],
        [0.6, 0.3, NAN],
        [0.8, 0.6, NAN],
        [0.9, 0.6, NAN],  # T_2
        [0.9, 0.3, 0.1],
        [0.6, 0.6, 0.2],
        [0.7, 0.45, 0.5],
        [0.75, 0.45, 0.7],  # T_3
    ],
    task_ends=[4, 8, 12],
)


def test_accuracies_of_a_known_run() -> None:
    assert metrics.average_accuracy(HAND) == pytest.approx((0.75 + 0.45 + 0.7) / 3)
    assert metrics.first_task_accuracy(HAND) == pytest.approx((0.8 + 0.9 + 0.75) / 3)
    assert metrics.learning_accuracy(HAND) == pytest.approx((0.8 + 0.6 + 0.7) / 3)
    # min over t > T_1 of a_1 is 0.4, min over t > T_2 of a_2 is 0.3
    assert metrics.minimum_accuracy(HAND) == pytest.approx((0.4 + 0.3) / 2)
    assert metrics.worst_case_accuracy(HAND) == pytest.approx(0.7 / 3 + (2 / 3) * 0.35)


def test_stability_gaps_of_a_known_run() -> None:
    previous = metrics.stability_gaps(HAND, "previous")
    assert previous == pytest.approx([(0.8 - 0.4) / 0.8, (0.6 - 0.3) / 0.6])
    first = metrics.stability_gaps(HAND, "first")
    assert first == pytest.approx([(0.8 - 0.4) / 0.8, (0.9 - 0.6) / 0.9])
    # Mean of old tasks: (0.9 + 0.6)/2 = 0.75 before the transition; 0.6, 0.6, 0.575, 0.6 after.
    old = metrics.stability_gaps(HAND, "old")
    assert old == pytest.approx([(0.8 - 0.4) / 0.8, (0.75 - 0.575) / 0.75])
    assert metrics.average_stability_gap(HAND) == pytest.approx(previous.mean())


def test_a_rise_does_not_offset_a_drop() -> None:
    """Signed, a rise from 0.1 to 0.9 would outweigh the total loss of the first task."""
    accuracy = [[0.9, NAN, NAN], [0.0, 0.1, NAN], [0.9, 0.9, 0.5]]
    curves = AccuracyCurves([1, 2, 3], accuracy, [1, 2, 3])
    assert metrics.signed_stability_gaps(curves) == pytest.approx([1.0, -8.0])
    assert metrics.average_signed_stability_gap(curves) == pytest.approx(-3.5)
    assert metrics.stability_gaps(curves).tolist() == [1.0, 0.0]
    assert metrics.average_stability_gap(curves) == 0.5


def test_a_task_that_was_not_learned_has_the_worst_gap() -> None:
    curves = AccuracyCurves([1, 2, 3], [[0.0, NAN], [0.3, 0.5], [0.4, 0.6]], [1, 3])
    for of in ("previous", "first", "old"):
        assert metrics.stability_gaps(curves, of).tolist() == [1.0]  # type: ignore[arg-type]
        assert metrics.signed_stability_gaps(curves, of).tolist() == [0.0]  # type: ignore[arg-type]


def test_recovery_times_and_gap_area_of_a_known_run() -> None:
    # Transition to task 2: minimum after 1 iteration, 0.8 again after 3. To task 3: 0.6 after 2.
    assert metrics.recovery_times(HAND).tolist() == [3.0, 2.0]
    # The first task does not recover from the second drop, from 0.9: censored at 4 iterations.
    assert np.isnan(metrics.recovery_times(HAND, "first")[1])
    assert metrics.recovery(HAND) == 2.5
    assert metrics.recovered(HAND) == 1.0
    areas = [(0.4 + 0.2 + 0 + 0) / 4, (0.3 + 0 + 0.15 + 0.15) / 4]
    assert metrics.gap_area(HAND) == pytest.approx(np.mean(areas))


def test_a_censored_recovery_time_counts_as_the_length_of_its_task() -> None:
    curves = AccuracyCurves([1, 2, 3, 4], [[0.9, NAN], [0.9, NAN], [0.1, 0.5], [0.2, 0.6]], [2, 4])
    assert np.isnan(metrics.recovery_times(curves)).all()
    assert metrics.recovery(curves) == 2.0
    assert metrics.recovered(curves) == 0.0


def test_recovery_is_within_one_percentage_point_and_after_the_minimum() -> None:
    # Accuracy falls from the third iteration on: the iterations before are not a recovery.
    fall = [0.9, 0.9, 0.5, 0.895]
    accuracy = [[0.9, NAN]] + [[a, 0.5] for a in fall]
    assert metrics.recovery_times(AccuracyCurves(range(1, 6), accuracy, [1, 5])) == [4.0]
    within = [[0.9, NAN]] + [[a, 0.5] for a in (0.895, 0.89, 0.9)]
    assert metrics.recovery_times(AccuracyCurves(range(1, 5), within, [1, 4])) == [0.0]


def test_windowed_metrics_and_forgetting_of_a_known_run() -> None:
    # Largest falls within two evaluations: 0.8 to 0.4; 0.6 to 0.3; none. Largest rises: 0.3 each.
    assert metrics.windowed_forgetting(HAND, 2) == pytest.approx((0.4 + 0.3 + 0.0) / 3)
    assert metrics.windowed_plasticity(HAND, 2) == pytest.approx((0.3 + 0.3 + 0.3) / 3)
    # Largest rises within the whole run: 0.2 to 0.9; 0 to 0.6; 0.1 to 0.7.
    assert metrics.windowed_plasticity(HAND, 100) == pytest.approx((0.7 + 0.6 + 0.6) / 3)
    assert metrics.forgetting(HAND) == pytest.approx(((0.9 - 0.75) + (0.6 - 0.45)) / 2)
    rising = AccuracyCurves([1, 2, 3], [[0.5, NAN], [0.6, 0.2], [0.9, 0.8]], [1, 3])
    assert metrics.forgetting(rising) == pytest.approx(-0.4)


def test_windows_are_measured_in_iterations() -> None:
    sparse = AccuracyCurves([5, 15, 20], [[0.9], [0.6], [0.4]], [20])
    assert metrics.windowed_forgetting(sparse, 11) == pytest.approx(0.3)
    assert metrics.windowed_forgetting(sparse, 16) == pytest.approx(0.5)
    assert math.isnan(
        metrics.windowed_forgetting(sparse, 10)
    )  # no two evaluations are within the window
    assert math.isnan(metrics.windowed_plasticity(sparse, 10))


def test_gap_area_weights_sparse_evaluations_by_iterations() -> None:
    dense = [[0.8, NAN]] + [[a, 0.5] for a in (0.2, 0.8, 0.8, 0.8)]
    all_evaluated = AccuracyCurves(range(1, 6), dense, [1, 5])
    sparse = AccuracyCurves([1, 2, 5], [dense[0], dense[1], dense[4]], [1, 5])
    assert metrics.gap_area(sparse) == pytest.approx(metrics.gap_area(all_evaluated))


def test_a_single_task_has_no_stability_gap() -> None:
    curves = AccuracyCurves([1, 2], [[0.5], [0.7]], [2])
    assert metrics.average_accuracy(curves) == 0.7
    assert math.isnan(metrics.average_stability_gap(curves))
    assert metrics.worst_case_accuracy(curves) == 0.7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, 2], [[0.5]], [2]), r"accuracy has shape \(1, 1\), expected \(2, 1\)"),
        (([2, 1], [[0.5], [0.5]], [2]), "must increase"),
        (([1, 3], [[0.5], [0.5]], [2]), "no accuracy after iteration 2"),
    ],
)
def test_inconsistent_curves_are_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AccuracyCurves(*arguments)


TASKS, LENGTH = 3, 6
unit = st.floats(0.0, 1.0, width=32)


@st.composite
def runs(draw: st.DrawFn) -> AccuracyCurves:
    accuracy = draw(hnp.arrays(np.float64, (TASKS * LENGTH, TASKS), elements=unit))
    for task in range(TASKS):
        accuracy[: task * LENGTH, task] = NAN
    ends = [LENGTH * (task + 1) for task in range(TASKS)]
    return AccuracyCurves(range(1, TASKS * LENGTH + 1), accuracy, ends)


@given(runs())
def test_signed_gaps_differ_only_where_accuracy_rises_or_was_zero(curves: AccuracyCurves) -> None:
    for of in ("previous", "first", "old"):
        gaps = metrics.stability_gaps(curves, of)  # type: ignore[arg-type]
        signed = metrics.signed_stability_gaps(curves, of)  # type: ignore[arg-type]
        before = [t.before for t in transitions(curves, of)]  # type: ignore[arg-type]
        assert ((gaps == np.maximum(signed, 0.0)) | (np.array(before) == 0.0)).all()
        assert ((gaps >= 0.0) & (gaps <= 1.0)).all()


@given(st.floats(0.01, 1.0))
def test_flat_curves_have_no_gap_and_recover_at_once(level: float) -> None:
    accuracy = np.full((TASKS * LENGTH, TASKS), level)
    flat = AccuracyCurves(range(1, 19), accuracy, [6, 12, 18])
    for of in ("previous", "first", "old"):
        assert metrics.average_stability_gap(flat, of) == 0.0  # type: ignore[arg-type]
    values = compute_metrics(flat)
    assert values["recovery"] == values["gap_area"] == values["forgetting"] == 0.0
    assert [values["avg_acc"], values["min_acc"]] == pytest.approx([level, level])


@given(runs(), st.integers(0, LENGTH - 1))
def test_a_drop_to_zero_is_a_gap_of_one(curves: AccuracyCurves, delay: int) -> None:
    for task in (1, 2):
        curves.accuracy[task * LENGTH - 1] = np.where(
            np.isnan(curves.accuracy[task * LENGTH - 1]), NAN, 0.7
        )
    for task in (1, 2):
        # After the last evaluation of the previous task, and before the end of this one.
        row = task * LENGTH + min(delay, LENGTH - 2)
        curves.accuracy[row, :task] = 0.0
    for of in ("previous", "first", "old"):
        assert metrics.stability_gaps(curves, of) == pytest.approx([1.0, 1.0])  # type: ignore[arg-type]


@given(runs(), hnp.arrays(np.float64, (4, TASKS), elements=unit))
def test_evaluations_after_the_last_task_end_are_ignored(
    curves: AccuracyCurves, more: np.ndarray
) -> None:
    longer = AccuracyCurves(
        range(1, TASKS * LENGTH + 5), np.vstack([curves.accuracy, more]), curves.task_ends
    )
    assert compute_metrics(longer) == pytest.approx(compute_metrics(curves), nan_ok=True)


@given(runs())
def test_metrics_are_never_beyond_their_bounds(curves: AccuracyCurves) -> None:
    for name, value in compute_metrics(curves).items():
        metric = METRICS[name]
        if metric.direction == "maximize":
            assert -1e-9 <= value <= 1.0 + 1e-9, name
        elif metric.worst is not None:
            assert value <= metric.worst + 1e-9, name
        else:
            assert 0.0 <= value <= LENGTH, name


@given(runs())
def test_the_gap_of_all_old_tasks_is_at_most_that_of_the_worst_task(curves: AccuracyCurves) -> None:
    for task in (1, 2):
        curves.accuracy[task * LENGTH - 1, :task] = 0.8
    gap = metrics.stability_gaps(curves, "old")[1]
    after = curves.accuracy[2 * LENGTH : 3 * LENGTH, :2]
    worst = max(0.0, (0.8 - after.min()) / 0.8)
    assert gap <= worst + 1e-9


def test_every_metric_has_a_title_a_source_and_a_direction() -> None:
    for name, metric in METRICS.items():
        assert metric.name == name
        assert metric.title
        assert metric.source
        assert metric.sign * metric.best <= 0.0 or metric.unit == "fraction"
        if metric.worst is not None:
            assert metric.sign * metric.worst > metric.sign * metric.best


def test_windowed_metrics_are_nan_if_evaluations_omit_a_task() -> None:
    """A task that is not evaluated between task ends could fall and rise unseen."""
    accuracy = np.full((6, 2), np.nan)
    accuracy[:, 0] = [0.9, 0.9, 0.9, 0.5, 0.9, 0.9]
    accuracy[3:, 1] = [0.2, 0.8, 0.9]
    complete = AccuracyCurves(range(1, 7), accuracy, [3, 6])
    assert metrics.windowed_forgetting(complete, 10) == pytest.approx((0.4 + 0.0) / 2)
    accuracy[3:5, 0] = np.nan
    partial = AccuracyCurves(range(1, 7), accuracy, [3, 6])
    assert math.isnan(metrics.windowed_forgetting(partial, 10))
    assert math.isnan(metrics.windowed_plasticity(partial, 10))


def test_windowed_metrics_are_nan_if_a_task_is_first_evaluated_at_its_end() -> None:
    """With "first-and-previous" a task is evaluated from its end on, so its rise is unseen."""
    accuracy = np.full((6, 2), np.nan)
    accuracy[:, 0] = [0.5, 0.8, 0.9, 0.9, 0.9, 0.9]
    accuracy[5, 1] = 0.9
    late = AccuracyCurves(range(1, 7), accuracy, [3, 6])
    assert math.isnan(metrics.windowed_plasticity(late, 10))
    assert math.isnan(metrics.windowed_forgetting(late, 10))


@given(st.integers(1, 1000), st.data())
def test_recovery_tolerates_the_rounding_of_float32(examples: int, data: st.DataObject) -> None:
    examples *= 100
    before = data.draw(st.integers(examples // 100 + 1, examples))
    stored = np.float32([before, 0, before - examples // 100]) / np.float32(examples)
    curves = AccuracyCurves(
        range(1, 4), [[stored[0], NAN], [stored[1], 0.5], [stored[2], 0.5]], [1, 3]
    )
    assert metrics.recovery_times(curves).tolist() == [2.0]
    less = np.float32(before - examples // 100 - 1) / np.float32(examples)
    if less >= 0.0:
        curves.accuracy[2, 0] = less
        assert np.isnan(metrics.recovery_times(curves)).all()
