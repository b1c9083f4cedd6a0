"""The gain with other features of torch: checkpointing, averaging, transforms and compilation."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.checkpoint import checkpoint

from ngm_tune import NGMSGD
from ngm_tune.learners import Batch, ExponentialAverage

from .test_gain_in_use import batch
from .test_ngm_sgd import step, tiny


class Parts(nn.Module):
    """A body and a head; the body is called through a given function."""

    def __init__(self, through: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(3, 4), nn.Tanh())
        self.head = nn.Linear(4, 2)
        self.through = through

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.through(self.body, x))  # type: ignore[no-any-return]


def plainly(body: nn.Module, x: Tensor) -> Tensor:
    return body(x)  # type: ignore[no-any-return]


def without_gradients(body: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return body(x)  # type: ignore[no-any-return]


def in_evaluation(body: nn.Module, x: Tensor) -> Tensor:
    return body.eval()(x)  # type: ignore[no-any-return]


def trained(model: Parts, *, frozen: bool = False) -> tuple[Tensor, Tensor]:
    """Train four steps; return the logits of the last batch and the gain."""
    if frozen:
        model.body.requires_grad_(False)
    optimizer = NGMSGD(model, lr=0.1)
    for seed in range(4):
        x, y = batch(seed)
        logits = step(model, optimizer, x.requires_grad_(), y)
    return logits, optimizer.gain


@pytest.mark.parametrize("through", [without_gradients, in_evaluation])
def test_a_frozen_layer_has_the_gain_of_the_other_layers(
    through: Callable[[nn.Module, Tensor], Tensor],
) -> None:
    """z_t = f(x_t; g_t W_t) has one gain for all weights, trained or frozen."""
    torch.testing.assert_close(
        trained(Parts(through), frozen=True), trained(Parts(plainly), frozen=True), rtol=0, atol=0
    )


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointed_layers_compute_the_same(reentrant: bool) -> None:
    def recomputed(body: nn.Module, x: Tensor) -> Tensor:
        return checkpoint(body, x, use_reentrant=reentrant)  # type: ignore[no-any-return]

    torch.testing.assert_close(trained(Parts(recomputed)), trained(Parts(plainly)), rtol=0, atol=0)


def test_copy_to_sets_the_current_gain() -> None:
    """A moving average without decay, with its gain set, computes the same as the model."""
    model = tiny()
    optimizer = NGMSGD(model, lr=0.1)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.0))
    for seed in range(4):
        step(model, optimizer, *batch(seed))
        average.update_parameters(model)
    x, _ = batch(0)
    model.eval(), average.eval()
    assert not torch.equal(average(x), model(x))
    optimizer.modulation.copy_to(average)
    for mode in (False, True):
        assert torch.equal(average.train(mode)(x), model.train(False)(x))
    with pytest.raises(ValueError, match="Sequential has no gain: it is not a copy"):
        optimizer.modulation.copy_to(tiny())


def test_an_averaging_learner_evaluates_with_the_gain_of_its_model() -> None:
    def build() -> ExponentialAverage:
        return ExponentialAverage(model := tiny(), NGMSGD(model, lr=0.1), decay=0.0)

    learner, resumed = build(), build()
    for seed in range(4):
        x, y = batch(seed)
        learner.learn(Batch(x, y, torch.zeros(len(y))))
    resumed.load_state_dict(copy.deepcopy(learner.state_dict()))
    for each in (learner, resumed):
        assert each.gain is not None
        assert each.gain > 1.0
        assert torch.equal(each.evaluated.eval()(x), each.model.eval()(x))


def test_a_transformer_evaluates_nested_tensors() -> None:
    """torch computes on nested tensors if the input has a padding mask."""

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.encoder, self.head = nn.TransformerEncoder(layer, 2), nn.Linear(8, 3)

        def forward(self, x: Tensor, padding: Tensor) -> Tensor:
            return self.head(self.encoder(x, src_key_padding_mask=padding))  # type: ignore[no-any-return]

    torch.manual_seed(0)
    model = Classifier()
    with pytest.warns(UserWarning, match="weights without a gain"):
        NGMSGD(model, baseline_gain=1.5)
    x = torch.randn(2, 5, 8)
    padding = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    model.eval()
    with (
        torch.no_grad(),
        warnings.catch_warnings(action="ignore"),
    ):  # nested tensors are a prototype
        nested = model(x, padding)
        model.encoder.enable_nested_tensor = False
        torch.testing.assert_close(nested[~padding], model(x, padding)[~padding])


def test_per_example_gradients_do_not_change_the_gain() -> None:
    model, plain = tiny(), tiny()
    optimizer, undisturbed = NGMSGD(model, lr=0.1), NGMSGD(plain, lr=0.1)
    x, y = batch(0)

    def loss(parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        logits: Tensor = functional_call(model, parameters, (x[None],))
        return F.cross_entropy(logits, y[None])

    for _ in range(3):
        step(plain, undisturbed, x, y)
        parameters = {name: p.detach() for name, p in model.named_parameters()}
        gradients = vmap(grad(loss), (None, 0, 0))(parameters, x, y)
        logits = step(model, optimizer, x, y)
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(gradients[name].mean(dim=0), parameter.grad)
        assert logits.isfinite().all()
    assert torch.equal(optimizer.gain, undisturbed.gain)


def test_a_compiled_model_is_one_graph_with_the_gain() -> None:
    from torch._dynamo.utils import counters

    def run(compiled: bool) -> list[Tensor]:
        model = tiny()
        optimizer = NGMSGD(model, lr=0.1)
        called = torch.compile(model, backend="eager", fullgraph=True) if compiled else model
        outputs = []
        for seed in range(4):
            x, y = batch(seed)
            model.train()
            F.cross_entropy(called(x), y).backward()
            optimizer.step()
            optimizer.zero_grad()
            model.eval()
            with torch.no_grad():
                outputs += [called(x), optimizer.gain]
        return outputs

    counters.clear()
    torch.testing.assert_close(run(compiled=True), run(compiled=False))
    assert counters["stats"]["unique_graphs"] == 2  # one to train and one to evaluate


def test_units_of_a_transposed_convolution_are_its_output_channels() -> None:
    torch.manual_seed(0)
    one = nn.Sequential(nn.Conv1d(2, 4, 3), nn.ConvTranspose1d(4, 1, 3))
    three = nn.Sequential(nn.Conv1d(2, 1, 3), nn.ConvTranspose1d(1, 3, 3))
    optimizer = NGMSGD(one)
    one(torch.randn(2, 2, 5))
    with pytest.warns(UserWarning, match=r"values of shape \(2, 1, 5\), with a single class"):
        optimizer.step()
    optimizer = NGMSGD(three, lr=0.1)
    for _ in range(2):
        three(torch.randn(2, 2, 5)).square().mean().backward()
        optimizer.step()
    assert optimizer.gain > 1.0


def test_lazy_layers_can_be_gained() -> None:
    model = nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.LazyLinear(2))
    optimizer = NGMSGD(model, lr=0.1)
    model(batch(0)[0])  # creates the weights
    for seed in range(3):
        step(model, optimizer, *batch(seed))
    assert optimizer.gain > 1.0
