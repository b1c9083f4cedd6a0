"""A study refuses methods whose resumed runs would have other results in silence."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from optuna.distributions import FloatDistribution
from torch import nn
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import StepLR

from ngm_tune.learners import Batch, Learner, Step
from ngm_tune.methods import Method, get_method, methods
from ngm_tune.training.resumption import explain_lost_state
from tests.helpers.commands import in_process


class Scheduled(SGD):
    """Has a scheduler that its state lacks, whose effect shows after a thousand steps."""

    def __init__(self, model: nn.Module, lr: float) -> None:
        super().__init__(model.parameters(), lr=lr)
        self._scheduler = StepLR(self, step_size=1000)

    def step(self, closure: Any = None) -> Any:
        loss = super().step(closure)
        if hasattr(self, "_scheduler"):  # StepLR calls step while it is being built
            self._scheduler.step()
        return loss


class Counting(SGD):
    """Decays its learning rate by an attribute that its state lacks."""

    count = 0

    def __init__(self, model: nn.Module, lr: float) -> None:
        super().__init__(model.parameters(), lr=lr)
        self._lr = lr

    def step(self, closure: Any = None) -> Any:
        self.count += 1
        self.param_groups[0]["lr"] = self._lr / self.count**0.5
        return super().step(closure)


class Complete(Counting):
    """Has the attribute in its state."""

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # type: ignore[override]
        self.count = state["count"]
        super().load_state_dict({k: state[k] for k in ("state", "param_groups")})


class ScheduledLearner(Learner):
    """A learner with a scheduler in its state."""

    def __init__(self, model: nn.Module, lr: float) -> None:
        super().__init__(model, SGD(model.parameters(), lr=lr))
        self.scheduler = StepLR(self.optimizer, step_size=10)

    def learn(self, batch: Batch) -> Step:
        step = super().learn(batch)
        self.scheduler.step()
        return step

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "scheduler": self.scheduler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.scheduler.load_state_dict(state["scheduler"])


class Unseeded(Learner):
    """Draws from a generator that no seed fixes, so that no two of its runs are equal."""

    def __init__(self, model: nn.Module, lr: float) -> None:
        super().__init__(model, SGD(model.parameters(), lr=lr))

    def learn(self, batch: Batch) -> Step:
        generator = torch.Generator()
        generator.seed()
        noise = torch.randn(batch.inputs.shape, generator=generator)
        return super().learn(batch._replace(inputs=batch.inputs + noise))


def adam(model: nn.Module, lr: float) -> Optimizer:
    return Adam(model.parameters(), lr=lr)


def method(build: Callable[..., Any]) -> Method:
    space = {"lr": FloatDistribution(0.01, 0.3, log=True)}
    return Method(name="own", title="Own", source="tests", space=space, build=build)


@pytest.mark.parametrize(
    ("build", "difference"),
    [
        (Scheduled, "the state of a learning-rate scheduler differs"),
        (Counting, "steps of task 1 differ, first at index [12]"),
    ],
)
def test_state_outside_of_state_dict_is_found(build: Callable[..., Any], difference: str) -> None:
    problem = explain_lost_state(method(build), {"lr": 0.1})
    assert problem is not None
    with pytest.raises(AssertionError, match=rf"own cannot be resumed: .*\({difference}\)"):
        raise AssertionError(problem)


@pytest.mark.parametrize("build", [adam, Complete, ScheduledLearner, Unseeded])
def test_other_methods_pass(build: Callable[..., Any]) -> None:
    assert explain_lost_state(method(build), {"lr": 0.1}) is None


def test_a_method_that_raises_on_the_small_network_passes() -> None:
    def of_a_layer(model: nn.Module, lr: float) -> Optimizer:
        return SGD(model.encoder.parameters(), lr=lr)  # type: ignore[union-attr]

    assert explain_lost_state(method(of_a_layer), {"lr": 0.1}) is None


def test_the_check_takes_a_fraction_of_a_second() -> None:
    checked = get_method("momentum-sgd")
    explain_lost_state(checked, {"lr": 0.1})
    started = time.thread_time()
    explain_lost_state(checked, {"lr": 0.1})
    assert time.thread_time() - started < 1.0


def test_a_study_with_such_a_method_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(methods(), "own", method(Counting))
    results = tmp_path / "results"
    outcome = in_process()(
        "run", "quickstart", "--set", 'methods=["own", "sgd"]', "--results", results
    )
    assert outcome.code == 2
    assert "Traceback" not in outcome.err
    message = " ".join((outcome.out + outcome.err).split())
    assert "own cannot be resumed: a run that continues from a checkpoint differs" in message
    assert "put it into state_dict, or return a Learner" in message
    assert not list(results.glob("trials/*"))
