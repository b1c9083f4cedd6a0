"""Learners agree with their papers on cases that can be computed by hand."""

from __future__ import annotations

import math
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD

from ngm_tune.learners import (
    Batch,
    ElasticWeightConsolidation,
    ExperienceReplay,
    ExponentialAverage,
    GradientProjection,
    Learner,
    MomentumReset,
    SharpnessAware,
    Step,
    SynapticIntelligence,
    WarmUp,
)
from ngm_tune.learners.projection import project
from ngm_tune.learners.regularisation import fisher_diagonal


class TwoLogits(nn.Module):
    """Logits (w x, 0) for a scalar x: logistic regression with one weight."""

    def __init__(self, weight: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([weight]))

    def forward(self, x: Tensor) -> Tensor:
        first = x * self.weight
        return torch.cat((first, torch.zeros_like(first)), dim=1)


def batch(x: float, label: int, task: int = 0) -> Batch:
    return Batch(torch.tensor([[x]]), torch.tensor([label]), torch.tensor([task]))


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def weight(learner: Learner) -> float:
    return float(learner.model.weight.detach())


def sgd(model: nn.Module, lr: float = 0.5, momentum: float = 0.0) -> SGD:
    return SGD(model.parameters(), lr=lr, momentum=momentum)


def test_sam_steps_along_the_gradient_at_the_worst_point_of_the_ball() -> None:
    """Foret et al., eq. 2 and 3: the worst point within rho is w + rho grad/|grad|."""
    learner = SharpnessAware(TwoLogits(0.3), lr=0.5, radius=0.2, momentum=0.0)
    step = learner.learn(batch(2.0, label=0))
    # loss = -log sigmoid(2 w), so its gradient is -2 sigmoid(-2 w), which is negative: the worst
    # point is w - rho.
    expected = 0.3 + 0.5 * 2 * sigmoid(-2 * (0.3 - 0.2))
    assert weight(learner) == pytest.approx(expected, rel=1e-5)
    assert float(step.loss) == pytest.approx(-math.log(sigmoid(0.6)), rel=1e-5)


def test_sam_measures_the_ball_over_all_parameters_together() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2))
    torch.manual_seed(0)
    data = Batch(torch.randn(4, 2), torch.arange(4) % 2, torch.zeros(4, dtype=torch.int64))
    worst = deepcopy(model)

    def gradients(network: nn.Module) -> list[Tensor]:
        loss = nn.functional.cross_entropy(network(data.inputs), data.labels)
        return list(torch.autograd.grad(loss, list(network.parameters())))

    uphill = gradients(model)
    norm = sum(float(g.square().sum()) for g in uphill) ** 0.5
    with torch.no_grad():
        for parameter, gradient in zip(worst.parameters(), uphill, strict=True):
            parameter.add_(0.2 * gradient / norm)
    expected = [
        p.detach() - 0.5 * g for p, g in zip(model.parameters(), gradients(worst), strict=True)
    ]
    SharpnessAware(model, lr=0.5, radius=0.2, momentum=0.0).learn(data)
    for parameter, value in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.detach(), value)


def test_sam_updates_running_statistics_in_the_first_pass_only() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    data = Batch(torch.randn(8, 3), torch.randint(2, (8,)), torch.zeros(8, dtype=torch.int64))
    with torch.no_grad():
        mean = model[0](data.inputs).mean(dim=0)
    SharpnessAware(model, lr=0.1, radius=0.5).learn(data)
    torch.testing.assert_close(model[1].running_mean, 0.1 * mean)


def test_averaged_weights_are_evaluated_and_not_trained() -> None:
    learner = ExponentialAverage(model := TwoLogits(0.0), sgd(model), decay=0.75)
    seen = []
    for _ in range(3):
        learner.learn(batch(1.0, label=0))
        seen.append(weight(learner))
    average = seen[0]
    for value in seen[1:]:
        average = 0.75 * average + 0.25 * value
    (evaluated,) = learner.evaluated.parameters()
    assert float(evaluated.detach()) == pytest.approx(average, rel=1e-6)
    plain = Learner(other := TwoLogits(0.0), sgd(other))
    for _ in range(3):
        plain.learn(batch(1.0, label=0))
    assert weight(plain) == seen[-1]


def test_averaging_includes_running_statistics() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    learner = ExponentialAverage(model, sgd(model), decay=0.5)
    for seed in range(3):
        torch.manual_seed(seed)
        learner.learn(Batch(torch.randn(8, 3) + 5, torch.randint(2, (8,)), torch.zeros(8)))
    average = learner.evaluated.module[1].running_mean
    assert (average != 0).any()
    assert not torch.equal(average, model[1].running_mean)


def test_projection_by_hand() -> None:
    """Lopez-Paz and Ranzato, eq. 11, in the plane, for one and for two constraints."""
    ahead = torch.tensor([1.0, 0.0])
    assert torch.equal(
        project(ahead, torch.tensor([[1.0, 1.0]])), ahead
    )  # no constraint is violated
    # The constraint (-1, 1) is violated: the component -1/2 (-1, 1) is removed.
    torch.testing.assert_close(
        project(ahead, torch.tensor([[-1.0, 1.0]])), torch.tensor([0.5, 0.5])
    )
    # Two constraints that allow the first quadrant only: the nearest point is 0.
    torch.testing.assert_close(
        project(torch.tensor([0.0, -1.0]), torch.tensor([[1.0, 0.0], [0.0, 2.0]])),
        torch.tensor([0.0, 0.0]),
    )


def test_projection_meets_every_constraint_and_is_nearest() -> None:
    torch.manual_seed(0)
    for _ in range(20):
        gradient, constraints = torch.randn(30), torch.randn(4, 30)
        projected = project(gradient, constraints)
        products = constraints @ projected
        assert products.min() > -1e-4
        # Karush-Kuhn-Tucker: the correction is a non-negative combination of active constraints.
        added = projected - gradient
        weights = torch.linalg.lstsq(constraints.T, added.unsqueeze(1)).solution.squeeze(1)
        assert weights.min() > -1e-4
        assert (weights * products).abs().max() < 1e-4


def test_projection_accepts_linearly_dependent_constraints() -> None:
    gradient = torch.tensor([-1.0, 0.5, 0.0])
    twice = torch.tensor([[1.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(project(gradient, twice), torch.tensor([0.0, 0.5, 0.0]))


def test_gradient_projection_does_not_raise_the_loss_of_an_old_task() -> None:
    old, new = batch(1.0, label=0, task=0), batch(3.0, label=1, task=1)
    both = Batch(*map(torch.cat, zip(old, new, strict=True)))
    learner = GradientProjection(model := TwoLogits(0.0), sgd(model))
    plain = Learner(other := TwoLogits(0.0), sgd(other))
    for task, taught in ((0, old), (1, both)):
        learner.begin_task(task)
        learner.learn(taught)
        plain.learn(taught)
    assert weight(plain) < 0.25  # the larger gradient of the new task dominates
    assert weight(learner) == pytest.approx(0.25)  # the value after the first step, 0.5 sigmoid(0)


def test_every_old_task_is_a_constraint() -> None:
    """Joint + GEM: the gradient of the whole batch opposes the gradients of two old tasks."""
    torch.manual_seed(0)
    model = nn.Linear(2, 2, bias=False)
    inputs = torch.tensor([[2.0, 1.0], [1.0, -2.0], [4.0, -1.0]])
    both = Batch(inputs, torch.tensor([0, 0, 1]), torch.arange(3))

    def gradient(rows: slice) -> Tensor:
        loss = nn.functional.cross_entropy(model(inputs[rows]), both.labels[rows])
        (weight_gradient,) = torch.autograd.grad(loss, [model.weight])
        return weight_gradient.flatten()

    old = torch.stack([gradient(slice(0, 1)), gradient(slice(1, 2))])
    joint = gradient(slice(0, 3))
    assert (old @ joint < 0).all()  # both constraints are violated
    wanted = model.weight.detach().flatten() - 0.5 * project(joint, old)
    learner = GradientProjection(model, sgd(model))
    learner.begin_task(2)
    learner.learn(both)
    torch.testing.assert_close(model.weight.detach().flatten(), wanted)


def test_warm_up_restarts_at_every_transition_but_not_in_the_first_task() -> None:
    learner = WarmUp(model := TwoLogits(), sgd(model, lr=0.4), iterations=4)
    rates = []
    for task in range(3):
        learner.begin_task(task)
        for _ in range(6):
            rates.append(learner.optimizer.param_groups[0]["lr"])
            learner.learn(batch(1.0, label=0))
    warming = [0.1, 0.2, 0.3, 0.4, 0.4, 0.4]
    assert rates == pytest.approx([0.4] * 6 + warming + warming)


def test_momentum_is_reset_at_a_transition() -> None:
    learner = MomentumReset(model := TwoLogits(), sgd(model, momentum=0.9))
    for _ in range(3):
        learner.learn(batch(1.0, label=0))
    learner.begin_task(1)
    before = weight(learner)
    learner.learn(batch(1.0, label=1))
    assert weight(learner) == pytest.approx(before - 0.5 * sigmoid(before), rel=1e-5)


def test_fisher_information_of_logistic_regression() -> None:
    """The Fisher information is p (1 - p) x² for each example, independent of its label."""
    torch.manual_seed(0)
    model = TwoLogits(0.7)
    inputs = torch.tensor([[1.0], [2.0]]).repeat(2000, 1)
    estimate = float(fisher_diagonal(model, inputs)["weight"])
    expected = sum(sigmoid(0.7 * x) * sigmoid(-0.7 * x) * x * x for x in (1.0, 2.0)) / 2
    assert estimate == pytest.approx(expected, rel=0.05)


def test_ewc_penalty_is_a_sum_over_tasks() -> None:
    """Kirkpatrick et al., eq. 3, summed over two tasks."""
    learner = ElasticWeightConsolidation(model := TwoLogits(), sgd(model), strength=3.0)
    assert learner.penalty() is None
    expected = []
    for task, value in enumerate((0.5, -0.25)):
        with torch.no_grad():
            model.weight.fill_(value)
        torch.manual_seed(task)
        fisher = float(fisher_diagonal(model, torch.ones(1000, 1))["weight"])
        torch.manual_seed(task)
        learner.end_task(task, lambda n: Batch(torch.ones(n, 1), torch.zeros(n), torch.zeros(n)))
        expected.append((fisher, value))
    with torch.no_grad():
        model.weight.fill_(1.0)
    penalty = learner.penalty()
    assert penalty is not None
    (gradient,) = torch.autograd.grad(penalty, [model.weight])
    by_hand = sum(3.0 * fisher * (1.0 - value) for fisher, value in expected)
    assert float(gradient) == pytest.approx(by_hand, rel=1e-5)


def test_si_importance_is_the_path_integral_of_the_loss() -> None:
    """Zenke et al., eq. 3 to 5, over one task of two steps."""
    learner = SynapticIntelligence(model := TwoLogits(), sgd(model), strength=2.0, damping=0.1)
    path, w = 0.0, 0.0
    for _ in range(2):
        gradient = -sigmoid(-w)
        step = -0.5 * gradient
        learner.learn(batch(1.0, label=0))
        path -= gradient * step
        w += step
    learner.end_task(0, lambda n: batch(1.0, 0))
    omega = path / (w**2 + 0.1)
    assert weight(learner) == pytest.approx(w, rel=1e-6)
    # The penalty of the next task is zero at the reference and grows with the distance.
    with torch.no_grad():
        model.weight.add_(0.3)
    penalty = learner.penalty()
    assert penalty is not None
    assert penalty.item() == pytest.approx(2.0 * omega * 0.3**2, rel=1e-4)
    before = weight(learner)
    learner.learn(batch(1.0, label=0))
    gradient = -sigmoid(-before) + 2 * 2.0 * omega * 0.3
    assert weight(learner) == pytest.approx(before - 0.5 * gradient, rel=1e-4)


@pytest.mark.parametrize("pushed", [0.0, 1.0])
def test_si_importance_excludes_the_penalty_and_does_not_decrease(pushed: float) -> None:
    """In a second task, the penalty moves a displaced weight back and raises the loss."""
    learner = SynapticIntelligence(model := TwoLogits(), sgd(model), strength=2.0, damping=0.1)
    learner.learn(batch(1.0, label=0))
    learner.end_task(0, lambda n: batch(1.0, 0))
    (first,) = learner.state_dict()["importance"]
    reference = weight(learner)
    with torch.no_grad():
        model.weight.add_(pushed)
    before = weight(learner)
    learner.learn(batch(1.0, label=0))
    of_the_loss = -sigmoid(-before)
    path = -of_the_loss * (weight(learner) - before)
    assert (path < 0.0) == (pushed > 0.0)
    learner.end_task(1, lambda n: batch(1.0, 0))
    gained = max(0.0, path / ((weight(learner) - reference) ** 2 + 0.1))
    (both,) = learner.state_dict()["importance"]
    assert float(both - first) == pytest.approx(gained, abs=1e-6)


def test_replay_adds_an_equal_number_of_earlier_examples() -> None:
    seen: list[Tensor] = []

    class Watched(TwoLogits):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.detach().clone())
            return super().forward(x)

    torch.manual_seed(0)
    learner = ExperienceReplay(model := Watched(), sgd(model), buffer_size=2)
    for value in (1.0, 2.0, 3.0, 4.0, 5.0):
        learner.learn(batch(value, label=0))
    assert [len(x) for x in seen] == [1, 2, 2, 2, 2]
    assert [float(x[0]) for x in seen] == [1, 2, 3, 4, 5]
    assert all(float(x[1]) in range(1, now) for now, x in enumerate(seen[1:], start=2))
    assert learner.state_dict()["buffer"]["kept"][0].shape == (2, 1)


def test_replay_stores_examples_of_the_current_task_only() -> None:
    torch.manual_seed(0)
    learner = ExperienceReplay(model := TwoLogits(), sgd(model), buffer_size=10)
    learner.begin_task(1)
    both = Batch(*map(torch.cat, zip(batch(1.0, 0, task=0), batch(2.0, 0, task=1), strict=True)))
    learner.learn(both)
    state = learner.state_dict()["buffer"]
    assert state["offered"] == 1
    assert state["kept"][0][0].tolist() == [2.0]


def test_a_step_reports_the_loss_before_the_update() -> None:
    learner = Learner(model := TwoLogits(0.3), sgd(model))
    step: Step = learner.learn(batch(2.0, label=0))
    torch.testing.assert_close(step.logits, torch.tensor([[0.6, 0.0]]))
    assert float(step.loss) == pytest.approx(-math.log(sigmoid(0.6)))
    assert not step.loss.requires_grad
    assert not step.logits.requires_grad
