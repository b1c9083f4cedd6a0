"""Controls of NGM-SGD: each keeps the dynamics of the gain and changes one other part."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from ngm_tune import NGMSGD
from ngm_tune.benchmarks.models import MLP
from ngm_tune.learners import Batch, EntropyLearningRate, GainDecoy, Learner, MeanEntropy
from ngm_tune.optim.predictions import predictive_entropy

GAIN = {"lr": 0.05, "gain_sensitivity": 0.4, "entropy_smoothing": 0.9}


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return MLP((6, 8, 3), hidden_std=0.5, output_std=0.5)


def batches(count: int, seed: int = 1) -> list[Batch]:
    generator = torch.Generator().manual_seed(seed)
    return [
        Batch(
            torch.randn(5, 6, generator=generator),
            torch.randint(3, (5,), generator=generator),
            torch.zeros(5, dtype=torch.int64),
        )
        for _ in range(count)
    ]


def gains(learner: Learner, given: list[Batch]) -> Tensor:
    """Train on batches; return the gain of each step."""
    values = []
    for batch in given:
        learner.learn(batch)
        assert learner.gain is not None
        values.append(learner.gain.clone())
    return torch.stack(values)


@pytest.mark.parametrize(("normalised", "exponent"), [(False, 1.0), (True, 1.0), (False, 2.0)])
@pytest.mark.parametrize("baseline", [1.0, 2.0])
def test_entropy_lr_scales_the_learning_rate_and_not_the_network(
    baseline: float, normalised: bool, exponent: float
) -> None:
    learner = EntropyLearningRate(
        network(),
        **GAIN,
        baseline_gain=baseline,
        normalise_entropy=normalised,
        exponent=exponent,
    )
    model = learner.model
    expected_gain = baseline
    for batch in batches(6):
        before = [p.detach().clone() for p in model.parameters()]
        logits = model(batch.inputs)
        loss = nn.functional.cross_entropy(logits, batch.labels)
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        step = learner.learn(batch)
        assert torch.equal(step.logits, logits)  # computed without a gain
        for p, old, gradient in zip(model.parameters(), before, gradients, strict=True):
            torch.testing.assert_close(p.detach(), old - 0.05 * expected_gain**exponent * gradient)
        entropy = float(predictive_entropy(step.logits).mean())
        entropy /= math.log(3) if normalised else 1.0
        expected_gain = 0.9 * expected_gain + 0.1 * baseline + 0.4 * entropy
    assert expected_gain > 2.0


def test_mean_entropy_drives_the_gain_by_the_mean_of_all_entropies_so_far() -> None:
    learner = MeanEntropy(network(), **GAIN)
    gain, entropies = 1.0, []
    for batch in batches(8):
        step = learner.learn(batch)
        assert learner.gain is not None
        assert math.isclose(float(learner.gain), gain, rel_tol=1e-5)
        entropies.append(float(predictive_entropy(step.logits).mean()))
        gain = 0.9 * gain + 0.1 + 0.4 * sum(entropies) / len(entropies)


def test_a_decoy_has_the_delayed_gain_of_ngm_sgd() -> None:
    given = batches(12)
    real = Learner(model := network(), NGMSGD(model, **GAIN))
    trace = gains(real, given)
    late = gains(GainDecoy(network(), delay=4, **GAIN), given)
    assert torch.equal(late[:4], torch.ones(4))
    torch.testing.assert_close(late[4:], trace[:-4])
    assert trace.max() > 2.0


def test_a_decoy_without_delay_is_ngm_sgd() -> None:
    given = batches(12)
    real = Learner(model := network(), NGMSGD(model, **GAIN))
    decoy = GainDecoy(network(), delay=0, **GAIN)
    torch.testing.assert_close(gains(decoy, given), gains(real, given))
    for mine, theirs in zip(decoy.model.parameters(), real.model.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)
