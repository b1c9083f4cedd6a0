"""Adaptive evaluation against full evaluation."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from ngm_tune.benchmarks.models import MLP
from ngm_tune.benchmarks.tasks import TaskSplit
from ngm_tune.methods import get_method
from ngm_tune.metrics import functional as metrics
from ngm_tune.training.adaptive import TYPICAL_SHARE, AdaptiveEvaluation
from ngm_tune.training.evaluation import Evaluator
from ngm_tune.training.loop import ContinualTraining
from ngm_tune.training.options import EvaluationSchedule
from tests.helpers.training import are_equal, finish, start

FULL, ADAPTIVE = EvaluationSchedule(), EvaluationSchedule(mode="adaptive")


def evaluated(run: ContinualTraining) -> int:
    """Return the number of examples that a run was evaluated on."""
    return sum(int(record.examples.sum()) for record in run.records)


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("ngm-sgd", {"lr": 0.003, "gain_sensitivity": 0.3, "entropy_smoothing": 0.9}),
        ("ngm-sgd-frozen-gain", {"lr": 0.01, "baseline_gain": 1.5}),
        ("sgd", {"lr": 0.02}),
        ("momentum-sgd", {"lr": 0.005}),
        ("adam", {"lr": 0.002}),
    ],
)
def test_gaps_minima_and_recovery_are_those_of_full_evaluation(
    method: str, settings: dict[str, float]
) -> None:
    build = partial(get_method(method).build, **settings)
    full, adaptive = (
        finish(start(build, evaluation=schedule, iterations_per_task=200))
        for schedule in (FULL, ADAPTIVE)
    )
    assert all(
        torch.equal(a.steps.nan_to_num(-1), b.steps.nan_to_num(-1))
        for a, b in zip(full.records, adaptive.records, strict=True)
    )
    exact, found = full.curves(), adaptive.curves()
    for of in ("previous", "first", "old"):
        np.testing.assert_allclose(
            metrics.stability_gaps(found, of), metrics.stability_gaps(exact, of), atol=1e-6
        )
    assert metrics.minimum_accuracy(found) == pytest.approx(metrics.minimum_accuracy(exact))
    np.testing.assert_array_equal(metrics.recovery_times(found), metrics.recovery_times(exact))
    assert metrics.gap_area(found) == pytest.approx(metrics.gap_area(exact), abs=1e-3)
    assert np.isnan(metrics.windowed_forgetting(found, 10))  # the current task has few points
    assert evaluated(adaptive) < 1.25 * TYPICAL_SHARE * evaluated(full)


def test_a_run_resumes_bit_for_bit() -> None:
    run = finish(start(evaluation=ADAPTIVE))
    half = start(evaluation=ADAPTIVE)
    for _ in range(2):
        half.train_task()
    resumed = start(evaluation=ADAPTIVE)
    resumed.load_state_dict(half.state_dict())
    finish(resumed)
    for a, b in zip(run.records, resumed.records, strict=True):
        assert are_equal(a, b)
        assert torch.equal(a.examples, b.examples)


def test_first_and_previous_task_only() -> None:
    schedule = EvaluationSchedule(tasks="first-and-previous", mode="adaptive")
    full = finish(start(evaluation=EvaluationSchedule(tasks="first-and-previous")))
    adaptive = finish(start(evaluation=schedule))
    record = adaptive.records[3]
    assert record.accuracy[:-1, [0, 2]].isfinite().all()
    assert record.accuracy[:-1, [1, 3, 4]].isnan().all()
    np.testing.assert_allclose(
        metrics.stability_gaps(adaptive.curves()), metrics.stability_gaps(full.curves()), atol=1e-6
    )


def test_the_current_task_is_evaluated_at_intervals_and_at_its_end() -> None:
    run = finish(start(evaluation=ADAPTIVE))
    for task, record in enumerate(run.records):
        iterations = record.evaluated - record.first_iteration
        known = record.examples[:, task] > 0
        assert iterations[known].tolist() == [0, 20, 29]
        assert (record.examples[known, task] == run._evaluator.sizes[task]).all()
        assert torch.equal(record.accuracy[:, task].isfinite(), known)


class _Scripted(nn.Module):
    """Predicts class 0 for inputs below a threshold, else class 1."""

    def __init__(self) -> None:
        super().__init__()
        self.threshold = 0.0

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        distance = inputs[:, 0] - self.threshold
        return torch.stack((-distance, distance), dim=1)


def evenly_spread(size: int) -> Evaluator:
    """Return an evaluator of two tasks: inputs in [-1, 1), of class 1 above 0."""
    inputs = torch.linspace(-1.0, 1.0, size + 1)[:-1].unsqueeze(1)
    labels = (inputs[:, 0] >= 0).long()
    return Evaluator(TaskSplit(inputs.repeat(2, 1), labels.repeat(2), (size, size)))


def follow(thresholds: list[float], size: int = 1000) -> tuple[list[float], list[int]]:
    """Evaluate a model while its threshold moves; return accuracies and numbers of examples."""
    model = _Scripted()
    evaluator = evenly_spread(size)
    adaptive = AdaptiveEvaluation(evaluator, model, 1, [0, 1], torch.tensor([1.0, 0.0]))
    results = []
    for threshold in thresholds:
        model.threshold = threshold
        results.append(adaptive(model))
    return [float(r.accuracy[0]) for r in results], [int(r.examples[0]) for r in results]


def test_a_single_low_iteration_is_found_and_verified_on_all_examples() -> None:
    thresholds = [0.0] * 10 + [0.3] + [0.0] * 10 + [0.31] + [0.0] * 10
    accuracy, examples = follow(thresholds)
    np.testing.assert_allclose(accuracy, [1 - t / 2 for t in thresholds], atol=1e-3)
    assert examples[10] == examples[21] == 1000
    assert np.median(examples) < 100


def test_slow_decline_is_followed_exactly() -> None:
    thresholds = [0.002 * i for i in range(60)]  # one example per iteration changes
    accuracy, _ = follow(thresholds)
    np.testing.assert_allclose(accuracy, [1 - t / 2 for t in thresholds], atol=1e-3)


class _Unsteady(nn.Module):
    """Predicts the right class with a probability, for each example anew."""

    right = 1.0

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        is_right = torch.rand(len(inputs)) < self.right
        sign = torch.where(is_right == (inputs[:, 0] >= 0), 1.0, -1.0)
        return torch.stack((-sign, sign), dim=1)


def test_an_accuracy_far_above_the_minimum_is_estimated() -> None:
    torch.manual_seed(0)
    model = _Unsteady()
    adaptive = AdaptiveEvaluation(evenly_spread(4000), model, 1, [0, 1], torch.tensor([1.0, 0.0]))
    evaluations = []
    for model.right in [0.4] + [0.7] * 200:
        evaluations.append(adaptive(model))
    accuracy = np.array([float(each.accuracy[0]) for each in evaluations])
    assert accuracy[0] == accuracy.min() == pytest.approx(0.4, abs=0.02)
    assert np.abs(accuracy[1:] - 0.7).max() < 0.2
    assert accuracy[1:].mean() == pytest.approx(0.7, abs=0.01)
    assert np.mean([int(each.examples[0]) for each in evaluations]) < 4000 / 15


def test_logits_that_are_not_finite_are_evaluated_in_full() -> None:
    torch.manual_seed(0)
    model = MLP((1, 4, 2), hidden_std=0.3, output_std=0.3)
    evaluator = evenly_spread(400)
    adaptive = AdaptiveEvaluation(evaluator, model, 1, [0, 1], torch.tensor([1.0, 0.0]))
    with torch.no_grad():
        next(model.parameters()).fill_(torch.nan)
    result = adaptive(model)
    assert int(result.examples[0]) == 400
    assert result.accuracy[0].isfinite()
    assert result.loss[0].isnan()
