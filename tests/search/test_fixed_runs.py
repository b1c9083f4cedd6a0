"""Configurations that are run as they are: what confirms a search, and given settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ngm_tune.metrics.selection import hypervolume_subset
from ngm_tune.results.outcome import Outcome
from ngm_tune.search.benchmark_search import BenchmarkSearch
from ngm_tune.search.fixed_runs import FixedRuns, create_confirmation
from ngm_tune.search.method_search import MethodSearch
from ngm_tune.search.run_spec import RunSpec
from tests.helpers.searches import a_study, benchmark_search, draw, one

FRONT = [(0.95, 0.5), (0.9, 0.3), (0.8, 0.2), (0.7, 0.15), (0.6, 0.1)]
DOMINATED = (0.5, 0.6)


def searched_to(
    journal: Path, values: list[tuple[float, float] | None], **changes: Any
) -> tuple[MethodSearch, FixedRuns]:
    """A complete search with these results, and its confirmation."""
    benchmark = benchmark_search(journal, trials=len(values), **changes)
    (search,) = benchmark.searches
    for value in values:
        status = "completed" if value else "failed"
        search.finish(one(search).run_id, Outcome(status, value))
    return search, confirmed(benchmark, **changes)


def confirmed(
    benchmark: BenchmarkSearch, finished: Mapping[str, Outcome] | None = None, **changes: Any
) -> FixedRuns:
    """The confirmation of the first search of a benchmark."""
    return create_confirmation(a_study(**changes), benchmark.searches[0], benchmark, finished or {})


def all_of(given: FixedRuns) -> list[RunSpec]:
    found = []
    while proposal := given.ask():
        found.append(proposal)
    return found


@pytest.mark.parametrize("top", [1, 3, 9])
def test_at_most_max_configurations_of_a_front_are_confirmed(tmp_path: Path, top: int) -> None:
    search, given = searched_to(
        tmp_path / "a", [DOMINATED, *FRONT], confirm={"max_configurations": top}
    )
    reference = {"avg_acc": 0.1, "avg_sg": 1.0}
    expected = hypervolume_subset(FRONT, search._objectives, reference, top, first=[0])
    proposals = all_of(given)
    names = [f"split-digits.sgd.{i + 1:04d}.confirm" for i in expected]
    assert [p.trial_id for p in proposals] == [p.run_id for p in proposals] == names
    assert given.total == given.started == min(top, len(FRONT))


def test_the_compared_configuration_is_confirmed_first(tmp_path: Path) -> None:
    """The best gap within 0.01 of the best accuracy of any method; none, if all lie farther off."""
    near, far = ((0.953, 0.9), "0001.confirm"), ((0.99, 0.9), "0002.confirm")  # dominates most
    for place, (value, expected) in enumerate((near, far)):
        benchmark = benchmark_search(tmp_path / str(place), ["sgd", "adam"], trials=3)
        search, other = benchmark.searches
        confirmation = confirmed(benchmark)
        for values in ((0.95, 0.5), (0.944, 0.4), (0.9, 0.1)):
            search.finish(one(search).run_id, Outcome("completed", values))
            assert confirmation.ask() is None  # before the other method's search is complete
            other.finish(one(other).run_id, Outcome("completed", value))
        assert all_of(confirmation)[0].trial_id == f"split-digits.sgd.{expected}"


def test_confirmations_have_the_hyperparameters_of_the_search(tmp_path: Path) -> None:
    changes = {"confirm": {"max_configurations": 2}}
    benchmark = benchmark_search(tmp_path / "a", ["ngm-sgd"], trials=2, **changes)
    (search,) = benchmark.searches
    asked = {}
    for values in FRONT[:2]:
        proposal = one(search)
        asked[f"{proposal.trial_id}.confirm"] = (proposal.hyperparameters, proposal.coordinates)
        search.finish(proposal.run_id, Outcome("completed", values))
    again = all_of(confirmed(benchmark, **changes))
    assert {p.trial_id: (p.hyperparameters, p.coordinates) for p in again} == asked


def test_confirmations_use_fresh_seeds(tmp_path: Path) -> None:
    changes = {"seeds": [1000, 3, 1002], "confirm": {"max_configurations": 2, "seeds": 4}}
    _, given = searched_to(tmp_path / "a", [*FRONT], **changes)
    for proposal in all_of(given):
        assert proposal.phase == "confirm"
        assert proposal.seeds == (1001, 1003, 1004, 1005)


def test_confirmation_waits_for_the_whole_search(tmp_path: Path) -> None:
    benchmark = benchmark_search(tmp_path / "a", trials=3)
    (search,), given = benchmark.searches, confirmed(benchmark)
    for values in FRONT[:3]:
        assert given.ask() is None
        assert not given.complete
        assert given.total == 4  # as far as can be told
        search.finish(one(search).run_id, Outcome("completed", values))
    assert len(all_of(given)) == given.total == 3


@pytest.mark.parametrize("values", [[None, None], [None]])
def test_a_search_without_a_front_has_no_confirmations(
    tmp_path: Path, values: list[tuple[float, float] | None]
) -> None:
    _, given = searched_to(tmp_path / "a", values)
    assert given.ask() is None
    assert (given.total, given.started, given.outcomes) == (0, 0, [])
    assert given.complete


def test_with_racing_only_configurations_with_all_seeds_are_confirmed(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"racing": {"min_probability": 0.4}, "seeds": 3, "trials": 6}
    benchmark = benchmark_search(tmp_path / "a", **changes)
    drawn = draw(benchmark.searches[0])
    given = confirmed(benchmark, **changes)
    proposals = all_of(given)
    assert proposals
    for proposal in proposals:
        trial_id = proposal.trial_id.removesuffix(".confirm")
        assert [f"{trial_id}@{seed}" in drawn for seed in range(3)] == [True] * 3


def test_finished_confirmations_are_not_run_again(tmp_path: Path) -> None:
    benchmark = benchmark_search(tmp_path / "a", trials=len(FRONT))
    (search,) = benchmark.searches
    for values in FRONT:
        search.finish(one(search).run_id, Outcome("completed", values))
    first, *rest = all_of(confirmed(benchmark))
    ended = Outcome("completed", (0.9, 0.2))
    again = confirmed(benchmark, {first.run_id: ended})
    assert again.outcomes == [ended]
    assert again.values == [(0.9, 0.2)]
    assert all_of(again) == rest


def test_an_interrupted_confirmation_is_offered_again(tmp_path: Path) -> None:
    _, given = searched_to(tmp_path / "a", [FRONT[0]])
    first = given.ask()
    assert first is not None
    assert given.ask() is None
    assert not given.complete
    given.reopen(first.run_id)
    assert given.ask() == first
    given.finish(first.run_id, Outcome("failed", None))
    assert given.complete
    assert given.values == []


def test_confirmations_are_never_pruned(tmp_path: Path) -> None:
    _, given = searched_to(tmp_path / "a", [*FRONT], early_stopping={"min_peers": 2})
    first = given.ask()
    assert first is not None
    assert not given.should_prune(first.run_id, [(0.0, 1.0)] * 4)


def test_a_confirmation_with_a_nan_objective_fails(tmp_path: Path) -> None:
    """As it is in a search: no number is taken for a trade-off that is none."""
    _, given = searched_to(tmp_path / "a", [FRONT[0]])
    first = given.ask()
    assert first is not None
    given.finish(first.run_id, Outcome("completed", (float("nan"), 0.1)))
    assert [outcome.status for outcome in given.outcomes] == ["failed"]
    assert given.values == []
