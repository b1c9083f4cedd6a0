"""Methods of users: supported features, and errors of methods that cannot be run."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from torch import nn
from torch.optim import SGD, Adam, Optimizer

from ngm_tune.errors import UserError
from ngm_tune.execution.recording import trial_identity, write_failure
from ngm_tune.learners import Batch, Learner, Step
from ngm_tune.methods import Method, methods
from ngm_tune.optim.defaults import load_defaults
from ngm_tune.results.columns import decode
from ngm_tune.results.directory import Results
from ngm_tune.study.initial_points import locate
from ngm_tune.study.search_spaces import narrow_space
from ngm_tune.study.study import Study
from tests.helpers.other_study import OtherStudy
from tests.helpers.searches import a_built_study
from tests.helpers.training import are_equal, finish, start

LR = FloatDistribution(0.01, 0.1, log=True)


@pytest.fixture(autouse=True)
def _register_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    def looks_at_the_network(model: nn.Module, lr: float) -> Optimizer:
        return SGD(model[5].parameters(), lr=lr)  # type: ignore[index]

    def raises(model: nn.Module, lr: float, k: int = 0) -> Optimizer:
        if k == 7:
            raise RuntimeError("seven")
        return SGD(model.parameters(), lr=lr)

    def needs(model: nn.Module, lr: float, momentum: float) -> Optimizer:
        return SGD(model.parameters(), lr=lr, momentum=momentum)

    for name, build in (("looks", looks_at_the_network), ("raises", raises), ("needs", needs)):
        method = Method(name=name, title=name, source="tests", space={"lr": LR}, build=build)
        monkeypatch.setitem(methods(), name, method)


def custom_method(space: dict[str, BaseDistribution], **more: Any) -> Method:
    def build(model: nn.Module, **settings: Any) -> Optimizer:
        return Adam(model.parameters(), lr=settings.get("lr", 0.01))

    return Method(name="own", title="Own", source="tests", space=space, build=build, **more)


def test_integers_and_floats_of_one_hyperparameter_are_decode() -> None:
    """``10 ** -0`` is the integer 1; other powers are floats."""
    powers = custom_method(
        {"p": IntDistribution(0, 3)}, configure=lambda at: {"lr": 10 ** -at["p"]}
    )
    assert powers.hyperparameters == {"lr": float}
    assert [decode(float(10**-p), powers.domains["lr"]) for p in range(4)] == [1, 0.1, 0.01, 1e-3]
    assert type(decode(1.0, powers.domains["lr"])) is int


def test_computed_tuples_are_decode() -> None:
    betas = custom_method(
        {"b": FloatDistribution(0.5, 0.95)},
        configure=lambda at: {"betas": (at["b"], 0.999)},
        locate=lambda settings: {"b": settings["betas"][0]},
    )
    assert betas.hyperparameters == {"betas": str}
    assert decode("(0.7, 0.999)", betas.domains["betas"]) == (0.7, 0.999)
    place = locate("", betas, narrow_space(betas, {}), {"betas": "(0.7, 0.999)"})
    assert place == {"b": 0.7}


def a_trial(location: Path, **settings: Any) -> dict[str, Any]:
    """Return the config of a trial whose study has a numeric column ``k``."""
    return OtherStudy(location).trial_config(settings, hyperparameter_columns={"k": "float"})


@pytest.mark.parametrize("settings", [{"k": True}, {"k": "many"}, {"k": 2**70}, {"l": 1}])
def test_a_value_that_no_column_can_store_is_a_failure(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    config = a_trial(tmp_path / "results", **settings)
    with pytest.raises(ValueError, match="sgd: configure returns"):
        trial_identity(config, 0)  # type: ignore[arg-type]
    write_failure(config, "no such luck")  # type: ignore[arg-type]
    (row, _) = Results(config["results"]).read("trials").to_pylist()
    assert (row["status"], row["config_k"]) == ("failed", None)


def test_values_between_steps_are_outside_the_space() -> None:
    stepped = custom_method(
        {"k": IntDistribution(0, 9, step=3), "x": FloatDistribution(0, 1, step=0.1)}
    )
    space = narrow_space(stepped, {"k": [0, 3], "x": [0.1, 0.7]})
    assert locate("", stepped, space, {"k": 3, "x": 0.3}) == {"k": 3, "x": 0.3}
    for settings in ({"k": 1, "x": 0.3}, {"k": 3, "x": 0.35}):
        with pytest.raises(ValueError, match=r"outside the search space of .* in steps of"):
            locate("", stepped, space, settings)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"k": [1, 8]}, "must be a multiple of the step, 3"),
        ({"x": [0.0, 0.25]}, "must be a multiple of the step, 0.1"),
        ({"c": ["a", "a"]}, "a choice is listed twice"),
        ({"c": ["None", "None"]}, "a choice is listed twice"),
    ],
)
def test_invalid_ranges_raise(values: dict[str, list[Any]], message: str) -> None:
    method = custom_method(
        {
            "k": IntDistribution(0, 9, step=3),
            "x": FloatDistribution(0, 1, step=0.1),
            "c": CategoricalDistribution(("a", None)),
        }
    )
    with pytest.raises(ValueError, match=message):
        narrow_space(method, values)


def study_of(method: str, **changes: Any) -> Study:
    return a_built_study(methods=[method], **changes)


def test_ranges_are_tried_on_the_networks_of_the_study() -> None:
    study_of("looks", search_space={"looks": {"lr": [0.02, 0.05]}})
    given = {"needs": {"momentum": 0.5}}
    study_of("needs", fixed=given, search_space={"needs": {"lr": [0.02, 0.05]}})
    other = {"looks": {"lr": [0.02, 0.05]}}
    with pytest.raises(ValueError, match=r"space\.looks allows .*: "):
        study_of("looks", benchmarks=["split-cifar10"], search_space=other, iterations_per_task=9)


@pytest.mark.parametrize(
    ("method", "changes", "message"),
    [
        (
            "needs",
            {},
            "needs needs a hyper-parameter that fixed.needs can set: missing .*'momentum'",
        ),
        ("raises", {"fixed": {"raises": {"k": 7}}}, r"has k = 7: RuntimeError\('seven'\)"),
    ],
)
def test_a_method_that_cannot_be_built_is_a_user_error(
    method: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises((UserError, ValueError), match=message):
        study_of(method, **changes)


class Noisy(Learner):
    """Drops examples at random with the global generators of NumPy and Python."""

    def learn(self, batch: Batch) -> Step:
        kept = torch.from_numpy(np.random.rand(len(batch.labels)) < 0.5)  # noqa: NPY002
        kept[random.randrange(len(kept))] = True
        return super().learn(Batch(batch.inputs[kept], batch.labels[kept], batch.tasks[kept]))


def noisy(model: nn.Module) -> Learner:
    return Noisy(model, SGD(model.parameters(), lr=0.1))


def test_the_seed_of_a_run_covers_numpy_and_python() -> None:
    first = finish(start(noisy))  # type: ignore[arg-type]
    before = np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[index]  # noqa: NPY002
    np.random.rand()  # noqa: NPY002
    random.random()
    drawn = np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[index]  # noqa: NPY002
    second = finish(start(noisy))  # type: ignore[arg-type]
    assert all(map(are_equal, first.records, second.records))
    after = np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[index]  # noqa: NPY002
    assert after == drawn
    assert before[1] != drawn[1]


def test_a_state_can_be_loaded_several_times() -> None:
    first = start(lambda model: SGD(model.parameters(), lr=0.1, momentum=0.9))
    first.train_task()
    state = first.state_dict()
    runs = [start(lambda model: SGD(model.parameters(), lr=0.1, momentum=0.9)) for _ in range(2)]
    for run in runs:
        run.load_state_dict(state)
        finish(run)
    assert all(map(are_equal, runs[0].records, runs[1].records))


def test_none_is_restored_from_defaults(tmp_path: Path) -> None:
    path = tmp_path / "defaults.toml"
    path.write_text(
        '[[defaults]]\nbenchmark = "split-digits"\nmethod = "own"\n'
        'hyperparameters = { lr = 0.1, clip = "None", betas = [0.9, 0.999] }\n'
    )
    assert load_defaults("own", path=path) == {"lr": 0.1, "clip": None, "betas": [0.9, 0.999]}
