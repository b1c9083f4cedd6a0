"""Optimizers of torch and pytorch-optimizer by name."""

from __future__ import annotations

import pickle
import re
from inspect import getsource, isclass, signature
from pathlib import Path
from typing import Any

import pytest
import pytorch_optimizer
import torch
import torch.nn.functional as F
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from torch import nn

from ngm_tune.errors import UserError
from ngm_tune.learners import Batch, Learner
from ngm_tune.methods import get_method, named
from ngm_tune.methods.named import LIBRARIES, with_ranges
from ngm_tune.methods.named_checks import explain_unusable
from ngm_tune.methods.named_spaces import NAMED_SPACES
from ngm_tune.results.ids import TrialId
from ngm_tune.study.plan import StudyPlan
from ngm_tune.study.warnings import study_warnings
from ngm_tune.testing import MethodTestCase
from tests.helpers.commands import in_process
from tests.helpers.searches import a_built_study, a_study

NAMES = list(NAMED_SPACES)
REQUIRED = {"BSAM": {"num_data": 100}, "Ranger21": {"num_iterations": 100}}
VARIANTS = {"foreach", "use_gc", "cautious", "adanorm", "adanorm_r", "adam_debias", "stable_adamw"}
SCHEDULED = {"initial_lr", "max_lr"}
"""Keys of parameter groups by which pytorch-optimizer has variants of optimizers, and those that
learning-rate schedulers set."""


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Unflatten(1, (1, 8)),
        nn.Conv1d(1, 4, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(24, 8),
        nn.ReLU(),
        nn.Linear(8, 4),
    )


def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    return Batch(torch.randn(16, 8, generator=generator), torch.arange(16) % 4, torch.zeros(16))


@pytest.mark.parametrize("name", NAMES)
def test_each_has_sources_and_the_defaults_of_its_signature(name: str) -> None:
    method = get_method(name)
    known = NAMED_SPACES[name]
    assert known.paper in method.source
    assert known.ranges in method.source
    assert method.default is not None
    parameters = signature(method.build).parameters
    assert dict(method.default) == {k: parameters[k].default for k in method.space}
    for coordinate, value in method.default.items():
        space = method.space[coordinate]
        choices = getattr(space, "choices", ())
        assert value in choices or space.low <= value <= space.high  # type: ignore[attr-defined]
    assert name.partition(":")[2] in method.default_source


@pytest.mark.parametrize("name", NAMES)
def test_each_trains_every_parameter_of_a_network_with_biases(name: str) -> None:
    method, model = get_method(name), network()
    before = [p.detach().clone() for p in model.parameters()]
    built = method.build(model, **method.default)
    learner = built if isinstance(built, Learner) else Learner(model, built)
    for _ in range(6):
        learner.learn(batch())
    assert not any(map(torch.equal, before, model.parameters()))


def test_a_name_builds_the_optimizer_of_the_library() -> None:
    by_name, by_hand = network(), network()
    built = get_method("pytorch_optimizer:Lion").build(by_name, lr=1e-3, beta1=0.8)
    from pytorch_optimizer import Lion

    optimizer = Lion(by_hand.parameters(), lr=1e-3, betas=(0.8, 0.99))
    for _ in range(3):
        Learner(by_name, built).learn(batch())
        optimizer.zero_grad()
        F.cross_entropy(by_hand(batch().inputs), batch().labels).backward()
        optimizer.step()
    assert all(map(torch.equal, by_name.parameters(), by_hand.parameters()))


def test_l_bfgs_evaluates_its_closure() -> None:
    by_name, by_hand = network(), network()
    built = get_method("torch:LBFGS").build(by_name, lr=0.5, max_iter=4)
    assert isinstance(built, Learner)
    optimizer = torch.optim.LBFGS(by_hand.parameters(), lr=0.5, max_iter=4)
    first = float(F.cross_entropy(by_hand(batch().inputs), batch().labels))

    def closure() -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(by_hand(batch().inputs), batch().labels)
        loss.backward()
        return loss

    step = built.learn(batch())
    optimizer.step(closure)
    assert float(step.loss) == first
    assert all(map(torch.equal, by_name.parameters(), by_hand.parameters()))


def test_lookahead_is_evaluated_at_its_slow_weights() -> None:
    model = network()
    initial = [p.detach().clone() for p in model.parameters()]
    learner = get_method("pytorch_optimizer:Lookahead").build(model, lr=0.1, k=3, alpha=0.5)
    for _ in range(2):
        learner.learn(batch())
    assert all(map(torch.equal, learner.evaluated.parameters(), initial))
    assert not any(map(torch.equal, model.parameters(), initial))
    learner.learn(batch())
    assert all(map(torch.equal, learner.evaluated.parameters(), model.parameters()))
    assert not any(map(torch.equal, model.parameters(), initial))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("torch:Muon", {"4.weight"}), ("pytorch_optimizer:Muon", {"1.weight", "4.weight"})],
)
def test_muon_updates_hidden_matrices_only(name: str, expected: set[str]) -> None:
    """Without a learning rate for AdamW, the biases and the output layer stay."""
    model = network()
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    built = get_method(name).build(model, lr=0.02, adamw_lr=0.0)
    learner = built if isinstance(built, Learner) else Learner(model, built)
    learner.learn(batch())
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert moved == expected


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torch:Adagard", r"torch\.optim has no optimizer 'Adagard'; it has .*Adagrad"),
        ("jax:Adam", "before the colon must be one of torch, pytorch_optimizer"),
        ("torch:Optimizer", "has no optimizer 'Optimizer'"),
        ("pytorch_optimizer:SAM", "needs base_optimizer; .*: use the method sam"),
        ("pytorch_optimizer:TRAC", "needs optimizer; a study cannot give this"),
        ("pytorch_optimizer:GaLore", "needs groups of parameters with 'rank', without which it is"),
        ("pytorch_optimizer:LoRARite", "needs pairs of factors of LoRA; a study cannot give this"),
        ("pytorch_optimizer:AdamW", "the optimizer is one of torch, named torch:AdamW"),
        ("torch:Rprop", r'give ranges in search_space\."torch:Rprop"; it takes lr, eta1, eta2'),
    ],
)
def test_a_name_that_cannot_be_used_is_refused(name: str, message: str) -> None:
    with pytest.raises((ValueError, UserError), match=message):
        a_study(methods=["sgd", name])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torch:SparseAdam", "cannot be used: SparseAdam does not support dense gradients"),
        ("pytorch_optimizer:LOMO", "cannot be used"),
    ],
)
def test_an_optimizer_that_cannot_train_is_refused(name: str, message: str) -> None:
    with pytest.raises((ValueError, UserError), match=message):
        a_built_study(methods=["sgd", name], search_space={name: {"lr": [1e-3, 1e-1]}})


def test_an_optimizer_that_needs_the_loss_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the loss EmoLynx takes other steps, in silence."""
    assert explain_unusable(get_method("pytorch_optimizer:EmoLynx"), {"lr": 0.01}) is None
    monkeypatch.setattr(named, "_CLOSURE", set())
    problem = explain_unusable(get_method("pytorch_optimizer:EmoLynx"), {"lr": 0.02})
    assert problem is not None
    assert "its step depends on the loss, which it is not given" in problem


def test_no_other_optimizer_reads_parameter_groups_that_nobody_sets() -> None:
    """Such an optimizer is another one in silence, as GaLore is AdamW without ``rank``."""
    reads = re.compile(r"group\.get\('(\w+)'|'(\w+)' (?:not )?in group\b")
    unset = {}
    for kind, optimizer in vars(pytorch_optimizer).items():
        is_optimizer = isclass(optimizer) and issubclass(optimizer, torch.optim.Optimizer)
        if not is_optimizer or optimizer.__module__.startswith("torch."):
            continue
        model, settings = network(), REQUIRED.get(kind, {})
        try:
            built = get_method(f"pytorch_optimizer:{kind}").build(model, **settings)
            learner = built if isinstance(built, Learner) else Learner(model, built)
            learner.learn(batch())  # some keys are set in the first step
        except (ValueError, TypeError, ImportError, RuntimeError, NotImplementedError):
            continue  # refused
        inner = learner.optimizer
        read = {a or b for a, b in reads.findall(getsource(optimizer))}
        unset[kind] = (
            read - VARIANTS - SCHEDULED - {key for group in inner.param_groups for key in group}
        )
    assert len(unset) > 80
    assert not {kind: keys for kind, keys in unset.items() if keys}


@pytest.mark.parametrize("kind", ["AdaHessian", "SophiaH", "AliG", "RAdam", "AdaShift", "NorMuon"])
def test_optimizers_with_other_steps_are_handled(kind: str) -> None:
    assert explain_unusable(get_method(f"pytorch_optimizer:{kind}"), {}) is None


def test_a_study_gives_the_space_of_other_optimizers() -> None:
    ranges = {"lr": [1e-3, 1], "rho": [0.8, 0.99], "weight_decay": [0.0, 1e-4, 1e-3]}
    study = a_study(methods=["torch:Adadelta", "sgd"], search_space={"torch:Adadelta": ranges})
    plan = StudyPlan.resolve(study)
    assert plan.spaces["torch:Adadelta"] == {
        "lr": FloatDistribution(1e-3, 1.0, log=True),
        "rho": FloatDistribution(0.8, 0.99),
        "weight_decay": CategoricalDistribution((0.0, 1e-4, 1e-3)),
    }
    method = plan.methods["torch:Adadelta"]
    assert method.default == {"lr": 1.0, "rho": 0.9, "weight_decay": 0.0}
    assert method.hyperparameters == {"lr": float, "rho": float, "weight_decay": float}


def test_ranges_have_the_type_of_the_hyperparameter() -> None:
    soap = get_method("pytorch_optimizer:SOAP")
    wider = with_ranges(
        soap, {"precondition_frequency": [1, 100], "correct_bias": [True, False], "beta1": [0.9, 1]}
    )
    assert wider.space["lr"] == soap.space["lr"]
    assert wider.space["precondition_frequency"] == IntDistribution(1, 100, log=True)
    assert wider.space["correct_bias"] == CategoricalDistribution((True, False))
    for values, message in (
        ({"precondition_frequency": [1.5, 3.0]}, "must be values of the type int"),
        ({"beta1": [0.99, 0.9]}, "the range is empty"),
        ({"beta3": [0.9, 0.99]}, "not a hyper-parameter of pytorch_optimizer:SOAP; it takes lr, b"),
    ):
        with pytest.raises(ValueError, match=message):
            with_ranges(soap, values)


@pytest.mark.parametrize(
    ("kind", "warned"), [("ScheduleFreeSGD", True), ("Lookahead", True), ("Lion", False)]
)
def test_averaged_weights_with_batch_normalisation_are_pointed_out(kind: str, warned: bool) -> None:
    name = f"pytorch_optimizer:{kind}"
    study = a_study(methods=[name, "sgd"], benchmarks=["split-cifar10", "split-mnist"])
    warnings = [w for w in study_warnings(study) if "batch normalisation" in w]
    assert [w.partition(": acc")[0] for w in warnings] == (
        [f"{name} on split-cifar10"] if warned else []
    )


def test_technical_arguments_are_no_hyperparameters() -> None:
    names = set(signature(get_method("torch:AdamW").build).parameters)
    assert names == {"model", "lr", "beta1", "beta2", "eps", "weight_decay", "amsgrad"}


def test_methods_by_name_can_be_pickled() -> None:
    method = get_method("torch:Adagrad")
    assert pickle.loads(pickle.dumps(method.build)) == method.build
    assert set(LIBRARIES) == {name.partition(":")[0] for name in NAMES}


def test_ids_have_no_colon_and_are_read_back() -> None:
    trial = TrialId("split-digits", "torch:Adagrad", 3, confirms=True, repetition=1)
    assert str(trial) == "split-digits.torch+Adagrad.r1.0003.confirm"
    assert TrialId.parse(str(trial)) == trial


@pytest.mark.slow
def test_a_study_runs_resumes_and_is_analyzed(tmp_path: Path) -> None:
    command, results = in_process(), tmp_path / "results"
    study = tmp_path / "named.toml"
    study.write_text(
        'title = "By name"\nbenchmarks = ["split-digits"]\n'
        'methods = ["torch:Adagrad", "pytorch_optimizer:ScheduleFreeSGD", "torch:Rprop"]\n'
        "trials = 2\nseeds = 1\nsearches = 1\niterations_per_task = 8\neval_every = 4\n"
        "reference_point = { avg_acc = 0.1, avg_sg = 1.0 }\n"
        "margin = { avg_acc = 0.01, avg_sg = 0.02 }\n"
        'search_space."torch:Rprop" = { lr = [1e-4, 1e-1] }\n'
        'points_to_evaluate = ["default"]\nconfirm = { max_configurations = 1, seeds = 1 }\n'
    )
    outcome = command("run", study, "--results", results)
    assert outcome.code == 0, outcome.out + outcome.err
    assert (results / "trials" / "split-digits.torch+Adagrad.0000.parquet").exists()
    assert "complete: all" in command("run", study, "--results", results).out
    doctor = command("doctor", results)
    assert doctor.code == 0, doctor.out + doctor.err
    report = command("analyze", results)
    assert report.code == 0, report.out + report.err
    assert "torch:Adagrad" in (results / "report" / "report.html").read_text()


class TestAdagrad(MethodTestCase):
    """One of them in every run of the tests; the others are slow."""

    method = get_method("torch:Adagrad")


class _MuonCase(MethodTestCase):
    """torch.optim.Muon takes matrices only, so it refuses a network of convolutions."""

    def test_trains_a_convolutional_network(self) -> None:
        with pytest.raises(ValueError, match="pytorch_optimizer:Muon also trains convolutions"):
            super().test_trains_a_convolutional_network()


for _name in NAMES[1:]:
    _case = f"Test{_name.partition(':')[0].title()}{_name.partition(':')[2]}".replace("_", "")
    _base = _MuonCase if _name == "torch:Muon" else MethodTestCase
    globals()[_case] = pytest.mark.slow(type(_case, (_base,), {"method": get_method(_name)}))
