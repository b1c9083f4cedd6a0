"""The conformance suite of methods rejects methods that break its rules."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import StepLR

from ngm_tune.learners import Batch, Draw, Learner, Step
from ngm_tune.methods import Method
from ngm_tune.testing import MethodTestCase

SPACE: dict[str, BaseDistribution] = {"lr": FloatDistribution(0.01, 0.3, log=True)}


def sgd(model: nn.Module, lr: float, **settings: Any) -> SGD:
    return SGD(model.parameters(), lr=lr, **settings)


def case(build: Callable[..., Any], **changes: Any) -> MethodTestCase:
    """A test case of a method."""

    class Case(MethodTestCase):
        method = Method(
            **{
                "name": "tested",
                "title": "Tested",
                "source": "tests",
                "space": SPACE,
                "build": build,
                **changes,
            }
        )

    return Case()


def learner(kind: type[Learner]) -> Callable[..., Learner]:
    def build(model: nn.Module, lr: float) -> Learner:
        return kind(model, sgd(model, lr))

    return build


class Forgetful(Learner):
    """Decays its learning rate by a count of steps that its state lacks."""

    steps = 0

    def learn(self, batch: Batch) -> Step:
        self.steps += 1
        self.optimizer.param_groups[0]["lr"] = 0.1 / self.steps
        return super().learn(batch)


class LateDecay(Learner):
    """Has a scheduler that its state lacks, and that acts after more steps than the suite takes."""

    def __init__(self, model: nn.Module, optimizer: Optimizer) -> None:
        super().__init__(model, optimizer)
        self.scheduler = StepLR(optimizer, step_size=1000)

    def learn(self, batch: Batch) -> Step:
        step = super().learn(batch)
        self.scheduler.step()
        return step


class ForEachTask(LateDecay):
    """Builds its scheduler anew for each task, so its state need not contain it."""

    def begin_task(self, task: int) -> None:
        self.scheduler = StepLR(self.optimizer, step_size=1000)


class Opaque(Learner):
    """Keeps an object in its state that weights-only loading refuses."""

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "kind": type(self)}


class Unseeded(Learner):
    """Draws from a generator that no seed fixes."""

    def learn(self, batch: Batch) -> Step:
        generator = torch.Generator()
        generator.seed()
        noise = torch.randn(batch.inputs.shape, generator=generator)
        return super().learn(batch._replace(inputs=batch.inputs + noise))


class Observed(Learner):
    """Shrinks its weights whenever it is evaluated."""

    @property
    def evaluated(self) -> nn.Module:
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.mul_(0.9)
        return self.model


class Begins(Learner):
    """Changes its learning rate when a task begins."""

    def begin_task(self, task: int) -> None:
        self.optimizer.param_groups[0]["lr"] = 0.1 / (1 + task)


class Ends(Learner):
    """Shrinks its weights when a task ends."""

    def end_task(self, task: int, draw: Draw) -> None:
        with torch.no_grad():
            next(self.model.parameters()).mul_(0.5)


class ReadsTasks(Learner):
    """Weighs examples by their task."""

    def learn(self, batch: Batch) -> Step:
        return super().learn(
            batch._replace(inputs=batch.inputs * (1 + batch.tasks.view(-1, 1, 1, 1)))
        )


class Swapping(SGD):
    """Evaluates other weights, which it forgets to take back, or takes twice."""

    evaluations = 0

    def __init__(self, model: nn.Module, lr: float, *, twice: bool = False) -> None:
        super().__init__(model.parameters(), lr=lr)
        self.twice = twice

    @torch.no_grad()
    def eval(self) -> None:
        self.evaluations += 1
        if self.twice or self.evaluations == 1:
            for p in self.param_groups[0]["params"]:
                p.mul_(0.5)

    def train(self) -> None:
        self.evaluations = 0


def forgets_the_model(model: nn.Module, lr: float) -> Optimizer:
    return SGD(nn.Linear(2, 2).parameters(), lr=lr)


def returns_the_model(model: nn.Module, lr: float) -> nn.Module:
    return model


def raises_at_high_rates(model: nn.Module, lr: float) -> Optimizer:
    if lr > 0.2:
        raise RuntimeError("too fast")
    return sgd(model, lr)


def learns_nothing(model: nn.Module, lr: float) -> Optimizer:
    return sgd(model, 0.0)


@pytest.mark.parametrize(
    ("build", "check", "message"),
    [
        (forgets_the_model, "test_builds_everywhere_in_its_space", "no parameter of the model"),
        (returns_the_model, "test_builds_everywhere_in_its_space", "must return a torch.optim"),
        (learner(Unseeded), "test_the_seed_determines_the_run", "steps of task 0 differ"),
        (learner(Observed), "test_evaluation_does_not_change_training", "evaluation changes"),
        (learner(Begins), "test_task_awareness_is_declared", "task_aware=True"),
        (learner(Ends), "test_task_awareness_is_declared", "task_aware=True"),
        (learner(ReadsTasks), "test_task_awareness_is_declared", "task_aware=True"),
        (Swapping, "test_train_undoes_eval", r"train\(\) after eval\(\) does not restore"),
        (partial(Swapping, twice=True), "test_train_undoes_eval", r"second call of eval\(\)"),
        (learns_nothing, "test_learns_somewhere_in_its_space", "learns nothing in 100 iterations"),
    ],
)
def test_a_broken_method_fails(build: Callable[..., Any], check: str, message: str) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception), match=message):
        getattr(case(build), check)()


@pytest.mark.parametrize(
    "check", ["test_builds_everywhere_in_its_space", "test_runs_at_corners_do_not_raise"]
)
def test_an_exception_of_build_is_not_hidden(check: str) -> None:
    with pytest.raises(RuntimeError, match="too fast"):
        getattr(case(raises_at_high_rates), check)()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            Forgetful,
            "a run resumed after task 0 differs from an uninterrupted one: steps of task 1",
        ),
        (LateDecay, "the state of a learning-rate scheduler differs"),
        (Opaque, r"does not survive torch.load\(weights_only=True\)"),
    ],
)
def test_an_incomplete_state_fails(kind: type[Learner], message: str) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception), match=message):
        case(learner(kind)).test_a_resumed_run_equals_an_uninterrupted_one("joint")


def test_a_scheduler_of_each_task_need_not_be_in_the_state() -> None:
    case(learner(ForEachTask)).test_a_resumed_run_equals_an_uninterrupted_one("joint")


def test_a_locate_that_is_not_the_inverse_fails() -> None:
    broken = case(
        sgd,
        configure=lambda point: {"lr": 2 * point["lr"]},
        locate=lambda settings: {"lr": settings["lr"] / 3},
    )
    with pytest.raises(AssertionError, match="which locate maps to"):
        broken.test_locate_is_the_inverse_of_configure()


def test_an_unnamed_source_fails() -> None:
    with pytest.raises(AssertionError, match="source is empty"):
        case(sgd, source="").test_is_described()


def test_choices_are_points_of_the_space() -> None:
    """A categorical coordinate has its first choice at one corner, and its last at the other."""

    def build(model: nn.Module, lr: float, momentum: float | None) -> SGD:
        return sgd(model, lr, momentum=momentum or 0.0)

    tested = case(build, space={**SPACE, "momentum": CategoricalDistribution((None, 0.5, 0.9))})
    first, second = tested.points[:2]
    assert (first["momentum"], second["momentum"]) == (None, 0.9)
    tested.test_builds_everywhere_in_its_space()
    tested.test_locate_is_the_inverse_of_configure()


class Drawing(Learner):
    """Draws from torch's global generator, which the run seeds."""

    def learn(self, batch: Batch) -> Step:
        kept: Tensor = torch.rand(len(batch.labels)) < 0.8
        kept[0] = True
        return super().learn(Batch(*(column[kept] for column in batch)))


class TestLearnerThatDraws(MethodTestCase):
    """A learner that is no built-in method passes every check."""

    method = Method(
        name="drawing", title="Drawing", source="tests", space=SPACE, build=learner(Drawing)
    )
