"""The built-in methods and the validation of methods."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from importlib.metadata import EntryPoint
from inspect import signature
from typing import Any
from warnings import catch_warnings

import numpy as np
import pytest
import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution
from torch import nn
from torch.optim import SGD, Adam, AdamW
from torch.optim.swa_utils import get_ema_avg_fn

from ngm_tune import NGMSGD
from ngm_tune.benchmarks.models import MLP
from ngm_tune.errors import UserError
from ngm_tune.learners import Learner
from ngm_tune.methods import Method, get_method, methods
from ngm_tune.methods.built_in import BUILT_IN
from ngm_tune.methods.registry import current_registry
from ngm_tune.study.initial_points import locate
from ngm_tune.study.search_spaces import narrow_space
from ngm_tune.testing.runs import corners, middle, start_run
from ngm_tune.training.loop import ContinualTraining
from tests.helpers.searches import a_study


def model() -> nn.Module:
    return nn.Linear(2, 2)


@pytest.mark.parametrize("name", methods())
def test_optimizers_use_the_searched_learning_rate(name: str) -> None:
    method = get_method(name)
    for point in corners(method):
        built = method.build(model(), **method.settings_at(point))
        optimizer = built.optimizer if isinstance(built, Learner) else built
        assert optimizer.param_groups[0]["lr"] == point["lr"]


@pytest.mark.parametrize("name", methods())
def test_methods_learn_in_the_middle_of_their_search_space(name: str) -> None:
    method = get_method(name)
    record = start_run(method, middle(method), iterations=100).train_task()
    losses = record.steps[:, 0]
    assert record.diverged_at is None
    assert losses[-5:].mean() < losses[0] / 4
    assert record.accuracy[-1, 0] >= 0.9


def run(name: str, **settings: float) -> ContinualTraining:
    """Start a short run in the middle of a search space, with some hyper-parameters replaced."""
    method = get_method(name)
    return start_run(method, middle(method), iterations=25, **settings)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("warmup-oracle", {"lr": 0.1, "warmup": 0}),
        ("ema", {"lr": 0.1, "decay": 1.0}),
        ("gain-decoy", {"delay": -1}),
        ("er", {"lr": 0.1, "buffer_size": 0}),
        ("ewc", {"lr": 0.1, "strength": -1.0}),
        ("ewc", {"lr": 0.1, "strength": 1.0, "fisher_examples": 0}),
        ("si", {"lr": 0.1, "strength": 1.0, "damping": 0.0}),
        ("entropy-lr", {"lr": 0.1, "gain_sensitivity": -1.0, "entropy_smoothing": 0.9}),
        ("entropy-lr", {"lr": 0.1, "gain_sensitivity": 1.0, "entropy_smoothing": 2.0}),
        ("ngm-sgd-mean-entropy", {"lr": 0.1, "layers": "foo"}),
    ],
)
def test_hyperparameters_out_of_range_raise(name: str, settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="Invalid"):
        get_method(name).build(model(), **settings)


def test_the_delay_of_a_decoy_can_exceed_the_run() -> None:
    late = run("gain-decoy", delay=10**12)
    late.train_task()
    assert set(late.records[0].steps[:, 2].tolist()) == {1.0}


def test_a_diverging_run_of_gem_does_not_raise() -> None:
    diverging = run("gem-joint", lr=1e9)
    while not diverging.finished:
        diverging.train_task()
    assert diverging.diverged_at is not None


def test_accepts_is_true_for_parameters_of_build_only() -> None:
    assert get_method("ngm-sgd").accepts("backbone_momentum")
    assert get_method("gain-decoy").accepts("layers")
    assert not get_method("sgd").accepts("layers")


def test_every_learning_rate_is_searched_on_a_log_scale() -> None:
    for method in methods().values():
        lr = method.space["lr"]
        assert isinstance(lr, FloatDistribution)
        assert lr.log


def test_built_in_methods_build_their_optimizers() -> None:
    assert isinstance(get_method("ngm-sgd").build(model()), NGMSGD)
    momentum = get_method("momentum-sgd").build(model(), lr=0.1)
    assert isinstance(momentum, SGD)
    assert momentum.param_groups[0]["momentum"] == 0.9
    plain = get_method("sgd").build(model(), lr=0.1)
    assert isinstance(plain, SGD)
    assert plain.param_groups[0]["momentum"] == 0.0
    assert isinstance(get_method("adam").build(model(), lr=0.1), Adam)
    for name, more in (("warmup-oracle", 5), ("momentum-reset-oracle", None), ("sam", 0.1)):
        settings = [0.1] if more is None else [0.1, more]
        learner = get_method(name).build(model(), *settings)
        assert learner.optimizer.param_groups[0]["momentum"] == 0.9


def test_a_frozen_gain_does_not_change() -> None:
    layer = model()
    optimizer = get_method("ngm-sgd-frozen-gain").build(layer, lr=0.1, baseline_gain=2.5)
    for _ in range(5):
        nn.functional.cross_entropy(layer(torch.randn(4, 2)), torch.tensor([0, 1, 0, 1])).backward()
        optimizer.step()
    assert isinstance(optimizer, NGMSGD)
    assert optimizer.gain.item() == 2.5


def test_a_frozen_gain_is_on_every_layer() -> None:
    network, x = MLP((3, 8, 8, 2), hidden_std=0.5, output_std=0.5), torch.randn(6, 3)
    plain = network(x)
    get_method("ngm-sgd-frozen-gain").build(network, lr=0.1, baseline_gain=2.5)
    torch.testing.assert_close(network(x), 2.5**3 * plain)


def two_steps(name: str, **settings: float) -> list[float]:
    """Return the values of a weight, initially 1, after steps with gradients 0.5 and -0.2."""
    layer = nn.Linear(1, 1, bias=False)
    nn.init.ones_(layer.weight)
    optimizer = get_method(name).build(layer, **settings)
    weights = []
    for gradient in (0.5, -0.2):
        layer.weight.grad = torch.tensor([[gradient]])
        optimizer.step()
        weights.append(layer.weight.item())
    return weights


def defaults_of(function: Callable[..., Any], *names: str) -> dict[str, Any]:
    """Return the default values of parameters."""
    return {name: signature(function).parameters[name].default for name in names}


def test_default_settings_are_those_of_their_source() -> None:
    for name in ("sgd", "momentum-sgd", "nesterov", "gem-joint", "momentum-reset-oracle", "er"):
        assert get_method(name).default == defaults_of(SGD, "lr")
    assert get_method("adam").default == defaults_of(Adam, "lr")
    assert get_method("adamw").default == defaults_of(AdamW, "lr", "weight_decay")
    assert get_method("ema").default == {
        **defaults_of(SGD, "lr"),
        **defaults_of(get_ema_avg_fn, "decay"),
    }
    modulated = defaults_of(NGMSGD, "lr", "gain_sensitivity", "entropy_smoothing")
    for name in ("ngm-sgd", "ngm-sgd-mean-entropy", "ngm-sgd-output", "gain-decoy", "entropy-lr"):
        assert get_method(name).default == modulated
    frozen = get_method("ngm-sgd-frozen-gain").default
    assert frozen == defaults_of(NGMSGD, "lr", "baseline_gain")


@pytest.mark.parametrize("method", BUILT_IN, ids=lambda method: method.name)
def test_default_settings_are_in_the_search_space(method: Method) -> None:
    if method.default is not None:
        locate("", method, narrow_space(method, {}), dict(method.default))


@pytest.mark.parametrize("method", BUILT_IN, ids=lambda method: method.name)
def test_spaces_contain_those_of_ablations(method: Method) -> None:
    """Otherwise an ablation could be better by its range."""
    for full in map(get_method, method.ablation_of):
        shared = method.space.keys() & full.space.keys()
        assert shared
        assert all(full.space[name] == method.space[name] for name in shared)


def test_updates_by_hand() -> None:
    assert two_steps("sgd", lr=0.1) == pytest.approx([0.95, 0.97])
    # v1 = 0.5, v2 = 0.9 v1 - 0.2 = 0.25
    assert two_steps("momentum-sgd", lr=0.1) == pytest.approx([0.95, 0.925])
    # g + 0.9 v: 0.5 + 0.45, then -0.2 + 0.225
    assert two_steps("nesterov", lr=0.1) == pytest.approx([0.905, 0.9025])
    # Adam's first step is lr; m2 = 0.025/0.19, v2 = (0.999 * 2.5e-4 + 4e-5)/0.001999
    second = 0.1 * (0.025 / 0.19) / math.sqrt((0.999 * 2.5e-4 + 4e-5) / 0.001999)
    assert two_steps("adam", lr=0.1) == pytest.approx([0.9, 0.9 - second], rel=1e-5)
    # AdamW shrinks the weight by 1 - lr * decay before each of the same steps.
    decayed = [1.0 * 0.95 - 0.1, (1.0 * 0.95 - 0.1) * 0.95 - second]
    assert two_steps("adamw", lr=0.1, weight_decay=0.5) == pytest.approx(decayed, rel=1e-5)


def test_temperature_is_sgd_on_logits_times_a_constant() -> None:
    ours = MLP((3, 8, 8, 2), hidden_std=0.5, output_std=0.5)
    theirs = deepcopy(ours)
    cold = get_method("temperature").build(ours, lr=0.1, inverse_temperature=4.0)
    plain = SGD(theirs.parameters(), lr=0.1)
    for _ in range(5):
        x, y = torch.randn(6, 3), torch.randint(2, (6,))
        for layer, optimizer, factor in ((ours, cold, 1.0), (theirs, plain, 4.0)):
            optimizer.zero_grad()
            nn.functional.cross_entropy(factor * layer(x), y).backward()
            optimizer.step()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


def test_dc_gain_and_decay_give_eta_and_gamma() -> None:
    settings = get_method("ngm-sgd").configure({"lr": 0.1, "dc_gain": 4.0, "gain_decay": 0.1})
    assert settings == pytest.approx({"lr": 0.1, "gain_sensitivity": 0.4, "entropy_smoothing": 0.9})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("nowhere:x", "cannot be loaded: ModuleNotFoundError"),
        ("builtins:dict", "is not an ngm_tune.methods.Method"),
        ("tests.methods.test_methods:TWIN", "'sgd' already exists"),
    ],
)
def test_an_invalid_entry_point_stops_only_studies_that_name_its_method(
    monkeypatch: pytest.MonkeyPatch, value: str, message: str
) -> None:
    name = "sgd" if "TWIN" in value else "x"
    point = EntryPoint(name="x", value=value, group="ngm_tune.methods")
    monkeypatch.setattr("ngm_tune.methods.registry.entry_points", lambda group: [point])
    current_registry.cache_clear()
    assert a_study(methods=["adam"]).methods == ["adam"]
    for reject in (lambda: get_method(name), lambda: a_study(methods=[name, "adam"])):
        with pytest.raises((ValueError, UserError), match=message):
            reject()
    # The name of a method need not be that of its entry point.
    with pytest.raises(UserError, match=f"no method 'other'.*{message}"):
        a_study(methods=["other"])
    monkeypatch.undo()
    current_registry.cache_clear()


TWIN = get_method("sgd")


@pytest.mark.parametrize("name", ["", "a/b", "a.b", "a b", "-a", "ä"])
def test_invalid_names_raise(name: str) -> None:
    with pytest.raises(ValueError, match=f"Invalid method name: {name!r}"):
        replace(TWIN, name=name)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (((0.9, 0.999), (0.8, 0.99)), "must be None, bool, int, float or str"),
        ((math.nan, 1.0), "must be None, bool, int, float or str"),
        ((2**53 + 1, 1), "a whole number is larger than 2"),
        ((2**70, 1), "a whole number is larger than 2"),
        (("3", 3), "two are equal or have the same string"),
        ((True, 1), "two are equal or have the same string"),
    ],
)
def test_choices_that_results_cannot_store_raise(choices: tuple[Any, ...], message: str) -> None:
    with catch_warnings(action="ignore"):  # of Optuna, for tuples
        space = {"k": CategoricalDistribution(choices)}
    with pytest.raises(ValueError, match=f"Invalid choices of sgd.k: .*{message}"):
        replace(TWIN, space=space)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"space": {"lr": (0.1, 1.0)}},
            r"Invalid range of sgd.lr: \(0.1, 1.0\) \(must be a",
        ),
        ({"configure": lambda point: None}, "Invalid configure of sgd: .*NoneType"),
        ({"configure": lambda point: {"lr": point["rate"]}}, "Invalid configure of sgd: .*'rate'"),
        (
            {"build": lambda model, rate: SGD(model.parameters(), lr=rate)},
            "Invalid build of sgd: .*'lr'",
        ),
        (
            {"configure": lambda p: {"lr": 1.0} | ({"nesterov": True} if p["lr"] > 0.5 else {})},
            "Invalid configure of sgd: .* the same hyper-parameters for all points",
        ),
        (
            {"configure": lambda point: {"method": point["lr"]}},
            "Invalid hyper-parameter of sgd: method",
        ),
        ({"build": 3}, "Invalid build of sgd: .*not a callable"),
        ({"ablation_of": "ngm-sgd"}, "Invalid ablation_of of sgd: 'ngm-sgd' .must be a tuple"),
        ({"default": {"rate": 1.0}}, "Invalid default of sgd: .*must have a value of lr"),
        ({"default_source": ""}, "Invalid default_source of sgd: it is empty"),
    ],
)
def test_inconsistent_methods_raise(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(TWIN, **changes)


def test_settings_computed_with_numpy_are_plain_values() -> None:
    method = replace(
        TWIN,
        configure=lambda point: {"lr": np.where(True, np.float32(2) * np.sqrt(point["lr"]), 0)},
        locate=lambda given: {"lr": np.square(given["lr"] / 2)},
    )
    settings = method.settings_at({"lr": 0.25})
    assert settings == {"lr": 1.0}
    assert type(settings["lr"]) is float
    assert method.hyperparameters == {"lr": float}
    assert locate("", method, narrow_space(method, {}), settings) == {"lr": 0.25}


def test_unknown_method() -> None:
    with pytest.raises(ValueError, match="no method 'sdg'; the methods are ngm-sgd"):
        get_method("sdg")
