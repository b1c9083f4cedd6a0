"""What a training step costs."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.optim import SGD

from ngm_tune.benchmarks.models import MLP
from ngm_tune.learners import Batch, Learner
from ngm_tune.methods import Method, get_method
from ngm_tune.training import step_cost as cost
from ngm_tune.training.step_cost import NETWORKS, Network, measure, training_bytes

SMALL = Network("MLP", 3, 16, lambda: MLP((8, 16, 16, 10), hidden_std=0.1, output_std=0.1), (4, 8))
WEIGHTS = 8 * 16 + 16 * 16 + 16 * 10


def held(method: str) -> int:
    torch.manual_seed(0)
    model = SMALL.build()
    built = get_method(method).build(model, **get_method(method).example)
    learner = built if isinstance(built, Learner) else Learner(model, built)
    batch = Batch(torch.randn(4, 8), torch.randint(10, (4,)), torch.arange(4) % 2)
    return training_bytes(learner, batch)


def test_memory_by_hand() -> None:
    """Weights, gradients, and for the backward pass the two hidden layers and the softmax."""
    activations = 4 * (16 + 16 + 10) * 4
    few = 64  # the count of the loss's mean, and the like
    plain = held("sgd")
    assert 0 <= plain - (2 * WEIGHTS * 4 + activations) <= few
    assert held("momentum-sgd") - plain == WEIGHTS * 4
    assert 2 * WEIGHTS * 4 <= held("adam") - plain <= 2 * WEIGHTS * 4 + few
    assert held("ema") - plain >= WEIGHTS * 4


def test_methods_that_are_told_of_tasks_are_measured_in_their_second(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(cost, "_SECONDS_PER_ROUND", 0.01)
    costs = {found.method: found for found in measure(["ewc", "gem-joint"], [SMALL])}
    assert costs["ewc"].memory_ratio > 1.2  # Fisher information and anchor
    assert costs["gem-joint"].time_ratio > 1.3  # a gradient for each task


def test_a_gain_costs_no_memory_to_speak_of() -> None:
    """The backward pass needs neither the product nor what was multiplied."""
    assert 0 <= held("ngm-sgd") - held("sgd") <= 64
    assert 0 <= held("ngm-sgd-output") - held("sgd") <= 64


def test_costs_are_ratios_to_sgd(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(cost, "_SECONDS_PER_ROUND", 0.01)
    costs = {found.method: found for found in measure(["sgd", "sam", "gain-decoy"], [SMALL])}
    assert costs["sgd"].time_ratio == 1.0
    assert costs["sgd"].memory_ratio == 1.0
    assert costs["sgd"].parameters == WEIGHTS
    for twice in ("sam", "gain-decoy"):
        assert costs[twice].time_ratio > 1.3  # two passes instead of one, and some more
        assert costs[twice].time_low <= costs[twice].time_ratio <= costs[twice].time_high
        assert costs[twice].memory_ratio > 1.0


def test_networks_grow_in_depth_and_in_width() -> None:
    for family in ("MLP", "ResNet"):
        shapes = {(n.depth, n.width) for n in NETWORKS if n.family == family}
        assert len({depth for depth, _ in shapes}) == 3
        assert len({width for _, width in shapes}) == 3
        for network in NETWORKS:
            if network.family == "MLP" and network.width == 100:
                assert network.build()(torch.zeros(network.inputs)).shape == (128, 10)


def test_a_method_that_raises_on_a_network_has_no_figures_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def build(model: nn.Module, **hyperparameters: float) -> SGD:
        raise RuntimeError("no such network")

    def method(name: str) -> Method:
        found = get_method(name)
        return replace(found, build=build) if name == "adam" else found

    monkeypatch.setattr(cost, "_SECONDS_PER_ROUND", 0.01)
    monkeypatch.setattr(cost, "get_method", method)
    costs = {found.method: found for found in measure(["adam", "sgd"], [SMALL])}
    assert math.isnan(costs["adam"].time_ratio)
    assert costs["adam"].bytes == 0
    assert costs["sgd"].time_ratio == 1.0
