"""The entropy is that of what the model predicts, in the code of others."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from ngm_tune import NGMSGD
from ngm_tune.optim import predictive_entropy
from ngm_tune.optim.predictions import class_dimension, find_logits

from .test_ngm_sgd import step, tiny

X, Y = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 2


class Network(nn.Module):
    """A body and a head, and what is made of the logits."""

    def __init__(self, finish: Callable[[Tensor], Any] = lambda logits: logits) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(4, 5)  # registered before the body that it follows
        self.body = nn.Linear(3, 4)
        self.auxiliary = nn.Linear(4, 9)
        self.finish = finish

    def features(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x))

    def forward(self, x: Tensor) -> Any:
        features = self.features(x)
        self.auxiliary(features)
        return self.finish(self.head(features))


def observed(model: nn.Module, call: Callable[[], Any], **settings: Any) -> float:
    """Return the entropy that the gain observes in a training pass."""
    optimizer = NGMSGD(model, lr=0.0, gain_sensitivity=1.0, **settings)
    call()
    optimizer.step()
    return float(optimizer.modulation.state_dict()["next"]) - 1.0


def expected(logits: Tensor) -> float:
    return float(predictive_entropy(logits.detach()).mean())


def masked(logits: Tensor) -> Tensor:
    """Mask the logits of classes that were not seen yet."""
    return logits.masked_fill(torch.arange(logits.shape[-1]) >= 2, -torch.inf)


class Output(NamedTuple):
    loss: Tensor
    logits: Tensor


@pytest.mark.parametrize(
    "finish",
    [
        lambda logits: logits,
        masked,
        lambda logits: {"loss": logits.sum(), "logits": logits},
        lambda logits: Output(logits.sum(), logits),
        lambda logits: (logits, logits[:, :2]),
        lambda logits: (logits.sum(), logits),  # a loss, then logits
        lambda logits: [logits.half()],
    ],
)
def test_the_logits_are_what_the_model_returns(finish: Callable[[Tensor], Any]) -> None:
    model = Network(finish)
    logits = find_logits(model(X))
    assert logits is not None
    assert observed(model, lambda: model(X)) == pytest.approx(expected(logits), rel=1e-3)


def test_parts_that_are_called_without_the_model_end_with_the_logits() -> None:
    class Parts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.body = nn.Sequential(nn.Linear(3, 4), nn.Tanh())
            self.head = nn.Sequential(nn.Linear(4, 5), nn.LogSoftmax(dim=-1))

    model = Parts()
    logits = model.head(model.body(X))

    def accumulate() -> None:
        for part in (X[:2], X[2:]):
            model.head(model.body(part))

    assert observed(model, accumulate) == pytest.approx(expected(logits), rel=1e-4)
    optimizer = NGMSGD(model, lr=0.1)
    gains = []
    for _ in range(3):
        F.nll_loss(model.head(model.body(X)), Y).backward()
        optimizer.step()
        gains.append(float(optimizer.gain))
    assert gains[0] < gains[1] < gains[2]  # the whole pass has the new gain


def test_any_module_or_several_can_be_named() -> None:
    model = Network()
    logits = model(X)
    features = model.features(X)
    auxiliary = model.auxiliary(features)
    both = torch.cat([predictive_entropy(logits), predictive_entropy(auxiliary)]).mean()
    for output, entropy in (
        ("auxiliary", expected(auxiliary)),
        (["head", "auxiliary"], float(both.detach())),
    ):
        assert observed(model, lambda: model(X), output=output) == pytest.approx(entropy, rel=1e-4)
    with pytest.raises(ValueError, match="output names 'neck', which is not a module of Network"):
        NGMSGD(model, output="neck")


def test_low_rank_adapters_observe_the_sum() -> None:
    class LowRank(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.base = nn.Linear(3, 5)
            self.lora_A, self.lora_B = nn.Linear(3, 2, bias=False), nn.Linear(2, 5, bias=False)
            nn.init.zeros_(self.lora_B.weight)
            self.base.requires_grad_(False)

        def forward(self, x: Tensor) -> Tensor:
            return self.base(x) + self.lora_B(self.lora_A(x))  # type: ignore[no-any-return]

    model = LowRank()
    logits = model(X)
    assert observed(model, lambda: model(X)) == pytest.approx(expected(logits), rel=1e-4)


def test_the_training_loop_can_hand_over_its_predictions() -> None:
    model = Network()
    logits = model(X).detach()
    seen = masked(logits)
    keep = torch.arange(len(X)) < 4
    for change, entropy in (
        (lambda o: o.observe(seen), expected(seen)),
        (lambda o: o.observe(logits, mask=keep), expected(logits[keep])),
        (lambda o: o.observe(logits.T, dim=0), expected(logits)),
        (lambda o: o.observe_entropy(torch.tensor([0.25, 0.75])), 0.5),
        (lambda o: (o.observe(logits[:2]), o.observe(logits[2:])), expected(logits)),
    ):
        optimizer = NGMSGD(model, lr=0.0, gain_sensitivity=1.0)
        model(X)
        change(optimizer)
        optimizer.step()
        upcoming = float(optimizer.modulation.state_dict()["next"])
        assert upcoming == pytest.approx(1.0 + entropy, rel=1e-4)
        model(X)
        optimizer.step()  # without a call, the gain follows the model again
        assert float(optimizer.modulation.state_dict()["next"]) != pytest.approx(upcoming)
    with pytest.raises(
        ValueError, match=r"mask has shape \(5,\); the predictions have shape \(6,\)"
    ):
        optimizer.observe(logits, mask=torch.ones(5))


@pytest.mark.parametrize(
    ("shape", "layers", "dimension"),
    [
        ((4, 10), [nn.Linear(3, 10)], -1),
        ((4, 7, 10), [nn.Linear(3, 10)], -1),
        ((4, 10, 7), [nn.Conv1d(3, 10, 1)], -2),
        ((4, 10, 8, 8), [nn.Conv2d(3, 10, 1)], -3),
        ((10, 8, 8), [nn.Conv2d(3, 10, 1)], -3),
        ((4, 10), [nn.Conv2d(3, 10, 1)], -1),  # pooled
        ((4, 10, 8, 8), [nn.Linear(3, 10)], -3),  # the layer does not compute the logits
        ((4, 10, 8, 8), [nn.Linear(3, 2), nn.Conv2d(3, 10, 1)], -3),
        ((10,), [nn.Linear(3, 10)], -1),
    ],
)
def test_the_class_dimension_follows_from_the_layers(
    shape: tuple[int, ...], layers: list[Any], dimension: int
) -> None:
    assert class_dimension(torch.zeros(shape), layers) == dimension


def test_a_model_without_logits_causes_a_warning_that_says_so() -> None:
    model = Network(lambda logits: {"prediction": logits})
    optimizer = NGMSGD(model)
    model(X)
    with pytest.warns(UserWarning, match="observed no logits: the model returned a dict without"):
        optimizer.step()
    assert optimizer.gain.item() == 1.0


def test_a_replaced_head_is_named_and_can_be_attached() -> None:
    model = Network()
    optimizer = NGMSGD(model, lr=0.1, gain_sensitivity=0.5, backbone_momentum=0.9, layers="all")
    for _ in range(3):
        step(model, optimizer, X, Y)
    gain = float(optimizer.gain)
    model.head = nn.Linear(4, 7)
    with pytest.warns(UserWarning, match="head was replaced and is no longer part of the model"):
        step(model, optimizer, X, Y)
    optimizer.reattach()
    assert float(optimizer.gain) > gain
    before = model.head.weight.detach().clone()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            step(model, optimizer, X, Y)
    assert not torch.equal(model.head.weight, before)
    assert model.head in optimizer.modulation.layers
    optimizer.load_state_dict(optimizer.state_dict())


def test_parameters_that_are_unfrozen_later_are_trained() -> None:
    model = tiny()
    model[0].requires_grad_(False)
    optimizer = NGMSGD(model, lr=0.1)
    before = model[0].weight.clone()
    step(model, optimizer, X, Y)
    assert torch.equal(model[0].weight, before)
    model[0].requires_grad_(True)
    step(model, optimizer, X, Y)
    assert not torch.equal(model[0].weight, before)


def test_a_layer_with_a_forward_of_its_own_is_refused() -> None:
    class Activated(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).relu()

    model = nn.Sequential(Activated(3, 4), nn.Linear(4, 2))
    with pytest.raises(ValueError, match=r"the forward of '0' \(Activated\) is not that of Linear"):
        NGMSGD(model)
    assert len(NGMSGD(model, layers=["1"]).modulation.layers) == 1


def test_recurrent_networks_are_said_to_have_no_gain() -> None:
    model = nn.ModuleDict({"lstm": nn.LSTM(3, 4), "head": nn.Linear(4, 2)})
    with pytest.warns(UserWarning, match=r"weights without a gain: lstm \(LSTM\); the gain acts"):
        NGMSGD(model)


@pytest.mark.parametrize("whole", [False, True])
def test_reentrant_checkpoints_have_one_gain_for_loss_and_gradient(whole: bool) -> None:
    def train(checkpointed: bool) -> tuple[list[Tensor], float]:
        model = tiny()
        optimizer = NGMSGD(model, lr=0.1)
        losses = []
        x = X.clone().requires_grad_()
        for _ in range(4):
            if not checkpointed:
                logits = model(x)
            elif whole:
                logits = checkpoint(model, x, use_reentrant=True)
            else:
                logits = checkpoint_sequential(model, 2, x, use_reentrant=True)
            loss = F.cross_entropy(logits, Y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses += [loss.detach(), *(p.grad.clone() for p in model.parameters())]
        return losses, float(optimizer.gain)

    torch.testing.assert_close(train(True), train(False), rtol=0, atol=0)


def test_a_model_that_was_compiled_before_the_optimizer_has_the_gain() -> None:
    model = tiny().eval()
    compiled = torch.compile(model, backend="eager")
    with torch.no_grad():
        compiled(X)
        NGMSGD(model, gain_sensitivity=0.0, baseline_gain=2.0)
        torch.testing.assert_close(compiled(X), model(X))


def test_step_and_load_work_in_inference_mode() -> None:
    model = tiny()
    optimizer = NGMSGD(model, lr=0.0)
    for _ in range(2):
        F.cross_entropy(model(X), Y).backward()
        with torch.inference_mode():
            optimizer.modulation.advance()
            optimizer.modulation.load_state_dict(optimizer.modulation.state_dict())
    model(X).sum().backward()
    assert optimizer.gain > 1.0


def test_a_pass_that_raises_does_not_confuse_the_next() -> None:
    model = tiny()
    optimizer, undisturbed = NGMSGD(model, lr=0.1), NGMSGD(plain := tiny(), lr=0.1)
    for _ in range(3):
        with pytest.raises(RuntimeError):
            model(torch.zeros(2, 99))
        step(model, optimizer, X, Y)
        step(plain, undisturbed, X, Y)
    assert torch.equal(optimizer.gain, undisturbed.gain)


def test_the_model_counts_and_not_its_parts_if_both_are_called() -> None:
    model = Network()
    logits = model(X)

    def call() -> None:
        model(X)
        model.features(X)
        model.body(X)

    assert observed(model, call) == pytest.approx(expected(logits), rel=1e-4)


def test_a_part_with_one_value_is_no_prediction() -> None:
    torch.manual_seed(0)
    actor_critic = nn.ModuleDict(
        {"body": nn.Linear(3, 4), "policy": nn.Linear(4, 5), "value": nn.Linear(4, 1)}
    )

    def call() -> Tensor:
        features = actor_critic["body"](X)
        logits: Tensor = actor_critic["policy"](features)
        actor_critic["value"](features)
        return logits

    logits = call()
    assert observed(actor_critic, call) == pytest.approx(expected(logits), rel=1e-4)


def test_a_head_without_a_layer_of_torch_is_observed() -> None:
    class Cosine(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.prototypes = nn.Parameter(torch.randn(5, 4))

        def forward(self, x: Tensor) -> Tensor:
            return 10.0 * F.normalize(x) @ F.normalize(self.prototypes).T

    torch.manual_seed(0)
    model = nn.ModuleDict({"body": nn.Linear(3, 4), "head": Cosine()})

    def call() -> Tensor:
        logits: Tensor = model["head"](model["body"](X))
        return logits

    logits = call()
    assert observed(model, call) == pytest.approx(expected(logits), rel=1e-4)


def test_a_model_that_calls_itself_is_observed_once() -> None:
    class Recursive(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.layer = nn.Linear(3, 3)

        def forward(self, x: Tensor, depth: int = 2) -> Tensor:
            return 5.0 * self.layer(x) if not depth else self(torch.tanh(self.layer(x)), depth - 1)

    model = Recursive()
    logits = model(X)
    assert observed(model, lambda: model(X)) == pytest.approx(expected(logits), rel=1e-4)


@pytest.mark.parametrize(
    ("finish", "axis"),
    [
        (lambda y: (y.sum(dim=1), y), -1),  # losses of the examples, then logits
        (lambda y: y.unsqueeze(1).expand(-1, 7, -1).transpose(1, 2), 1),  # classes before time
    ],
)
def test_logits_are_not_taken_for_something_else(
    finish: Callable[[Tensor], Any], axis: int
) -> None:
    model = Network(finish)
    logits = find_logits(model(X))
    assert logits is not None
    entropy = float(predictive_entropy(logits.detach(), axis).mean())
    assert observed(model, lambda: model(X)) == pytest.approx(entropy, rel=1e-4)


def test_maps_that_are_flattened_keep_their_classes() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 2), nn.Flatten(2))
    x = torch.randn(6, 1, 5, 5)
    entropy = float(predictive_entropy(model(x).detach(), 1).mean())
    assert observed(model, lambda: model(x)) == pytest.approx(entropy, rel=1e-4)


def test_one_value_per_example_has_no_entropy() -> None:
    model = nn.Sequential(nn.Linear(3, 1), nn.Flatten(0))
    optimizer = NGMSGD(model)
    model(X)
    with pytest.warns(UserWarning, match=r"values of shape \(6,\), with a single class"):
        optimizer.step()


def test_a_wrapped_module_is_still_part_of_the_model() -> None:
    model = tiny()
    optimizer = NGMSGD(model, lr=0.1)
    model[0] = nn.Sequential(model[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step(model, optimizer, X, Y)


def test_accumulation_does_not_recompile() -> None:
    from torch._dynamo.utils import counters

    counters.clear()
    model = tiny()
    optimizer = NGMSGD(model, lr=0.1)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    for _ in range(2):
        for _ in range(12):
            F.cross_entropy(compiled(X), Y).backward()
        optimizer.step()
    assert counters["stats"]["unique_graphs"] <= 3


def test_a_reattached_optimizer_has_the_state_of_one_for_the_grown_model() -> None:
    model = Network()
    optimizer = NGMSGD(model, lr=0.1, layers=["head"], output="head", backbone_momentum=0.9)
    step(model, optimizer, X, Y)
    optimizer.param_groups[1]["lr"] = 0.01
    model.head, model.body = nn.Linear(4, 7), nn.Linear(3, 4)
    optimizer.reattach()
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.01]
    assert [group["momentum"] for group in optimizer.param_groups] == [0.0, 0.9]
    step(model, optimizer, X, Y)
    grown = Network()
    grown.head = nn.Linear(4, 7)
    other = NGMSGD(grown, lr=0.5, layers=["head"], output="head", backbone_momentum=0.9)
    other.load_state_dict(optimizer.state_dict())
    grown.load_state_dict(model.state_dict())
    torch.testing.assert_close(
        step(grown, other, X, Y), step(model, optimizer, X, Y), rtol=0, atol=0
    )
