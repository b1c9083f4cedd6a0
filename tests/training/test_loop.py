"""Training on a sequence of tasks with continual evaluation."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.optim import SGD

from ngm_tune import NGMSGD
from ngm_tune.benchmarks import TaskSplit, get_benchmark
from ngm_tune.benchmarks.models import MLP
from ngm_tune.methods import get_method
from ngm_tune.metrics.functional import average_stability_gap
from ngm_tune.training.evaluation import Evaluator
from ngm_tune.training.loop import ContinualTraining
from ngm_tune.training.options import EvaluationSchedule, StreamOptions
from tests.helpers.training import DIGITS, are_equal, finish, sgd, start


def test_random_numbers_of_a_method_depend_on_the_seed_only() -> None:
    class Draws(SGD):
        def __init__(self, model: nn.Module) -> None:
            super().__init__(model.parameters(), lr=0.1)
            self.drawn = torch.rand(4)

    drawn = []
    for seed in (3, 3, 4):
        drawn.append(start(Draws, seed=seed).learner.optimizer.drawn)  # type: ignore[attr-defined]
        torch.rand(1)  # an earlier run in the same worker may draw too
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_the_same_call_twice_gives_identical_curves() -> None:
    first, second = finish(start(NGMSGD)), finish(start(NGMSGD))
    assert all(map(are_equal, first.records, second.records))


def test_a_run_does_not_depend_on_or_touch_the_global_random_state() -> None:
    torch.manual_seed(1)
    first = finish(start())
    torch.manual_seed(2)
    before = torch.get_rng_state()
    second = finish(start())
    assert all(map(are_equal, first.records, second.records))
    assert torch.equal(torch.get_rng_state(), before)


def test_methods_are_paired() -> None:
    """Methods with the same seed have the same initial weights and batches."""
    builds = [
        partial(get_method("adam").build, lr=0.01),
        partial(get_method("ngm-sgd").build, lr=0.01, gain_sensitivity=0.2, entropy_smoothing=0.9),
        sgd,
    ]
    seen: list[list[torch.Tensor]] = []
    weights = []
    for build in builds:
        run = start(build, iterations_per_task=5)
        weights.append(run.learner.model.state_dict())
        batches: list[torch.Tensor] = []
        run.learner.model.register_forward_pre_hook(
            lambda module, args, batches=batches: (
                batches.append(args[0]) if module.training else None
            )
        )
        weights[-1] = {name: value.clone() for name, value in weights[-1].items()}
        finish(run)
        seen.append(batches)
    for other, batches in zip(weights[1:], seen[1:], strict=True):
        assert all(torch.equal(weights[0][name], other[name]) for name in weights[0])
        assert len(batches) == 25
        assert all(map(torch.equal, seen[0], batches))


def test_runs_with_different_seeds_differ() -> None:
    a, b = finish(start(seed=0)), finish(start(seed=1))
    assert not are_equal(a.records[0], b.records[0])


def test_batches_come_uniformly_from_all_tasks_seen() -> None:
    sizes = (40, 10, 50)
    inputs = torch.arange(100.0).unsqueeze(1)
    split = TaskSplit(inputs, torch.zeros(100, dtype=torch.long), sizes)
    run = ContinualTraining(
        split,
        Evaluator(split),
        lambda: MLP((1, 2, 2), hidden_std=0.1, output_std=0.1),
        sgd,
        seed=0,
        iterations_per_task=200,
        stream=StreamOptions(batch_size=50),
        evaluation=EvaluationSchedule(every=200),
    )
    drawn: list[torch.Tensor] = []
    run.learner.model.register_forward_pre_hook(
        lambda module, args: drawn.append(args[0].flatten()) if module.training else None
    )
    for seen in (40, 50, 100):
        drawn.clear()
        run.train_task()
        counts = torch.bincount(torch.cat(drawn).long(), minlength=100).double()
        assert counts[seen:].sum() == 0
        expected = 200 * 50 / seen
        # Five standard deviations of a binomial count.
        assert (counts[:seen] - expected).abs().max() < 5 * math.sqrt(expected)


def test_seen_tasks_are_evaluated_at_the_requested_iterations() -> None:
    run = finish(start(evaluation=EvaluationSchedule(every=7), iterations_per_task=30))
    for task, record in enumerate(run.records):
        first = task * 30 + 1
        expected = [first + i - 1 for i in (7, 14, 21, 28, 30)]
        assert record.evaluated.tolist() == expected
        assert record.accuracy.isnan().logical_not().sum(dim=1).tolist() == [task + 1] * 5
        assert record.steps.shape == (30, 3)
        assert record.first_iteration == first


def test_evaluation_can_be_dense_after_transitions_and_sparse_later() -> None:
    run = finish(start(evaluation=EvaluationSchedule(every=10, dense=4)))
    elapsed = [(record.evaluated - record.first_iteration + 1).tolist() for record in run.records]
    assert elapsed == [[10, 20, 30]] + [[1, 2, 3, 4, 10, 20, 30]] * 4
    every = finish(start())
    for a, b in zip(every.records, run.records, strict=True):
        rows = b.evaluated - b.first_iteration
        assert torch.equal(a.accuracy[rows].nan_to_num(-1), b.accuracy.nan_to_num(-1))


def test_evaluating_the_first_and_previous_task_only() -> None:
    every = finish(start())
    some = finish(start(evaluation=EvaluationSchedule(tasks="first-and-previous")))
    evaluated = [[0], [0], [0, 1], [0, 2], [0, 3]]
    for task, (a, b) in enumerate(zip(every.records, some.records, strict=True)):
        assert torch.equal(a.steps.nan_to_num(-1), b.steps.nan_to_num(-1))
        assert torch.equal(a.accuracy[-1].nan_to_num(-1), b.accuracy[-1].nan_to_num(-1))
        columns = evaluated[task]
        assert torch.equal(a.accuracy[:, columns], b.accuracy[:, columns])
        others = [k for k in range(5) if k not in columns]
        assert b.accuracy[:-1, others].isnan().all()
    for task in ("previous", "first"):
        gap = average_stability_gap(some.curves(), task)
        assert gap == average_stability_gap(every.curves(), task)


def test_recorded_accuracy_is_exact_for_each_task() -> None:
    run = start(iterations_per_task=10)
    run.train_task()
    record = run.train_task()
    run.learner.model.eval()
    offset = 0
    for task, size in enumerate(DIGITS.validation.sizes[:2]):
        part = slice(offset, offset + size)
        with torch.no_grad():
            logits = run.learner.model(DIGITS.validation.inputs[part])
        hits = (logits.argmax(1) == DIGITS.validation.labels[part]).sum().item()
        assert record.accuracy[-1, task].item() == torch.tensor(hits / size).item()
        loss = nn.functional.cross_entropy(logits, DIGITS.validation.labels[part])
        assert record.loss[-1, task].item() == pytest.approx(loss.item(), rel=1e-4)
        offset += size


def test_evaluation_does_not_change_training() -> None:
    """Sparse evaluation gives the same steps, and the same accuracies at shared iterations."""
    dense = finish(start(NGMSGD))
    sparse = finish(start(NGMSGD, evaluation=EvaluationSchedule(every=30)))
    for a, b in zip(dense.records, sparse.records, strict=True):
        assert torch.equal(a.steps, b.steps)
        assert torch.equal(a.accuracy[-1].nan_to_num(-1), b.accuracy[-1].nan_to_num(-1))


def test_steps_record_loss_entropy_and_gain() -> None:
    ngm, plain = start(NGMSGD), start(sgd)
    record, other = ngm.train_task(), plain.train_task()
    assert record.steps[0, 0].item() == pytest.approx(math.log(10), abs=0.1)
    assert record.steps[0, 1].item() == pytest.approx(math.log(10), abs=0.1)
    assert record.steps[0, 2].item() == 1.0
    loss, entropy, gain = record.steps.double().T
    torch.testing.assert_close(
        gain[1:], 0.9 * gain[:-1] + 0.1 + 0.4 * entropy[:-1], rtol=1e-5, atol=1e-5
    )
    assert other.steps[:, 2].isnan().all()
    assert not plain.has_gain
    assert loss.isfinite().all()


def test_a_resumed_run_is_bit_identical() -> None:
    whole = finish(start(NGMSGD))
    first = start(NGMSGD)
    first.train_task()
    first.train_task()
    state = first.state_dict()
    second = start(NGMSGD)
    second.load_state_dict(state)
    finish(second)
    assert len(second.records) == 5
    assert all(map(are_equal, whole.records, second.records))


def test_divergence_is_recorded_with_its_iteration() -> None:
    run = finish(start(lambda model: SGD(model.parameters(), lr=1e8)))
    assert run.diverged_at is not None
    record = run.records[-1]
    assert not record.steps[-1, 0].isfinite()
    assert record.steps[:-1, 0].isfinite().all()
    assert record.first_iteration + len(record.steps) - 1 == run.diverged_at
    assert (record.evaluated < run.diverged_at).all()
    assert len(record.evaluated) == len(record.accuracy) == len(record.loss)
    with pytest.raises(RuntimeError, match="did not complete 5 tasks"):
        run.curves()
    with pytest.raises(RuntimeError, match="finished"):
        run.train_task()


def test_curves_contain_the_whole_run() -> None:
    run = finish(start(evaluation=EvaluationSchedule(every=10)))
    curves = run.curves()
    assert curves.task_ends.tolist() == [30, 60, 90, 120, 150]
    assert curves.iterations.tolist() == list(range(10, 151, 10))
    assert curves.accuracy.shape == (15, 5)


def test_splits_with_different_numbers_of_tasks_are_an_error() -> None:
    shorter = TaskSplit(DIGITS.test.inputs, DIGITS.test.labels, (len(DIGITS.test.labels),))
    with pytest.raises(ValueError, match="train has 5 tasks and evaluation 1"):
        ContinualTraining(
            DIGITS.train,
            Evaluator(shorter),
            get_benchmark("split-digits").build_model,
            sgd,
            seed=0,
            iterations_per_task=1,
            stream=StreamOptions(batch_size=4),
        )


def test_an_optimizer_of_another_network_is_an_error() -> None:
    other = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="has no parameter of the model"):
        start(lambda model: sgd(other))
