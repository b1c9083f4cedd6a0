"""Initial points: conversion to search coordinates, suggestions and invalid points."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from ngm_tune.benchmarks import BENCHMARKS
from ngm_tune.errors import UserError
from ngm_tune.methods import get_method
from ngm_tune.methods.built_in import BUILT_IN
from ngm_tune.methods.method import Method
from ngm_tune.study.initial_points import locate, paper_settings, select_points
from ngm_tune.study.plan import StudyPlan
from ngm_tune.study.search_spaces import narrow_space
from tests.helpers.searches import (
    SEARCHES,
    a_study,
    ask_run,
    list_suggestions,
    make_method_search,
    read_optuna_trials,
    simulate_run,
)

PAPER = ["domain-cifar100", "permuted-mnist", "rotated-mnist", "split-cifar10"]
PAPER += ["split-mini-imagenet", "split-mnist"]
NAMES = [method.name for method in BUILT_IN]
POINTS = [
    {"method": "ngm-sgd", "lr": 0.01, "gain_sensitivity": 0.4, "entropy_smoothing": 0.9},
    {"method": "sgd", "lr": 0.5},
    {"method": "ngm-sgd", "lr": 0.1, "gain_sensitivity": 0.1, "entropy_smoothing": 0.8},
]


def points_in(method: Method) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy for points in the search space of a method, often at its bounds."""
    axes: dict[str, st.SearchStrategy[Any]] = {}
    for name, distribution in method.space.items():
        if isinstance(distribution, CategoricalDistribution):
            axes[name] = st.sampled_from(distribution.choices)
        elif isinstance(distribution, IntDistribution):
            axes[name] = st.integers(distribution.low, distribution.high)
        else:
            assert isinstance(distribution, FloatDistribution)
            bounds = st.sampled_from([distribution.low, distribution.high])
            axes[name] = bounds | st.floats(distribution.low, distribution.high)
    return st.fixed_dictionaries(axes)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_locate_is_the_inverse_of_configure(name: str, data: st.DataObject) -> None:
    method = get_method(name)
    point = data.draw(points_in(method))
    settings = method.configure(dict(point))
    located = method.locate(dict(settings))
    assert located == pytest.approx(point)
    assert method.configure(located) == pytest.approx(settings)
    assert all(type(located[k]) is type(point[k]) for k in point)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_every_suggestion_can_be_an_initial_point(name: str, data: st.DataObject) -> None:
    """Rounding does not move a suggestion at a bound out of the search space."""
    method = get_method(name)
    point = data.draw(points_in(method))
    space = narrow_space(method, {})
    located = locate("", method, space, method.configure(dict(point)))
    assert located == pytest.approx(point)
    assert all(
        distribution._contains(distribution.to_internal_repr(located[k]))
        for k, distribution in space.items()
    )


@pytest.mark.parametrize("kind", SEARCHES)
def test_initial_points_are_the_first_configurations(tmp_path: Path, kind: str) -> None:
    changes = {
        **SEARCHES[kind],
        "points_to_evaluate": POINTS,
        "max_concurrent_trials": 2,
        "seeds": 2,
        "trials": 5,
    }
    configurations: dict[str, dict[str, Any]] = {}
    search = make_method_search(tmp_path / "a", "ngm-sgd", **changes)
    while spec := search.ask():
        configurations.setdefault(spec.trial_id, spec.hyperparameters)
        search.finish(spec.run_id, simulate_run(search, spec))
    first, second, third = list(configurations.values())[:3]
    assert first == pytest.approx({k: v for k, v in POINTS[0].items() if k != "method"})
    assert second == pytest.approx({k: v for k, v in POINTS[2].items() if k != "method"})
    assert third != pytest.approx(second)
    assert search.total == 5
    assert search.complete


def test_initial_points_inform_later_suggestions(tmp_path: Path) -> None:
    """TPE suggests configurations near good initial points after its random start."""
    good = [{"method": "sgd", "lr": 0.03 + 0.001 * n} for n in range(12)]
    bad = [{"method": "sgd", "lr": 0.9 + 0.001 * n} for n in range(30)]
    search = make_method_search(tmp_path / "a", points_to_evaluate=[*good, *bad], trials=52)
    lrs = [p["lr"] for p in list_suggestions(search).values()]
    assert lrs[:12] == [point["lr"] for point in good]
    assert sum(0.005 < lr < 0.2 for lr in lrs[42:]) >= 8


def test_initial_points_are_recorded_like_suggestions(tmp_path: Path) -> None:
    search = make_method_search(tmp_path / "a", "ngm-sgd", points_to_evaluate=POINTS)
    spec = ask_run(search)
    search.finish(spec.run_id, simulate_run(search, spec))
    (trial,) = read_optuna_trials(tmp_path / "a", "ngm-sgd")
    assert trial.state == TrialState.COMPLETE
    assert trial.params == spec.coordinates
    assert trial.params == pytest.approx({"lr": 0.01, "dc_gain": 4.0, "gain_decay": 0.1})


def test_a_point_is_for_one_method_and_optionally_for_one_benchmark() -> None:
    points: list[Any] = [
        {"method": "sgd", "lr": 0.1},
        {"method": "sgd", "benchmark": "rotated-digits", "lr": 0.2},
        {"method": "adam", "lr": 0.03},
    ]
    study = a_study(benchmarks=["split-digits", "rotated-digits"], points_to_evaluate=points)
    assert StudyPlan.resolve(study).points_of("split-digits", "sgd") == [{"lr": 0.1}]
    assert StudyPlan.resolve(study).points_of("rotated-digits", "sgd") == [{"lr": 0.1}, {"lr": 0.2}]
    assert StudyPlan.resolve(study).points_of("rotated-digits", "adam") == [{"lr": 0.03}]
    assert StudyPlan.resolve(study).points_of("split-digits", "ngm-sgd") == []


def test_duplicate_points_are_evaluated_once() -> None:
    points: list[Any] = ["paper", {"method": "sgd", "lr": 0.01}, {"method": "sgd", "lr": 0.02}]
    study = a_study(
        benchmarks=["split-mnist"], methods=["sgd"], points_to_evaluate=points, trials=2
    )
    assert StudyPlan.resolve(study).points_of("split-mnist", "sgd") == [{"lr": 0.01}, {"lr": 0.02}]


@pytest.mark.parametrize("benchmark", PAPER)
def test_paper_points_are_the_papers_settings_for_a_benchmark(benchmark: str) -> None:
    methods = ["ngm-sgd", "momentum-sgd", "adam", "sgd"]
    study = a_study(benchmarks=[benchmark], methods=[*methods, "ema"], points_to_evaluate=["paper"])
    for name in methods:
        (point,) = StudyPlan.resolve(study).points_of(benchmark, name)
        settings = get_method(name).configure(dict(point))
        published = paper_settings(benchmark)[name]
        assert settings == pytest.approx({k: published[k] for k in settings})
    assert StudyPlan.resolve(study).points_of(benchmark, "ema") == []


def test_every_benchmark_of_the_paper_has_paper_settings() -> None:
    assert sorted(name for name in BENCHMARKS if paper_settings(name)) == PAPER


def test_paper_points_keep_their_place_among_other_points() -> None:
    points: list[Any] = [{"method": "sgd", "lr": 0.3}, "paper"]
    selected = select_points(
        points, "split-mnist", "sgd", ["split-mnist"], {"sgd": get_method("sgd")}
    )
    assert selected == [
        ("points_to_evaluate[0]", {"lr": 0.3}, None),
        ("points_to_evaluate[1]", {"lr": 0.01}, "paper"),
    ]


def test_default_points_are_the_default_settings_of_each_method() -> None:
    points: list[Any] = [{"method": "sgd", "lr": 0.3}, "default"]
    study = a_study(methods=["ngm-sgd", "sgd", "temperature"], points_to_evaluate=points)
    plan = StudyPlan.resolve(study)
    assert plan.points_of("split-digits", "sgd") == [{"lr": 0.3}, {"lr": 0.001}]
    assert plan.references_of("split-digits", "sgd") == {"default": 1}
    (point,) = plan.points_of("split-digits", "ngm-sgd")
    assert plan.methods["ngm-sgd"].settings_at(point) == pytest.approx(
        {"lr": 0.01, "gain_sensitivity": 0.4, "entropy_smoothing": 0.9}
    )
    assert plan.points_of("split-digits", "temperature") == []
    assert plan.references_of("split-digits", "temperature") == {}


def test_references_that_agree_are_one_configuration() -> None:
    study = a_study(
        benchmarks=["split-mnist"],
        methods=["ngm-sgd", "adam"],
        points_to_evaluate=["default", "paper"],
    )
    plan = StudyPlan.resolve(study)
    assert plan.references_of("split-mnist", "ngm-sgd") == {"default": 0, "paper": 0}
    assert plan.references_of("split-mnist", "adam") == {"default": 0, "paper": 1}
    assert len(plan.points_of("split-mnist", "ngm-sgd")) == 1


def test_default_settings_outside_a_narrowed_space_are_explained() -> None:
    with pytest.raises(UserError) as error:
        a_study(
            methods=["sgd"],
            search_space={"sgd": {"lr": [0.2, 1.0]}},
            points_to_evaluate=["default"],
        )
    assert (
        "points_to_evaluate[0] has lr = 0.001: lr = 0.001 is outside the search space of sgd"
        in (str(error.value))
    )


def test_a_study_without_any_default_settings_is_explained() -> None:
    with pytest.raises(UserError) as error:
        a_study(methods=["temperature"], points_to_evaluate=["default"])
    assert str(error.value) == (
        'test: points_to_evaluate[0] = "default": no method of the study has default settings: '
        "temperature"
    )


@pytest.mark.parametrize(
    ("points", "sentence"),
    [
        (["paper"], 'points_to_evaluate[0] = "paper": the paper has no settings for split-digits'),
        (["papers"], "points_to_evaluate[0] = 'papers': input should be 'default' or 'paper'"),
        (
            [{"lr": 0.1}],
            "points_to_evaluate[0].method = None: must be a method of the study: sgd, warmup",
        ),
        (
            [{"method": "ema", "lr": 0.1}],
            "points_to_evaluate[0].method = 'ema': must be a method of the study: sgd, warmup",
        ),
        (
            [{"method": "sgd", "benchmark": "split-mnist", "lr": 0.1}],
            "points_to_evaluate[0].benchmark = 'split-mnist': must be a benchmark of the study: sp",
        ),
        ([{"method": "sgd"}], "points_to_evaluate[0] has nothing for sgd; it must have lr"),
        (
            [{"method": "sgd", "lr": 0.1, "momentum": 0.9}],
            "points_to_evaluate[0] has lr, momentum for sgd; it must have lr",
        ),
        (
            [{"method": "sgd", "lr": 0.3}, {"method": "sgd", "lr": 5}],
            "points_to_evaluate[1] has lr = 5: lr = 5 is outside the search space of sgd, 0.2 to",
        ),
        (
            [{"method": "sgd", "lr": float("nan")}],
            "points_to_evaluate[0] has lr = nan: lr = nan is outside the search space",
        ),
        (
            [{"method": "sgd", "lr": 10**400}],
            f"points_to_evaluate[0] has lr = 1{'0' * 400}: lr = 1",
        ),
        (
            [{"method": "sgd", "lr": "x"}],
            "points_to_evaluate[0] has lr = 'x': lr = 'x' is outside the search space",
        ),
        (
            [{"method": "sgd", "lr": True}],
            "points_to_evaluate[0] has lr = True: lr = True is outside the search space",
        ),
        (
            [{"method": "sgd", "lr": 0.1}],  # the range of the study begins at 0.2
            "points_to_evaluate[0] has lr = 0.1: lr = 0.1 is outside the search space",
        ),
        (
            [{**POINTS[0], "entropy_smoothing": 1}],
            "points_to_evaluate[0]: {'lr': 0.01, 'gain_sensitivity': 0.4, 'entr",
        ),
        (
            [{**POINTS[0], "entropy_smoothing": "x"}],
            "points_to_evaluate[0]: {'lr': 0.01, 'gain_sensitivity': 0.4, 'entr",
        ),
        (
            [{"method": "warmup-oracle", "lr": 0.1, "warmup": 10.5}],
            "points_to_evaluate[0] has lr = 0.1, warmup = 10.5: warmup = 10.5 is outside",
        ),
        (
            [{"method": "sgd", "lr": lr} for lr in (0.3, 0.4, 0.5)],
            "points_to_evaluate has 3 points for sgd, more than trials = 2",
        ),
    ],
)
def test_an_invalid_point_is_explained_in_one_sentence(points: list[Any], sentence: str) -> None:
    with pytest.raises(UserError) as error:
        a_study(
            methods=["sgd", "warmup-oracle", "ngm-sgd"],
            search_space={"sgd": {"lr": [0.2, 1.0]}},
            points_to_evaluate=points,
            trials=2,
        )
    assert str(error.value).startswith(f"test: {sentence}")
    assert "\n" not in str(error.value)
