"""Searches of finite spaces try each configuration once and then end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from torch.optim import SGD

from ngm_tune.methods import Method, methods
from ngm_tune.methods.finite_space import Grid, grid_of
from ngm_tune.results.outcome import Outcome
from ngm_tune.study.plan import StudyPlan
from ngm_tune.study.warnings import warn_of_small_spaces
from tests.helpers.searches import (
    SEARCHES,
    a_study,
    make_method_search,
    read_optuna_trials,
    run_search,
)

SPACE = {
    "lr": FloatDistribution(0.01, 0.07, step=0.02),
    "momentum": CategoricalDistribution((None, 0.9)),
}
SIZE = 8
AXES = st.one_of(
    st.integers(1, 4).map(lambda n: CategoricalDistribution(tuple("abcd"[:n]))),
    st.builds(
        lambda low, count, step: IntDistribution(low, low + count * step, step=step),
        st.integers(-5, 5), st.integers(0, 5), st.integers(1, 3),
    ),
    st.builds(
        lambda low, count, step: FloatDistribution(low, low + (count + 0.5) * step, step=step),
        st.floats(-2, 2), st.integers(0, 5), st.floats(0.01, 1),
    ),
    st.just(IntDistribution(1, 7, log=True)),
    st.floats(-1, 1).map(lambda at: FloatDistribution(at, at)),
)  # fmt: skip


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> str:
    """Register a method with eight configurations; return its name."""
    built = Method(
        name="few",
        title="Few",
        source="tests",
        space=SPACE,
        build=lambda model, lr, momentum: SGD(model.parameters(), lr=lr, momentum=momentum or 0.0),
    )
    monkeypatch.setitem(methods(), "few", built)
    return "few"


@pytest.mark.filterwarnings("ignore:The distribution is specified")
@given(st.lists(AXES, max_size=3), st.integers(0, 9))
def test_a_grid_enumerates_every_configuration_that_optuna_suggests(
    axes: list[BaseDistribution], seed: int
) -> None:
    space = {f"x{n}": where for n, where in enumerate(axes)}
    grid = Grid(space)
    places = [grid.at(number) for number in range(grid.size)]
    assert [grid.index_of(place) for place in places] == list(range(grid.size))
    assert all(
        where._contains(where.to_internal_repr(place[name]))
        for place in places
        for name, where in space.items()
    )
    assert len({tuple(place.values()) for place in places}) == grid.size
    suggested = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed)).ask(space).params
    assert grid.at(grid.index_of(suggested)) == pytest.approx(suggested)


def test_a_space_with_a_continuous_coordinate_has_no_grid() -> None:
    assert grid_of({**SPACE, "decay": FloatDistribution(0.0, 1.0)}) is None


@pytest.mark.parametrize("max_concurrent_trials", [1, 3])
@pytest.mark.parametrize("name", SEARCHES)
def test_every_configuration_is_tried_once(
    tmp_path: Path, few: str, name: str, max_concurrent_trials: int
) -> None:
    settings = {
        "methods": [few],
        "max_concurrent_trials": max_concurrent_trials,
        **SEARCHES[name],
        "trials": 12,
    }
    searched = make_method_search(tmp_path / "a", few, **settings)
    drawn, outcomes = run_search(searched, order=(0, 1, 2))
    assert searched.complete
    assert searched.exhausted
    assert len(drawn) == searched.total == len(outcomes)
    assert len({tuple(settings.values()) for settings in drawn.values()}) == len(drawn) == SIZE


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "gp", "random"])
def test_no_configuration_is_tried_twice_in_a_short_search(
    tmp_path: Path, few: str, sampler: str
) -> None:
    searched = make_method_search(tmp_path / "a", few, methods=[few], trials=6, sampler=sampler)
    drawn, _ = run_search(searched)
    assert len({tuple(settings.values()) for settings in drawn.values()}) == searched.total == 6
    assert not searched.exhausted


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("name", SEARCHES)
def test_an_interrupted_search_of_a_finite_space_resumes(
    tmp_path: Path, few: str, name: str, kept: bool
) -> None:
    settings = {"methods": [few], "max_concurrent_trials": 3, **SEARCHES[name], "trials": 12}
    whole, ends = run_search(make_method_search(tmp_path / "whole", few, **settings))
    first = make_method_search(tmp_path / "a", few, **settings)
    before, outcomes = run_search(first, stop=5)
    first.close()
    if not kept:
        (tmp_path / "a").unlink()
    second = make_method_search(tmp_path / "a", few, finished=outcomes, **settings)
    after, later = run_search(second)
    assert {**before, **after} == whole
    assert {**outcomes, **later} == ends
    assert second.exhausted


def test_older_results_with_duplicates_are_kept(tmp_path: Path, few: str) -> None:
    """Earlier versions continued a search after the last configuration."""
    settings: dict[str, Any] = {"methods": [few], "trials": 12}
    twice = {
        f"split-digits.few.{n:04d}": Outcome(
            "completed", (0.5, 0.5), coordinates={"lr": 0.01, "momentum": "None"}
        )
        for n in range(12)
    }
    searched = make_method_search(tmp_path / "a", few, finished=twice, **settings)
    assert searched.ask() is None
    assert searched.complete
    assert (searched.total, searched.exhausted) == (12, False)
    searched.close()
    assert [t.params for t in read_optuna_trials(tmp_path / "a", few)] == [
        {"lr": 0.01, "momentum": None}
    ] * 12


def test_searches_with_fewer_trials_are_reported(few: str) -> None:
    too_many, enough = (
        StudyPlan.resolve(a_study(methods=["sgd", few], trials=trials)) for trials in (9, 8)
    )
    (sentence,) = warn_of_small_spaces(too_many)
    assert sentence == "few will have 8 of 9 trials: its search space has no further configuration"
    assert not list(warn_of_small_spaces(enough))
