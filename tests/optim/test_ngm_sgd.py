"""NGM-SGD against the equations of arXiv 2507.14056, computed by hand."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ngm_tune import NGMSGD
from ngm_tune.benchmarks.models import MLP
from ngm_tune.optim import predictive_entropy


def tiny() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


def step(model: nn.Module, optimizer: NGMSGD, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Do one iteration of a training loop; return the logits."""
    model.train()
    logits = model(x)
    optimizer.zero_grad()
    F.cross_entropy(logits, y).backward()
    optimizer.step()
    return logits.detach()


def entropy_of(logits: torch.Tensor) -> float:
    """Compute the mean entropy in nats, element by element."""
    total = 0.0
    for row in logits.double().tolist():
        exps = [math.exp(v - max(row)) for v in row]
        for e in exps:
            p = e / sum(exps)
            total -= p * math.log(p)
    return total / len(logits)


def test_three_steps_by_hand() -> None:
    """W, g and H of a network with one weight per class, computed without autograd."""
    lr, eta, gamma, g0 = 0.5, 0.4, 0.9, 1.0
    model = nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.3], [-0.2]]))
    optimizer = NGMSGD(model, lr=lr, gain_sensitivity=eta, entropy_smoothing=gamma)
    x, y = torch.tensor([[2.0]]), torch.tensor([1])

    w, g = [0.3, -0.2], g0
    for _ in range(3):
        z = [g * wi * 2.0 for wi in w]
        norm = sum(map(math.exp, z))
        pi = [math.exp(zi) / norm for zi in z]
        entropy = -sum(p * math.log(p) for p in pi)
        residual = [pi[0] - 0.0, pi[1] - 1.0]
        w = [wi - lr * g * 2.0 * r for wi, r in zip(w, residual, strict=True)]

        step(model, optimizer, x, y)
        assert optimizer.gain.item() == pytest.approx(g, rel=1e-6)
        assert model.weight.flatten().tolist() == pytest.approx(w, rel=1e-5)
        g = gamma * g + (1 - gamma) * g0 + eta * entropy


def test_weight_gradients_have_a_factor_g_and_bias_gradients_do_not() -> None:
    model, x, y = tiny(), torch.randn(5, 3), torch.tensor([0, 1, 0, 1, 1])
    plain = copy.deepcopy(model)
    g = 1.7
    NGMSGD(model, gain_sensitivity=0.0, baseline_gain=g)

    with torch.no_grad():
        for layer in (plain[0], plain[2]):
            layer.weight.mul_(g)  # W_eff = g W; the bias is not multiplied
    torch.testing.assert_close(model(x), plain(x))
    F.cross_entropy(model(x), y).backward()
    F.cross_entropy(plain(x), y).backward()
    for gained, effective in ((model[0], plain[0]), (model[2], plain[2])):
        torch.testing.assert_close(gained.weight.grad, g * effective.weight.grad)
        torch.testing.assert_close(gained.bias.grad, effective.bias.grad)


def test_without_sensitivity_it_is_torch_sgd_bit_for_bit() -> None:
    ours, theirs = tiny(), tiny()
    ngm = NGMSGD(ours, lr=0.1, gain_sensitivity=0.0, entropy_smoothing=0.7, weight_decay=1e-3)
    sgd = torch.optim.SGD(theirs.parameters(), lr=0.1, weight_decay=1e-3)
    for _ in range(50):
        x, y = torch.randn(8, 3), torch.randint(2, (8,))
        step(ours, ngm, x, y)
        sgd.zero_grad()
        F.cross_entropy(theirs(x), y).backward()
        sgd.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)
    assert ngm.gain.item() == 1.0


def test_steady_state() -> None:
    """At constant entropy H the gain settles at g0 + eta H / (1 - gamma)."""
    eta, gamma, g0 = 0.3, 0.8, 1.2
    model = nn.Linear(2, 5)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    optimizer = NGMSGD(
        model, lr=0.0, gain_sensitivity=eta, entropy_smoothing=gamma, baseline_gain=g0
    )
    for _ in range(200):
        step(model, optimizer, torch.randn(4, 2), torch.randint(5, (4,)))
    expected = g0 + eta * math.log(5) / (1 - gamma)  # uniform predictions: H = ln 5
    assert optimizer.gain.item() == pytest.approx(expected, rel=1e-5)


def test_gain_follows_the_entropy_of_training_passes() -> None:
    model = tiny()
    optimizer = NGMSGD(model, lr=0.1, gain_sensitivity=0.5, entropy_smoothing=0.6)
    g = 1.0
    for _ in range(10):
        logits = step(model, optimizer, torch.randn(16, 3), torch.randint(2, (16,)))
        assert optimizer.gain.item() == pytest.approx(g, rel=1e-5)
        g = 0.6 * g + 0.4 * 1.0 + 0.5 * entropy_of(logits)


def test_gain_bursts_when_a_new_task_appears() -> None:
    torch.manual_seed(0)
    centres = 4.0 * torch.randn(4, 8)

    def batch(classes: int) -> tuple[torch.Tensor, torch.Tensor]:
        y = torch.randint(classes, (32,))
        return centres[y] + torch.randn(32, 8), y

    model = MLP((8, 32, 4), hidden_std=0.2, output_std=0.2)
    optimizer = NGMSGD(model, lr=0.05, gain_sensitivity=0.1, entropy_smoothing=0.9)
    for _ in range(300):
        step(model, optimizer, *batch(2))
    settled = optimizer.gain.item()
    burst = 0.0
    for _ in range(300):
        step(model, optimizer, *batch(4))
        burst = max(burst, optimizer.gain.item())
    assert burst > settled + 0.1
    assert optimizer.gain.item() < settled + 0.5 * (burst - settled)


def test_evaluation_uses_the_gain_and_does_not_change_it() -> None:
    model, x = tiny(), torch.randn(6, 3)
    optimizer = NGMSGD(model, lr=0.1, gain_sensitivity=0.5)
    step(model, optimizer, x, torch.zeros(6, dtype=torch.long))
    step(model, optimizer, x, torch.zeros(6, dtype=torch.long))
    before = optimizer.modulation.state_dict()

    model.eval()
    with torch.no_grad():
        evaluated = model(x)
        model.train()
        assert torch.equal(model(x), evaluated)  # no gradients: not a training pass
    model.eval()
    model(x)  # eval mode: not a training pass
    after = optimizer.modulation.state_dict()
    assert before == after
    assert before["value"] != before["next"]

    plain = tiny()
    plain.load_state_dict(model.state_dict())
    with torch.no_grad():
        for layer in (plain[0], plain[2]):
            layer.weight.mul_(optimizer.gain)
    torch.testing.assert_close(evaluated, plain(x))


def test_evaluation_after_a_step_uses_the_gain_of_that_step() -> None:
    """As in the authors' code, g changes just before the next training pass."""
    model, x = nn.Linear(3, 2, bias=False), torch.randn(4, 3)
    optimizer = NGMSGD(model, lr=0.0, gain_sensitivity=1.0)
    logits = step(model, optimizer, x, torch.zeros(4, dtype=torch.long))
    model.eval()
    assert torch.equal(model(x), logits)
    model.train()
    torch.testing.assert_close(model(x), logits * (1.0 + entropy_of(logits)))


def test_gradient_accumulation_averages_entropy_over_all_examples() -> None:
    x, y = torch.randn(9, 3), torch.randint(2, (9,))
    whole, parts = tiny(), tiny()
    one = NGMSGD(whole, lr=0.1, gain_sensitivity=0.5)
    two = NGMSGD(parts, lr=0.1, gain_sensitivity=0.5)
    F.cross_entropy(whole(x), y).backward()
    for part in (slice(0, 6), slice(6, 9)):
        (F.cross_entropy(parts(x[part]), y[part], reduction="sum") / 9).backward()
    one.step()
    two.step()
    torch.testing.assert_close(
        *(optimizer.modulation.state_dict()["next"] for optimizer in (two, one))
    )


def test_step_takes_a_closure() -> None:
    model, x, y = tiny(), torch.randn(4, 3), torch.randint(2, (4,))
    optimizer = NGMSGD(model, lr=0.1)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        return loss

    assert optimizer.step(closure).item() > 0
    closure()
    assert optimizer.gain.item() > 1.0


def test_step_without_a_training_pass_leaves_the_gain() -> None:
    model = tiny()
    optimizer = NGMSGD(model)
    step(model, optimizer, torch.randn(2, 3), torch.tensor([0, 1]))
    optimizer.step()
    model(torch.randn(2, 3))
    gain = optimizer.gain.item()
    optimizer.step()
    optimizer.step()
    model.eval()(torch.randn(2, 3))
    assert optimizer.gain.item() == gain


def test_parameter_names_and_state_dict_keys_do_not_change() -> None:
    model = tiny()
    parameters, state = [n for n, _ in model.named_parameters()], list(model.state_dict())
    NGMSGD(model)
    assert [n for n, _ in model.named_parameters()] == parameters
    assert list(model.state_dict()) == state
    tiny().load_state_dict(model.state_dict())


def test_resuming_from_state_dicts_is_bit_identical() -> None:
    batches = [(torch.randn(8, 3), torch.randint(2, (8,))) for _ in range(20)]
    model = tiny()
    optimizer = NGMSGD(model, lr=0.1, gain_sensitivity=0.5)
    for x, y in batches[:10]:
        step(model, optimizer, x, y)

    resumed = tiny()
    other = NGMSGD(resumed, lr=0.9, gain_sensitivity=0.0, entropy_smoothing=0.1)
    resumed.load_state_dict(model.state_dict())
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    model.eval()
    resumed.eval()
    assert torch.equal(model(batches[0][0]), resumed(batches[0][0]))
    for x, y in batches[10:]:
        assert torch.equal(step(model, optimizer, x, y), step(resumed, other, x, y))
    assert torch.equal(optimizer.gain, other.gain)
    assert other.param_groups[0]["lr"] == 0.1


def test_state_dict_survives_weights_only_loading(tmp_path: object) -> None:
    model = tiny()
    optimizer = NGMSGD(model, lr=0.1, gain_sensitivity=0.5)
    step(model, optimizer, torch.randn(4, 3), torch.randint(2, (4,)))
    path = f"{tmp_path}/state.pt"
    torch.save(optimizer.state_dict(), path)
    optimizer.load_state_dict(torch.load(path, weights_only=True))
    with pytest.raises(ValueError, match="holds no gain"):
        optimizer.load_state_dict(torch.optim.SGD(model.parameters(), lr=0.1).state_dict())


@pytest.mark.parametrize(
    ("layers", "gained"), [("all", (0, 2)), ("output", (2,)), (["0"], (0,)), (("2", "0"), (0, 2))]
)
def test_layers_selects_the_gained_layers(layers: str | list[str], gained: tuple[int, ...]) -> None:
    model, x = tiny(), torch.randn(4, 3)
    plain = copy.deepcopy(model)
    NGMSGD(model, gain_sensitivity=0.0, baseline_gain=2.0, layers=layers)
    with torch.no_grad():
        for index in gained:
            plain[index].weight.mul_(2.0)
    torch.testing.assert_close(model(x), plain(x))


def test_convolutions_are_gained_too() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 16, 2)
    )
    plain, x = copy.deepcopy(model), torch.randn(2, 1, 4, 4)
    NGMSGD(model, gain_sensitivity=0.0, baseline_gain=1.5)
    with torch.no_grad():
        plain[0].weight.mul_(1.5)
        plain[3].weight.mul_(1.5)
    torch.testing.assert_close(model(x), plain(x))


def test_output_names_the_layer_whose_entropy_counts() -> None:
    class TwoHeads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(3, 2)
            self.auxiliary = nn.Linear(3, 7)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.auxiliary(x)
            return self.head(x)

    model, x = TwoHeads(), torch.randn(4, 3)
    optimizer = NGMSGD(model, lr=0.0, gain_sensitivity=1.0, output="head")
    logits = step(model, optimizer, x, torch.zeros(4, dtype=torch.long))
    upcoming = optimizer.modulation.state_dict()["next"].item()
    assert upcoming == pytest.approx(1.0 + entropy_of(logits), rel=1e-5)


def test_a_bias_free_relu_network_predicts_the_same_at_any_gain() -> None:
    model, x = MLP((6, 10, 10, 3), hidden_std=0.5, output_std=0.5), torch.randn(50, 6)
    plain = model(x)
    NGMSGD(model, gain_sensitivity=0.0, baseline_gain=2.5)
    torch.testing.assert_close(model(x), plain * 2.5**3, rtol=1e-5, atol=1e-5)


def test_a_second_optimizer_replaces_the_gain_of_the_first() -> None:
    model, x = tiny(), torch.randn(4, 3)
    plain = model(x)
    NGMSGD(model, gain_sensitivity=0.0, baseline_gain=3.0)
    second = NGMSGD(model, gain_sensitivity=0.0, baseline_gain=1.0)
    assert torch.equal(model(x), plain)
    second.modulation.remove()
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in model.modules())


def test_learning_rate_schedulers_and_step_hooks_work() -> None:
    model, x, y = tiny(), torch.randn(4, 3), torch.randint(2, (4,))
    torch.optim.SGD(tiny().parameters(), lr=1.0)  # torch patches SGD.step on first use
    optimizer = NGMSGD(model, lr=0.1)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    calls: list[int] = []
    optimizer.register_step_post_hook(lambda *_: calls.append(1))
    step(model, optimizer, x, y)
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.05)
    assert calls == [1]


def test_a_model_with_a_gain_can_be_copied_and_pickled() -> None:
    model, x = tiny(), torch.randn(4, 3)
    NGMSGD(model, gain_sensitivity=0.0, baseline_gain=1.5)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(twin(x), model(x))


def test_backbone_momentum_applies_to_parameters_without_gain() -> None:
    """SGD trains the gained head, and SGD with momentum trains the other parameters."""
    ours, theirs = tiny(), tiny()
    ngm = NGMSGD(ours, lr=0.1, gain_sensitivity=0.0, layers="output", backbone_momentum=0.9)
    sgd = torch.optim.SGD(
        [
            {"params": theirs[2].parameters()},
            {"params": theirs[0].parameters(), "momentum": 0.9},
        ],
        lr=0.1,
    )
    for _ in range(20):
        x, y = torch.randn(8, 3), torch.randint(2, (8,))
        step(ours, ngm, x, y)
        sgd.zero_grad()
        F.cross_entropy(theirs(x), y).backward()
        sgd.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("classes", [2, 10])
def test_normalised_entropy_is_independent_of_the_number_of_classes(classes: int) -> None:
    model = nn.Linear(2, classes)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    optimizer = NGMSGD(model, lr=0.0, gain_sensitivity=0.3, normalise_entropy=True)
    step(model, optimizer, torch.randn(4, 2), torch.zeros(4, dtype=torch.long))
    model(torch.randn(4, 2))
    assert optimizer.gain.item() == pytest.approx(1.3)
    other = NGMSGD(nn.Linear(2, classes))
    other.load_state_dict(optimizer.state_dict())
    assert other.modulation.observer.normalise_entropy is True


def test_model_and_optimizer_copied_together_train_on() -> None:
    model, x, y = tiny(), torch.randn(4, 3), torch.tensor([0, 1, 0, 1])
    optimizer = NGMSGD(model, lr=0.1)
    step(model, optimizer, x, y)
    pickled = pickle.loads(pickle.dumps((model, optimizer)))
    for twin, its_optimizer in (copy.deepcopy((model, optimizer)), pickled):
        for _ in range(3):
            step(twin, its_optimizer, x, y)
        assert its_optimizer.gain.item() > 1.5
        assert its_optimizer.param_groups[0]["params"][0] is next(twin.parameters())
    assert optimizer.gain.item() == 1.0
    for _ in range(3):
        step(model, optimizer, x, y)
    assert torch.equal(optimizer.gain, its_optimizer.gain)


def test_a_named_output_that_is_not_used_causes_a_warning() -> None:
    class Unused(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self[0](input=x)

    model = Unused(nn.Linear(3, 2), nn.Linear(2, 2))
    optimizer = NGMSGD(model, output="1")
    with pytest.warns(UserWarning, match="observed no logits: 1 took no part in the training pass"):
        step(model, optimizer, torch.randn(2, 3), torch.tensor([0, 1]))
    assert optimizer.gain.item() == 1.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": -1.0}, "Invalid learning rate: -1.0"),
        ({"gain_sensitivity": -0.1}, "Invalid gain sensitivity: -0.1"),
        ({"gain_sensitivity": math.nan}, "Invalid gain sensitivity: nan"),
        ({"entropy_smoothing": 1.0}, "Invalid entropy smoothing: 1.0"),
        ({"baseline_gain": 0.0}, "Invalid baseline gain: 0.0"),
        ({"baseline_gain": math.inf}, "Invalid baseline gain: inf"),
        ({"gain_sensitivity": math.inf}, "Invalid gain sensitivity: inf"),
        ({"layers": "fc1"}, "Invalid layers: 'fc1'"),
        ({"layers": ["1"]}, "'1', which is not a linear or convolutional layer.*'0', '2'"),
        ({"layers": []}, "empty list"),
        ({"output": "nope"}, "output names 'nope'"),
        ({"backbone_momentum": 1.0}, "Invalid backbone momentum: 1.0"),
    ],
)
def test_invalid_settings_raise_with_the_value(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NGMSGD(tiny(), **settings)  # type: ignore[arg-type]


def test_entropy_is_in_nats_and_zero_for_certain_predictions() -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0], [1000.0, 0.0, 0.0]])
    assert predictive_entropy(logits).tolist() == pytest.approx([math.log(3), 0.0])
    assert predictive_entropy(logits.bfloat16()).dtype == torch.float32
    assert predictive_entropy(torch.zeros(2, 4, 3, 3), dim=1).shape == (2, 3, 3)
