"""The gain in practical training loops: overflow, export and kinds of layers."""

from __future__ import annotations

import copy
import math
import warnings
from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ngm_tune import NGMSGD
from ngm_tune.optim.gain import NeuronalGain

from .test_ngm_sgd import step, tiny


def batch(seed: int, rows: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 3, generator=generator), torch.arange(rows) % 2


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_a_skipped_batch_with_overflow_does_not_change_the_gain(bad: float) -> None:
    """Loops that check the loss, and GradScaler, skip such batches."""
    model, plain = tiny(), tiny()
    optimizer = NGMSGD(model, lr=0.1)
    undisturbed = NGMSGD(plain, lr=0.1)
    for seed in range(5):
        x, y = batch(seed)
        step(plain, undisturbed, x, y)
        if seed == 2:
            assert not F.cross_entropy(model(x.clone().fill_(bad)), y).isfinite()
        step(model, optimizer, x, y)
    assert optimizer.gain.item() == undisturbed.gain.item() > 1.0
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_finite_predictions_count_in_a_batch_with_nan() -> None:
    model, whole = tiny(), tiny()
    optimizer, reference = NGMSGD(model), NGMSGD(whole)
    x, _ = batch(0)
    whole(x[:3])
    model(torch.cat([x[:3], torch.full((1, 3), math.nan)]))
    reference.step()
    optimizer.step()
    for network in (whole, model):
        network(x)
    assert optimizer.gain.item() == pytest.approx(reference.gain.item(), rel=1e-6)
    assert optimizer.gain.item() > 1.0


def test_a_diverged_network_keeps_its_last_gain() -> None:
    model = tiny()
    optimizer = NGMSGD(model, lr=0.1)
    x, y = batch(0)
    step(model, optimizer, x, y)
    model(x)
    before = optimizer.gain.item()
    step(model, optimizer, x.fill_(math.nan), y)
    model(x)
    optimizer.step()
    assert optimizer.gain.item() == pytest.approx(before, rel=0.2)


def test_a_folded_network_computes_the_same_without_a_gain() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 4 * 4, 5), nn.ReLU(),
        nn.Linear(5, 3),
    )  # fmt: skip
    optimizer = NGMSGD(model, lr=0.01)
    x, y = torch.randn(8, 1, 6, 6), torch.randint(3, (8,))
    for _ in range(5):
        step(model, optimizer, x, y)
    model.eval()
    logits = model(x)
    assert optimizer.gain.item() > 1.5
    optimizer.modulation.fold()
    torch.testing.assert_close(model(x), logits)
    other = nn.Sequential(*(copy.deepcopy(layer) for layer in model))
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other(x), logits)
    assert not any(module._forward_hooks for module in model.modules())


def test_fold_raises_without_an_attached_gain_or_a_weight_parameter() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    modulation = NGMSGD(model, gain_sensitivity=0.0, baseline_gain=2.0).modulation
    x, _ = batch(0)
    logits = model(x)
    modulation.fold()
    with pytest.raises(RuntimeError, match="not attached"):
        modulation.fold()
    torch.testing.assert_close(model(x), logits)
    nn.utils.parametrizations.weight_norm(model[0])
    modulation = NGMSGD(model, gain_sensitivity=0.0, baseline_gain=2.0).modulation
    logits = model(x)
    with pytest.raises(RuntimeError, match="is computed from other parameters"):
        modulation.fold()
    torch.testing.assert_close(model(x), logits)


def test_shared_weights_are_folded_once() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    model[2].weight = model[0].weight
    optimizer = NGMSGD(model, gain_sensitivity=0.0, baseline_gain=2.0)
    x, _ = batch(0)
    logits = model(x)
    optimizer.modulation.fold()
    torch.testing.assert_close(model(x), logits)


@pytest.mark.parametrize(("layers", "folds"), [("all", False), ("output", False), (["1"], True)])
def test_fold_raises_for_a_weight_shared_with_an_ungained_module(
    layers: str | list[str], folds: bool
) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 3), nn.Linear(3, 5, bias=False))
    model[2].weight = model[0].weight
    modulation = NGMSGD(model, gain_sensitivity=0.0, baseline_gain=2.0, layers=layers).modulation
    logits = model(torch.arange(5))
    refused = pytest.raises(RuntimeError, match="shares its weight with 0, which has no gain")
    with nullcontext() if folds else refused:
        modulation.fold()
    torch.testing.assert_close(model(torch.arange(5)), logits)


@pytest.mark.parametrize("layers", ["all", "output"])
def test_a_second_optimizer_attaches_its_gain_once(layers: str) -> None:
    once, twice = tiny(), tiny()
    NGMSGD(once, gain_sensitivity=0.0, baseline_gain=2.0, layers=layers)
    for _ in range(2):
        NGMSGD(twice, gain_sensitivity=0.0, baseline_gain=2.0, layers=layers)
    x, _ = batch(0)
    assert torch.equal(once(x), twice(x))


def test_a_duplicate_layer_name_gains_the_layer_once() -> None:
    once, twice = tiny(), tiny()
    NGMSGD(once, gain_sensitivity=0.0, baseline_gain=2.0, layers=["2"])
    optimizer = NGMSGD(twice, gain_sensitivity=0.0, baseline_gain=2.0, layers=["2", "2"])
    x, _ = batch(0)
    assert torch.equal(once(x), twice(x))
    assert len(optimizer.modulation.layers) == 1


def test_the_projections_of_attention_are_not_gained() -> None:
    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
            self.head = nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.head(self.attention(x, x, x)[0].mean(dim=1))
            return logits

    model = Attends()
    with pytest.warns(
        UserWarning, match=r"weights without a gain: attention \(MultiheadAttention\); the gain"
    ):
        optimizer = NGMSGD(model)
    assert optimizer.modulation.layers == (model.head,)
    with pytest.raises(ValueError, match=r"'attention\.out_proj', which is not a linear or conv"):
        NGMSGD(model, layers=["attention.out_proj"])


def test_a_single_output_unit_has_no_entropy() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    optimizer = NGMSGD(model)
    model(batch(0)[0])
    with pytest.warns(UserWarning, match=r"values of shape \(4, 1\), with a single class"):
        optimizer.step()
    optimizer = NGMSGD(model, output="0")
    model(batch(0)[0])
    optimizer.step()
    model(batch(0)[0])
    assert optimizer.gain > 1.0


def test_parameters_instead_of_the_model_are_an_error() -> None:
    with pytest.raises(
        TypeError, match="NGMSGD takes the model, not its parameters: got a generator"
    ):
        NGMSGD(tiny().parameters())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="positional argument"):
        NGMSGD(tiny(), 0.1, 0.9)  # type: ignore[misc]  # the third argument of SGD is momentum


def test_an_incomplete_state_is_an_error_and_changes_nothing() -> None:
    model = tiny()
    optimizer = NGMSGD(model, lr=0.1)
    state = optimizer.state_dict()
    state["param_groups"][0]["lr"] = 0.5
    plain = torch.optim.SGD(model.parameters()).state_dict()
    part = copy.deepcopy(state)
    del part["param_groups"][0]["gain_next"]
    for other in (plain, part):
        with pytest.raises(ValueError, match="holds no gain"):
            optimizer.load_state_dict(other)
    assert optimizer.param_groups[0]["lr"] == 0.1
    optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_steps_without_a_training_pass_warn_once() -> None:
    """A model that was compiled before the optimizer was built causes this."""
    optimizer, insensitive = NGMSGD(tiny()), NGMSGD(tiny(), gain_sensitivity=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer.step()  # as code does to initialise the state
        optimizer.param_groups[0]["lr"] = 0.0
        for _ in range(3):
            optimizer.step()
        optimizer.param_groups[0]["lr"] = 0.1
    with pytest.warns(
        UserWarning, match="observed no training pass before the second step"
    ) as warned:
        optimizer.step()
    assert warned[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            optimizer.step()
            insensitive.step()


def test_repr_shows_the_settings() -> None:
    shown = repr(NGMSGD(tiny(), gain_sensitivity=0.25))
    assert shown.startswith("NGMSGD (")
    assert "gain_sensitivity: 0.25" in shown
    assert shown.endswith("Gain on 2 layers")


def test_settings_can_be_changed_in_the_parameter_groups() -> None:
    model, other = tiny(), tiny()
    optimizer, reference = NGMSGD(model, gain_sensitivity=0.3), NGMSGD(other, gain_sensitivity=0.7)
    optimizer.param_groups[0]["gain_sensitivity"] = 0.7
    assert optimizer.state_dict()["param_groups"][0]["gain_sensitivity"] == 0.7
    for seed in range(3):
        step(model, optimizer, *batch(seed))
        step(other, reference, *batch(seed))
    assert torch.equal(optimizer.gain, reference.gain)
    optimizer.param_groups[0]["gain_smoothing"] = 1.0
    with pytest.raises(ValueError, match=r"Invalid entropy smoothing: 1\.0"):
        step(model, optimizer, *batch(0))


def test_data_parallel_over_several_devices_is_refused() -> None:
    """Its replicas run in threads; here one replica runs, because machines have few devices."""
    model = tiny()
    parallel = nn.DataParallel(model)
    optimizer = NGMSGD(parallel, lr=0.1)  # a single device needs no replicas
    step(parallel, optimizer, *batch(0))
    with pytest.raises(RuntimeError, match="DataParallel runs copies of the model in several"):
        model._replicate_for_data_parallel()(batch(0)[0])
    parallel.device_ids = [0, 1]
    with pytest.raises(TypeError, match="DataParallel runs copies of the model in several threads"):
        NGMSGD(parallel)


def test_normalised_entropy_of_a_uniform_prediction_is_one() -> None:
    gain = NeuronalGain(tiny(), sensitivity=1.0, smoothing=0.0, normalise_entropy=True)
    for classes in (2, 7):
        torch.testing.assert_close(gain.observer.entropies(torch.zeros(3, classes)), torch.ones(3))


def test_the_class_dimension_of_convolutional_logits_precedes_space() -> None:
    torch.manual_seed(0)
    model = nn.Conv2d(1, 3, 2)
    image = torch.randn(1, 4, 6)
    gains = []
    for x in (image, image[None]):  # one image, and a batch of one
        optimizer = NGMSGD(model, lr=0.0)
        model(x).sum().backward()
        optimizer.step()
        model(x)
        gains.append(optimizer.gain)
    assert gains[0] > 1.0
    torch.testing.assert_close(*gains)
