"""Time and memory of a training step."""

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


def bytes_of(method: str) -> int:
    torch.manual_seed(0)
    model = SMALL.build()
    built = get_method(method).build(model, **get_method(method).example)
    learner = built if isinstance(built, Learner) else Learner(model, built)
    batch = Batch(torch.randn(4, 8), torch.randint(10, (4,)), torch.arange(4) % 2)
    return training_bytes(learner, batch)


def test_memory_equals_a_calculation_by_hand() -> None:
    """Memory holds weights, gradients, and the hidden layers and softmax for the backward pass."""
    activations = 4 * (16 + 16 + 10) * 4
    few = 64  # small tensors, such as the count of the mean loss
    plain = bytes_of("sgd")
    assert 0 <= plain - (2 * WEIGHTS * 4 + activations) <= few
    assert bytes_of("momentum-sgd") - plain == WEIGHTS * 4
    assert 2 * WEIGHTS * 4 <= bytes_of("adam") - plain <= 2 * WEIGHTS * 4 + few
    assert bytes_of("ema") - plain >= WEIGHTS * 4


def test_task_aware_methods_are_measured_in_their_second_task(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(cost, "_SECONDS_PER_ROUND", 0.01)
    costs = {cost_.method: cost_ for cost_ in measure(["ewc", "gem-joint"], [SMALL])}
    assert costs["ewc"].memory_ratio > 1.2  # Fisher information and anchor
    assert costs["gem-joint"].time_ratio > 1.3  # a gradient for each task


def test_a_gain_needs_almost_no_memory() -> None:
    """The backward pass saves neither the product of gain and weight nor its factors."""
    assert 0 <= bytes_of("ngm-sgd") - bytes_of("sgd") <= 64
    assert 0 <= bytes_of("ngm-sgd-output") - bytes_of("sgd") <= 64


def test_costs_are_ratios_to_sgd(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(cost, "_SECONDS_PER_ROUND", 0.01)
    costs = {cost_.method: cost_ for cost_ in measure(["sgd", "sam", "gain-decoy"], [SMALL])}
    assert costs["sgd"].time_ratio == 1.0
    assert costs["sgd"].memory_ratio == 1.0
    assert costs["sgd"].parameters == WEIGHTS
    for twice in ("sam", "gain-decoy"):
        assert costs[twice].time_ratio > 1.3  # at least two passes instead of one
        assert costs[twice].time_low <= costs[twice].time_ratio <= costs[twice].time_high
        assert costs[twice].memory_ratio > 1.0


def test_networks_have_three_depths_and_three_widths() -> None:
    for family in ("MLP", "ResNet"):
        shapes = {(n.depth, n.width) for n in NETWORKS if n.family == family}
        assert len({depth for depth, _ in shapes}) == 3
        assert len({width for _, width in shapes}) == 3
        for network in NETWORKS:
            if network.family == "MLP" and network.width == 100:
                assert network.build()(torch.zeros(network.inputs)).shape == (128, 10)


def test_a_method_that_raises_on_a_network_has_nan_costs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def build(model: nn.Module, **hyperparameters: float) -> SGD:
        raise RuntimeError("no such network")

    def method(name: str) -> Method:
        shipped = get_method(name)
        return replace(shipped, build=build) if name == "adam" else shipped

    monkeypatch.setattr(cost, "_SECONDS_PER_ROUND", 0.01)
    monkeypatch.setattr(cost, "get_method", method)
    costs = {cost_.method: cost_ for cost_ in measure(["adam", "sgd"], [SMALL])}
    assert math.isnan(costs["adam"].time_ratio)
    assert costs["adam"].bytes == 0
    assert costs["sgd"].time_ratio == 1.0
