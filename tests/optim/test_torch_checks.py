"""The checks that torch's own optimizers pass in torch's test_optim.py, where they apply.

torch does not ship that file. ``foreach``, ``maximize``, ``fused`` and ``differentiable`` are no
arguments of NGMSGD, but parameter groups have them, as those of ``torch.optim.SGD``.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import lr_scheduler
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.profiler import ProfilerActivity, profile

from ngm_tune import NGMSGD

from .test_gain_in_use import batch
from .test_ngm_sgd import step, tiny

X, Y = batch(0, rows=8)

SETTINGS: list[dict[str, Any]] = [
    {},
    {"lr": 0.1},
    {"lr": torch.tensor(0.1)},
    {"weight_decay": 0.5},
    {"layers": "output", "backbone_momentum": 0.9},
    {"layers": "output", "backbone_momentum": 0.9, "weight_decay": 0.1},
]

SCHEDULERS: list[Callable[[torch.optim.Optimizer], Any]] = [
    lambda o: lr_scheduler.StepLR(o, step_size=3, gamma=0.9),
    lambda o: lr_scheduler.ExponentialLR(o, gamma=0.9),
    lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=10),
    lambda o: lr_scheduler.LinearLR(o, start_factor=0.4, total_iters=4),
    lambda o: lr_scheduler.ReduceLROnPlateau(o, threshold=1, patience=3),
    lambda o: lr_scheduler.SequentialLR(
        o,
        [lr_scheduler.ConstantLR(o, factor=0.5), lr_scheduler.PolynomialLR(o, total_iters=8)],
        milestones=[3],
    ),
    lambda o: lr_scheduler.OneCycleLR(o, max_lr=0.1, total_steps=20, cycle_momentum=False),
]


def loss_of(model: nn.Module) -> float:
    with torch.no_grad():
        return float(F.cross_entropy(model.eval()(X), Y))


def train(settings: dict[str, Any], steps: int = 4) -> tuple[nn.Sequential, NGMSGD]:
    model = tiny()
    optimizer = NGMSGD(model, **copy.deepcopy(settings))
    for _ in range(steps):
        step(model, optimizer, X, Y)
    return model, optimizer


def same(one: nn.Module, two: nn.Module) -> None:
    torch.testing.assert_close(one.state_dict(), two.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("settings", SETTINGS)
def test_training_goes_in_the_right_direction(settings: dict[str, Any]) -> None:
    assert loss_of(train({**settings, "weight_decay": 0.0}, steps=20)[0]) < loss_of(tiny())


@pytest.mark.parametrize("schedule", SCHEDULERS)
@pytest.mark.parametrize("lr", [0.1, torch.tensor(0.1)])
def test_schedulers_change_the_learning_rate(
    lr: float | Tensor, schedule: Callable[[torch.optim.Optimizer], Any]
) -> None:
    model = tiny()
    optimizer = NGMSGD(model, lr=copy.deepcopy(lr), layers="output")
    scheduler = schedule(optimizer)
    rates = set()
    for _ in range(8):
        step(model, optimizer, X, Y)
        rates |= {float(group["lr"]) for group in optimizer.param_groups}
        values = [1.0] if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau) else []
        scheduler.step(*values)
    assert len(rates) > 1
    assert loss_of(model) < loss_of(tiny())


def test_one_cycle_adds_momentum_to_gained_layers() -> None:
    """As to SGD without momentum, unless cycle_momentum is False; the documentation says so."""
    for cycles in (True, False):
        model = tiny()
        optimizer = NGMSGD(model, lr=0.01)
        lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=9, cycle_momentum=cycles)
        step(model, optimizer, X, Y)
        assert optimizer.param_groups[0]["momentum"] == (0.95 if cycles else 0.0)
        assert bool(optimizer.state) is cycles


def test_a_tensor_as_learning_rate_computes_the_same() -> None:
    for one, two in ((0.1, torch.tensor(0.1)), (0.1, torch.tensor([0.1]))):
        same(train({"lr": one})[0], train({"lr": two})[0])
    with pytest.raises(ValueError, match="Tensor lr must be 1-element"):
        NGMSGD(tiny(), lr=torch.tensor([0.1, 0.2]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": -1e-2}, r"Invalid learning rate: -0\.01"),
        ({"weight_decay": -1e-2}, r"Invalid weight_decay value: -0\.01"),
    ],
)
def test_errors_of_torch_are_raised_and_leave_the_model_alone(
    settings: dict[str, Any], message: str
) -> None:
    model = tiny()
    with pytest.raises(ValueError, match=message):
        NGMSGD(model, **settings)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert not model._load_state_dict_post_hooks


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_step_without_gradients_or_with_zeros_changes_no_weights(
    settings: dict[str, Any],
) -> None:
    model = tiny()
    optimizer = NGMSGD(model, **copy.deepcopy(settings))
    model(X)
    optimizer.step()
    same(model, tiny())
    if not settings.get("weight_decay"):
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        same(model, tiny())


@pytest.mark.parametrize("settings", SETTINGS)
def test_foreach_matches_the_loop(settings: dict[str, Any]) -> None:
    networks = []
    for flag in (True, False):
        model = tiny()
        optimizer = NGMSGD(model, **copy.deepcopy(settings))
        for group in optimizer.param_groups:
            group["foreach"] = flag
        for _ in range(4):
            step(model, optimizer, X, Y)
        networks.append(model)
    torch.testing.assert_close(networks[0].state_dict(), networks[1].state_dict())


def test_maximize_goes_in_the_other_direction() -> None:
    model = tiny()
    optimizer = NGMSGD(model, lr=0.1)
    optimizer.param_groups[0]["maximize"] = True
    step(model, optimizer, X, Y)
    assert loss_of(model) > loss_of(tiny())


def test_groups_can_be_added_and_have_settings_of_their_own() -> None:
    model, apart = tiny(), nn.Parameter(torch.ones(2))
    optimizer = NGMSGD(model, lr=0.1, layers="output")
    optimizer.add_param_group({"params": [apart], "lr": 0.5, "weight_decay": 1.0})
    with pytest.raises(ValueError, match="parameters appear in more than one parameter group"):
        optimizer.add_param_group({"params": [apart]})
    with pytest.raises(TypeError, match="can only optimize Tensors"):
        optimizer.add_param_group({"params": [1]})
    F.cross_entropy(model(X) + apart.sum(), Y).backward()
    optimizer.step()
    assert apart.tolist() == pytest.approx([0.5, 0.5])  # its gradient is 0
    twin = NGMSGD(other := tiny(), layers="output")
    twin.add_param_group({"params": [nn.Parameter(torch.ones(2))]})
    twin.load_state_dict(optimizer.state_dict())
    assert [group["lr"] for group in twin.param_groups] == [0.1, 0.1, 0.5]
    other(X)
    twin.step()


def test_sparse_gradients_are_used_as_by_sgd() -> None:
    def run(sparse: bool) -> nn.Module:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Embedding(6, 3, sparse=sparse), nn.Linear(3, 2))
        optimizer = NGMSGD(model, lr=0.1)
        for _ in range(3):
            step(model, optimizer, torch.arange(4), torch.arange(4) % 2)
        return model

    torch.testing.assert_close(run(True).state_dict(), run(False).state_dict())


def test_complex_weights_are_trained_as_their_real_and_imaginary_parts() -> None:
    class Magnitudes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.layer = nn.Linear(3, 2, dtype=torch.complex64)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x.to(torch.complex64)).abs()

    ours, theirs = Magnitudes(), Magnitudes()
    optimizer = NGMSGD(ours, lr=0.1, gain_sensitivity=0.0)
    sgd = torch.optim.SGD(theirs.parameters(), lr=0.1)
    for _ in range(3):
        step(ours, optimizer, X, Y)
        sgd.zero_grad()
        F.cross_entropy(theirs(X), Y).backward()
        sgd.step()
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())
    optimizer = NGMSGD(ours, lr=0.1, baseline_gain=2.0)
    with torch.no_grad():
        theirs.load_state_dict(ours.state_dict())
        theirs.layer.weight.mul_(2.0)
    torch.testing.assert_close(ours(X), theirs(X))


def test_double_precision_is_kept() -> None:
    model = tiny().double()
    optimizer = NGMSGD(model, lr=0.1)
    for _ in range(3):
        step(model, optimizer, X.double(), Y)
    assert all(p.dtype == torch.float64 for p in model.parameters())
    assert optimizer.gain.dtype == torch.float32
    assert float(optimizer.gain) == pytest.approx(float(train({"lr": 0.1}, 3)[1].gain), rel=1e-5)


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_state_is_deterministic_and_can_be_copied(settings: dict[str, Any]) -> None:
    model, optimizer = train(settings)
    weights, state = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict())
    pickled = pickle.loads(pickle.dumps(optimizer.state_dict()))
    step(model, optimizer, X, Y)
    for saved in (state, pickled):
        twin = tiny()
        other = NGMSGD(twin)
        if "layers" in settings:
            other = NGMSGD(twin, layers="output")
        twin.load_state_dict(weights)
        other.load_state_dict(saved)
        step(twin, other, X, Y)
        same(twin, model)
    with pytest.raises(ValueError, match="loaded state dict has a different number of parameter"):
        optimizer.load_state_dict({**state, "param_groups": state["param_groups"] * 3})


def test_a_deep_copy_has_all_public_attributes() -> None:
    _, optimizer = train({})

    def public(optimizer: NGMSGD) -> set[str]:
        return {name for name in vars(optimizer) if not name.startswith("_")}

    assert public(copy.deepcopy(optimizer)) == public(optimizer)
    assert public(pickle.loads(pickle.dumps(optimizer))) == public(optimizer)


def test_step_hooks_run_around_the_step_in_order() -> None:
    model = tiny()
    calls: list[str] = []

    def note(name: str) -> Callable[..., None]:
        return lambda *_: calls.append(name)

    handles = [
        register_optimizer_step_pre_hook(note("all before")),
        register_optimizer_step_post_hook(note("all after")),
    ]
    try:
        optimizer = NGMSGD(model, lr=0.1)
        own = [
            optimizer.register_step_pre_hook(note("before")),
            optimizer.register_step_post_hook(note("after")),
        ]
        step(model, optimizer, X, Y)
        assert calls == ["all before", "before", "after", "all after"]
        own[0].remove(), own[1].remove()
        step(model, optimizer, X, Y)
        assert calls[4:] == ["all before", "all after"]
    finally:
        for handle in handles:
            handle.remove()


def test_state_hooks_see_the_gain() -> None:
    _, optimizer = train({})
    seen: list[Any] = []
    optimizer.register_state_dict_pre_hook(seen.append)
    optimizer.register_state_dict_post_hook(lambda o, state: {**state, "note": 1})
    state = optimizer.state_dict()
    assert seen == [optimizer]
    assert state["note"] == 1
    assert state["param_groups"][0]["gain_value"] == optimizer.gain

    def slower(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
        groups = [{**group, "gain_sensitivity": 0.0} for group in state["param_groups"]]
        return {**state, "param_groups": groups}

    optimizer.register_load_state_dict_pre_hook(slower)
    optimizer.register_load_state_dict_post_hook(seen.append)
    optimizer.load_state_dict(state)
    assert seen == [optimizer, optimizer]
    assert optimizer.modulation.sensitivity == 0.0


def test_zero_grad_removes_or_zeroes_gradients() -> None:
    model, optimizer = train({})
    optimizer.zero_grad(set_to_none=False)
    assert all(not p.grad.any() for p in model.parameters() if p.grad is not None)
    optimizer.zero_grad()
    assert all(p.grad is None for p in model.parameters())


def test_profiles_name_the_optimizer() -> None:
    model, optimizer = train({})
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        step(model, optimizer, X, Y)
    names = [event.key for event in profiler.key_averages()]
    assert "Optimizer.step#NGMSGD.step" in names
    assert "Optimizer.zero_grad#NGMSGD.zero_grad" in names


def test_a_compiled_step_computes_the_same() -> None:
    networks = []
    for compiled in (True, False):
        model = tiny()
        optimizer = NGMSGD(model, lr=0.1)
        do_step = torch.compile(optimizer.step, backend="eager") if compiled else optimizer.step
        for seed in range(3):
            x, y = batch(seed)
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            do_step()
        assert optimizer.gain > 1.3
        networks.append(model)
    torch.testing.assert_close(networks[0].state_dict(), networks[1].state_dict())
