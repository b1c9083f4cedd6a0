"""The gain in the model's weights, and weights that come without it."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ngm_tune import NGMSGD, attach_gain

from .test_gain_in_use import batch
from .test_ngm_sgd import step, tiny

X, Y = batch(0)


def trained(steps: int = 4, **settings: object) -> tuple[nn.Sequential, NGMSGD]:
    model = tiny()
    optimizer = NGMSGD(model, lr=0.1, gain_buffer=True, **settings)  # type: ignore[arg-type]
    for seed in range(steps):
        step(model, optimizer, *batch(seed))
    assert optimizer.gain > 1.3
    return model, optimizer


def evaluated(model: nn.Module) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model.eval()(X)
    model.train()
    return logits


def test_weights_alone_describe_the_network(tmp_path: Path) -> None:
    model, optimizer = trained()
    assert {*model.state_dict()} == {*tiny().state_dict(), "neuronal_gain"}
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    weights = torch.load(tmp_path / "weights.pt", weights_only=True)

    before, after = tiny(), tiny()
    gain = attach_gain(before)
    before.load_state_dict(weights)
    after.load_state_dict(weights, strict=False)
    attach_gain(after, weights)
    for loaded in (before, after):
        assert torch.equal(evaluated(loaded), evaluated(model))
    assert torch.equal(gain.value, optimizer.gain)
    gain.fold()
    assert list(before.state_dict()) == list(tiny().state_dict())
    torch.testing.assert_close(evaluated(before), evaluated(model))
    with pytest.raises(RuntimeError, match=r'Unexpected key\(s\) in state_dict: "neuronal_gain"'):
        tiny().load_state_dict(weights)


@pytest.mark.parametrize("attached", [False, True])
def test_training_continues_from_weights_alone(attached: bool) -> None:
    model, optimizer = trained()
    resumed = tiny()
    if attached:
        attach_gain(resumed)
        resumed.load_state_dict(model.state_dict())
        other = NGMSGD(resumed, lr=0.1)
    else:
        other = NGMSGD(resumed, lr=0.1, gain_buffer=True)
        resumed.load_state_dict(model.state_dict())
    for seed in range(4, 7):
        assert torch.equal(step(resumed, other, *batch(seed)), step(model, optimizer, *batch(seed)))
    assert torch.equal(other.gain, optimizer.gain)
    torch.testing.assert_close(resumed.state_dict(), model.state_dict(), rtol=0, atol=0)


def test_the_buffer_changes_nothing_else() -> None:
    model, optimizer = trained()
    plain = tiny()
    other = NGMSGD(plain, lr=0.1)
    for seed in range(4):
        step(plain, other, *batch(seed))
    assert torch.equal(evaluated(plain), evaluated(model))
    torch.testing.assert_close(
        optimizer.modulation.state_dict(), other.modulation.state_dict(), rtol=0, atol=0
    )


def test_an_average_that_was_made_at_the_start_follows_the_gain() -> None:
    model = tiny()
    optimizer = NGMSGD(model, lr=0.1, gain_buffer=True)
    copied = AveragedModel(model)
    follows = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.0), use_buffers=True)
    last = copy.deepcopy(model)
    for seed in range(4):
        step(model, optimizer, *batch(seed))
        copied.update_parameters(model)
        follows.update_parameters(model)
    last.load_state_dict(model.state_dict())
    for average in (follows, last):
        assert torch.equal(evaluated(average), evaluated(model))
    copied.module[0].load_state_dict(model[0].state_dict())
    copied.module[2].load_state_dict(model[2].state_dict())
    assert torch.equal(evaluated(copied), evaluated(model))


def test_the_weights_tell_which_layers_have_a_gain() -> None:
    model, _ = trained(layers="output")
    weights = model.state_dict()
    loaded = tiny()
    loaded.load_state_dict(weights, strict=False)
    assert attach_gain(loaded, weights).layers == (loaded[2],)
    assert torch.equal(evaluated(loaded), evaluated(model))
    wrong = tiny()
    attach_gain(wrong)
    with pytest.raises(
        RuntimeError, match="weights have a gain on '2', and the model has one on '0', '2'; name"
    ):
        wrong.load_state_dict(weights)
    with pytest.raises(ValueError, match="weights of '2' were trained with a gain; name these"):
        NGMSGD(loaded, layers=["0"])
    assert torch.equal(evaluated(loaded), evaluated(model))


def test_weights_without_a_fitting_gain_are_refused() -> None:
    with pytest.raises(ValueError, match="weights hold no entries 'neuronal_gain'; those of"):
        attach_gain(tiny(), tiny().state_dict())
    with pytest.raises(ValueError, match=r"gains of shape \(2, 2\), and Linear has 1 linear"):
        attach_gain(nn.Linear(3, 2), trained()[0].state_dict())
    with torch.device("meta"), pytest.raises(ValueError, match="is on the meta device; give it"):
        attach_gain(nn.Linear(3, 2))


def test_the_names_of_wrapped_models_are_understood() -> None:
    model, _ = trained()
    weights = nn.ModuleDict({"module": model}).state_dict()
    loaded = tiny()
    attach_gain(loaded, weights)
    nn.ModuleDict({"module": loaded}).load_state_dict(weights)
    wrapper = nn.Sequential(tiny())
    owner = attach_gain(wrapper[0])
    wrapper.load_state_dict({key.replace("module", "0"): v for key, v in weights.items()})
    optimizer = NGMSGD(wrapper, lr=0.1)  # the buffer stays where it is
    assert torch.equal(optimizer.gain, owner.value)
    assert {*wrapper.state_dict()} == {f"0.{key}" for key in model.state_dict()}
    for each in (loaded, wrapper):
        assert torch.equal(evaluated(each), evaluated(model))
    with pytest.raises(ValueError, match="buffer of Sequential, which does not contain all gained"):
        NGMSGD(nn.Sequential(wrapper, nn.Linear(2, 2)))


def test_the_gain_outlives_its_optimizer_and_growth() -> None:
    model, first = trained()
    before = evaluated(model)
    optimizer = NGMSGD(model, lr=0.1, baseline_gain=1.1)
    assert torch.equal(optimizer.gain, first.gain)
    assert torch.equal(evaluated(model), before)
    model.append(nn.Linear(2, 5))
    optimizer.reattach()
    assert model.neuronal_gain.shape == (2, 3)
    step(model, optimizer, X, Y)
    assert (model.neuronal_gain[0] == optimizer.gain).all()


def test_a_fresh_buffer_starts_at_the_baseline() -> None:
    model = tiny()
    attach_gain(model)
    assert torch.equal(evaluated(model), evaluated(tiny()))
    assert NGMSGD(model, baseline_gain=1.5).gain == 1.5
    assert (model.neuronal_gain == 1.5).all()


def test_models_in_half_precision_keep_the_gain() -> None:
    model, _ = trained()
    loaded = tiny()
    attach_gain(loaded)
    loaded.load_state_dict(model.state_dict())
    loaded.bfloat16()
    optimizer = NGMSGD(loaded, lr=0.1)
    for seed in range(3):
        x, y = batch(seed)
        step(loaded, optimizer, x.bfloat16(), y)
    assert loaded.neuronal_gain.dtype == torch.float32
    assert optimizer.gain == loaded.neuronal_gain[0, 0]
    assert optimizer.gain > 1.5


def test_passes_in_both_modes_share_a_backward_pass() -> None:
    model, optimizer = trained()
    clean = model.eval()(X)
    noisy = model.train()(X)
    again = model(X)
    F.mse_loss(noisy + again, clean).backward()
    optimizer.step()


def test_per_example_gradients_work_with_a_buffer() -> None:
    model, optimizer = trained()

    def loss(parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        logits: Tensor = functional_call(model, parameters, (x[None],))
        return F.cross_entropy(logits, y[None])

    parameters = {name: p.detach() for name, p in model.named_parameters()}
    gradients = vmap(grad(loss), (None, 0, 0))(parameters, X, Y)
    step(model, optimizer, X, Y)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(gradients[name].mean(dim=0), parameter.grad)


def test_a_compiled_model_has_the_buffer_in_its_graph() -> None:
    from torch._dynamo.utils import counters

    def run(compiled: bool) -> list[Tensor]:
        model = tiny()
        optimizer = NGMSGD(model, lr=0.1, gain_buffer=True)
        called = torch.compile(model, backend="eager", fullgraph=True) if compiled else model
        outputs = []
        for seed in range(4):
            x, y = batch(seed)
            F.cross_entropy(called(x), y).backward()
            optimizer.step()
            optimizer.zero_grad()
            outputs += [evaluated(called), model.neuronal_gain.clone()]
        return outputs

    counters.clear()
    torch.testing.assert_close(run(compiled=True), run(compiled=False))
    assert counters["stats"]["unique_graphs"] <= 4


def plain_trained() -> tuple[nn.Sequential, NGMSGD]:
    model = tiny()
    optimizer = NGMSGD(model, lr=0.1)
    for seed in range(3):
        step(model, optimizer, *batch(seed))
    return model, optimizer


def test_weights_that_are_loaded_without_their_gain_cause_a_warning() -> None:
    model, optimizer = plain_trained()
    weights = copy.deepcopy(model.state_dict())
    step(model, optimizer, X, Y)
    model.load_state_dict(weights)
    with pytest.warns(UserWarning, match="weights were loaded into the model, but not the gain"):
        evaluated(model)
    with_buffer, _ = trained()
    with_buffer.load_state_dict(weights, strict=False)
    with pytest.warns(UserWarning, match="weights were loaded into the model, but not the gain"):
        evaluated(with_buffer)


def test_weights_that_are_loaded_with_their_gain_cause_no_warning() -> None:
    model, optimizer = plain_trained()
    weights, state = model.state_dict(), optimizer.state_dict()
    with_buffer, _ = trained()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for other, its_optimizer in (plain_trained(), (fresh := tiny(), NGMSGD(fresh))):
            other.load_state_dict(weights)
            its_optimizer.load_state_dict(state)
            step(other, its_optimizer, X, Y)
            its_optimizer.load_state_dict(state)
            other.load_state_dict(weights)
            step(other, its_optimizer, X, Y)
        unused = tiny()
        optimizer = NGMSGD(unused)
        unused.load_state_dict(weights)
        step(unused, optimizer, X, Y)
        with_buffer.load_state_dict(with_buffer.state_dict())
        evaluated(with_buffer)
