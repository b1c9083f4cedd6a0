"""Optimizers with ``train()`` and ``eval()`` are scored at the weights of ``eval()``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pytorch_optimizer import ScheduleFreeAdamW, ScheduleFreeSGD, ScheduleFreeWrapper, SPlus
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from ngm_tune.benchmarks import get_benchmark
from ngm_tune.learners import Batch, Learner, Step
from ngm_tune.training.options import EvaluationSchedule
from ngm_tune.training.probes import Probes
from tests.helpers.training import DIGITS, are_equal, finish, start

Build = Callable[[nn.Module], Optimizer]


def schedule_free(model: nn.Module) -> Optimizer:
    return ScheduleFreeSGD(model.parameters(), lr=0.3)


def wrapped(model: nn.Module) -> Optimizer:
    return ScheduleFreeWrapper(SGD(model.parameters(), lr=0.3))


class Averaging(SGD):
    """Averages its weights, and keeps everything in attributes instead of ``state``."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model.parameters(), lr=0.3)
        self.weights = list(model.parameters())
        self.average = [p.detach().clone() for p in self.weights]
        self.trained: list[Tensor] = []
        self.steps = 0

    def step(self, closure: Any = None) -> Any:
        assert not self.trained, "a step in evaluation mode"
        loss = super().step(closure)
        self.steps += 1
        torch._foreach_lerp_(self.average, self.weights, weight=1.0 / self.steps)
        return loss

    def eval(self) -> None:
        if not self.trained:
            self.trained = [p.detach().clone() for p in self.weights]
            self._set(self.average)

    def train(self) -> None:
        if self.trained:
            self._set(self.trained)
            self.trained = []

    @torch.no_grad()
    def _set(self, values: list[Tensor]) -> None:
        torch._foreach_copy_(self.weights, values)


def splus(model: nn.Module) -> Optimizer:
    return SPlus(model.parameters(), lr=0.1)


def averaging_adam(model: nn.Module) -> Optimizer:
    return ScheduleFreeAdamW(model.parameters(), lr=1e-2)


MODES = pytest.mark.parametrize("build", [schedule_free, averaging_adam, wrapped, splus])


class Recording(Learner):
    """Keeps its batches, and the weights with which it began."""

    def __init__(self, model: nn.Module, optimizer: Optimizer) -> None:
        super().__init__(model, optimizer)
        self.batches: list[Batch] = []
        self.initial = {name: value.clone() for name, value in model.state_dict().items()}

    def learn(self, batch: Batch) -> Step:
        self.batches.append(batch)
        return super().learn(batch)


def score(model: nn.Module) -> tuple[float, float]:
    """Return accuracy and loss on the first task."""
    count = DIGITS.validation.sizes[0]
    inputs, labels = DIGITS.validation.inputs[:count], DIGITS.validation.labels[:count]
    with torch.no_grad():
        logits = model.eval()(inputs)
    accuracy = float((logits.argmax(1) == labels).float().mean())
    return accuracy, float(F.cross_entropy(logits, labels))


@pytest.mark.parametrize("mode", ["full", "adaptive"])
def test_a_run_scores_the_averaged_weights_of_a_hand_written_loop(mode: Any) -> None:
    run = start(
        lambda model: Recording(model, schedule_free(model)),  # type: ignore[arg-type,return-value]
        evaluation=EvaluationSchedule(mode=mode),
        iterations_per_task=8,
    )
    first, second = run.train_task(), run.train_task()
    recorded = run.learner
    assert isinstance(recorded, Recording)

    model = get_benchmark("split-digits").build_model()
    model.load_state_dict(recorded.initial)
    optimizer = ScheduleFreeSGD(model.parameters(), lr=0.3)
    averaged = []
    for batch in recorded.batches:
        model.train()
        optimizer.train()
        optimizer.zero_grad()
        F.cross_entropy(model(batch.inputs), batch.labels).backward()
        optimizer.step()
        trained = [p.detach().clone() for p in model.parameters()]
        of_training = score(model)
        optimizer.eval()
        averaged.append(score(model))
        optimizer.train()
        with torch.no_grad():
            for p, value in zip(model.parameters(), trained, strict=True):
                p.copy_(value)
    for record, at in ((first, 7), (second, 15)):
        assert record.accuracy[-1, 0].item() == averaged[at][0]
        assert record.loss[-1, 0].item() == pytest.approx(averaged[at][1], rel=1e-6)
    assert of_training[1] != pytest.approx(averaged[-1][1], rel=1e-2)
    assert all(map(torch.equal, recorded.model.parameters(), trained))


@MODES
def test_evaluation_does_not_change_training(build: Build) -> None:
    dense = finish(start(build, iterations_per_task=8))
    sparse = finish(start(build, iterations_per_task=8, evaluation=EvaluationSchedule(every=8)))
    for a, b in zip(dense.records, sparse.records, strict=True):
        assert torch.equal(a.steps[:, :2], b.steps[:, :2])
        assert torch.equal(a.accuracy[-1].nan_to_num(-1), b.accuracy[-1].nan_to_num(-1))


@MODES
def test_a_resumed_run_is_bit_identical(build: Build) -> None:
    whole = finish(start(build, iterations_per_task=8))
    first = start(build, iterations_per_task=8)
    first.train_task()
    second = start(build, iterations_per_task=8)
    second.load_state_dict(first.state_dict())
    finish(second)
    assert all(map(are_equal, whole.records, second.records))


def test_state_outside_of_the_state_attribute_is_averaged_too() -> None:
    run = start(Averaging, iterations_per_task=8)
    record = run.train_task()
    optimizer = run.learner.optimizer
    assert isinstance(optimizer, Averaging)
    of_training = score(run.learner.model)
    optimizer.eval()
    averaged = score(run.learner.model)
    assert record.loss[-1, 0].item() == pytest.approx(averaged[1], rel=1e-6)
    assert record.loss[-1, 0].item() != pytest.approx(of_training[1], rel=1e-2)


def test_probes_measure_the_averaged_weights() -> None:
    probe = Probes(["fast-and-slow"], DIGITS.train, lambda inputs: inputs, seed=0, every=10)
    run = start(schedule_free, iterations_per_task=8, probe=probe)
    record = run.train_task()
    measured = [value for _, name, value in record.probed if name == "slow_norm"][-1]
    trained = torch.cat([p.detach().flatten() for p in run.learner.model.parameters()]).norm()
    run.learner.optimizer.eval()  # type: ignore[attr-defined]
    averaged = torch.cat([p.detach().flatten() for p in run.learner.model.parameters()]).norm()
    assert measured == pytest.approx(float(averaged), rel=1e-5)
    assert measured != pytest.approx(float(trained), rel=1e-4)


def test_an_optimizer_that_refuses_steps_in_evaluation_mode_is_set_to_training_mode() -> None:
    record = start(wrapped, iterations_per_task=8).train_task()
    assert record.steps[-1, 0] < record.steps[0, 0]
