"""Probes: curvature against exact Hessians, and fast and slow weights."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ngm_tune import NGMSGD
from ngm_tune.benchmarks import get_benchmark
from ngm_tune.benchmarks.models import MLP, SlimResNet18
from ngm_tune.learners import Batch, Learner
from ngm_tune.optim.gain import NeuronalGain
from ngm_tune.training.probes import Probes, effective_sharpness, sharpness


def examples(count: int = 40, features: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(count, features, generator=generator),
        torch.randint(3, (count,), generator=generator),
    )


def network() -> MLP:
    torch.manual_seed(0)
    return MLP((5, 6, 3), hidden_std=0.8, output_std=0.8)


def with_gain(model: nn.Module, gain: float, layers: str = "all") -> NeuronalGain:
    return NeuronalGain(model, sensitivity=0.0, smoothing=0.9, baseline=gain, layers=layers)


def dense_hessian(model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> np.ndarray:
    parameters = list(model.parameters())
    sizes = [p.numel() for p in parameters]

    def loss(flat: torch.Tensor) -> torch.Tensor:
        values = {
            name: part.view_as(p)
            for (name, p), part in zip(
                model.named_parameters(), torch.split(flat, sizes), strict=True
            )
        }
        return F.cross_entropy(torch.func.functional_call(model, values, (inputs,)), labels)

    flat = torch.cat([p.detach().flatten() for p in parameters])
    return torch.autograd.functional.hessian(loss, flat).numpy()


@pytest.mark.parametrize("gain", [1.0, 1.7])
def test_sharpness_is_the_largest_eigenvalue_of_the_hessian(gain: float) -> None:
    model, (inputs, labels) = network(), examples()
    with_gain(model, gain)
    model.eval()
    expected = np.linalg.eigvalsh(dense_hessian(model, inputs, labels))[-1]
    assert sharpness(model, inputs, labels) == pytest.approx(expected, rel=1e-3)


def test_effective_sharpness_equals_that_of_a_network_with_the_effective_weights() -> None:
    model, plain, (inputs, labels) = network(), network(), examples()
    with_gain(model, 1.7)
    with torch.no_grad():
        for p in plain.parameters():
            p.mul_(1.7)
    expected = np.linalg.eigvalsh(dense_hessian(plain, inputs, labels))[-1]
    assert effective_sharpness(model, inputs, labels) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("gain", [0.6, 1.0, 2.5])
def test_the_ratio_of_raw_to_effective_curvature_is_the_gain_squared(gain: float) -> None:
    """H_W = g² H_gW if every layer has the gain (arXiv 2507.14056, section 2)."""
    model, (inputs, labels) = network(), examples()
    with_gain(model, gain)
    ratio = sharpness(model, inputs, labels) / effective_sharpness(model, inputs, labels)
    assert ratio == pytest.approx(gain**2, rel=2e-3)


def test_the_ratio_is_smaller_if_only_the_output_layer_has_a_gain() -> None:
    model, (inputs, labels) = network(), examples()
    with_gain(model, 2.5, layers="output")
    ratio = sharpness(model, inputs, labels) / effective_sharpness(model, inputs, labels)
    assert 1.0 < ratio < 0.9 * 2.5**2


def test_probing_changes_neither_model_nor_gain() -> None:
    model, (inputs, labels) = network(), examples()
    modulation = with_gain(model, 1.7)
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for probe in (sharpness, effective_sharpness):
        probe(model, inputs, labels)
    assert model.training
    assert float(modulation.value) == pytest.approx(1.7)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_a_network_with_batch_normalisation_can_be_probed() -> None:
    torch.manual_seed(0)
    model = SlimResNet18(3, width=2)
    with_gain(model, 2.0, layers="output")
    inputs, labels = torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 0])
    assert sharpness(model, inputs, labels) > 0


def test_nan_weights_have_a_nan_curvature() -> None:
    model, (inputs, labels) = network(), examples()
    with torch.no_grad():
        next(model.parameters()).fill_(torch.nan)
    assert math.isnan(sharpness(model, inputs, labels))


def test_fast_and_slow_parts_add_up_to_the_effective_weights() -> None:
    digits = get_benchmark("split-digits")
    train = digits.load().train
    torch.manual_seed(0)
    learner = Learner(model := digits.build_model(), NGMSGD(model, lr=0.1))
    probes = Probes(["fast-and-slow"], train, digits.prepare, seed=0, every=1)
    batch = Batch(train.inputs[:20], train.labels[:20], torch.zeros(20))
    model.train()
    weights, gains, measurements = [], [], []
    for i in range(3):
        learner.learn(batch)
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
        gains.append(float(learner.optimizer.gain))
        measurements.append(probes(learner, 0, i + 1))
    assert gains[-1] > 2.0
    for weight, gain, norms in zip(weights, gains, measurements, strict=True):
        norm = float(weight.norm())
        assert norms["slow_norm"] == pytest.approx(norm, rel=1e-5)
        assert norms["slow_norm"] + norms["fast_norm"] == pytest.approx(gain * norm, rel=1e-5)
    assert "gain_step" not in measurements[0]
    moved = float((weights[2] - weights[1]).norm())
    assert measurements[2]["weight_step"] == pytest.approx(gains[2] * moved, rel=1e-4)
    change = (gains[2] - gains[1]) * float(weights[2].norm())
    assert measurements[2]["gain_step"] == pytest.approx(change, rel=1e-4)


def test_curvature_is_measured_early_in_a_task_and_then_at_intervals() -> None:
    digits = get_benchmark("split-digits")
    torch.manual_seed(0)
    learner = Learner(model := digits.build_model(), NGMSGD(model, lr=0.1))
    probes = Probes(["curvature"], digits.load().train, digits.prepare, seed=0, every=25)
    measured = [i for i in range(1, 61) if probes(learner, 0, i)]
    assert measured == [1, 2, 5, 10, 25, 50]
