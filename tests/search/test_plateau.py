"""The end of searches that gain nothing more: for all methods of a benchmark together."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ngm_tune.execution.runner import note_ends
from ngm_tune.metrics.pareto import hypervolume
from ngm_tune.results.directory import Results
from ngm_tune.results.outcome import Outcome
from ngm_tune.search.method_search import MethodSearch
from ngm_tune.search.optuna_journal import open_storage
from tests.search.test_method_search import a_study

METHODS = ["sgd", "adam", "ngm-sgd"]
Curve = Callable[[int], float]
"""Accuracy of a method's runs, by number; every gap is 0.1."""


def flat(_: int) -> float:
    return 0.8


def rising(number: int) -> float:
    return 0.4 + 0.01 * number


def slow(number: int) -> float:
    """Hardly any gain from run 9 on."""
    return 0.8 - 0.5 * math.exp(-number / 2)


def arms_of(
    journal: Path, finished: dict[str, Outcome] | None = None, **changes: Any
) -> list[MethodSearch]:
    """The arms of a study with a plateau, as a run has them."""
    plateau = {"plateau": {"trials": 4}, "trials": 30, "sampler": "random", "methods": METHODS}
    study = a_study(**{**plateau, **changes})
    storage = open_storage(journal)
    arms = [
        MethodSearch(study, benchmark, method, storage=storage, finished=finished or {})
        for benchmark in study.benchmarks
        for method in study.methods
    ]
    for arm in arms:
        arm.siblings = [other for other in arms if other.benchmark == arm.benchmark]
    return arms


def search(
    arms: Sequence[MethodSearch], curves: Sequence[Curve], most: int = 10_000
) -> dict[str, Outcome]:
    """Run the arms by turns, newest first within each; the outcomes by run id."""
    ended: dict[str, Outcome] = {}
    counts = [len(arm.outcomes) for arm in arms]
    going = True
    while going:
        going = False
        for n, (arm, curve) in enumerate(zip(arms, curves, strict=True)):
            running = []
            while proposal := arm.ask():
                running.append(proposal)
            for proposal in reversed(running):
                if len(ended) == most:
                    return ended
                number = int(proposal.trial_id[-4:])
                ended[proposal.run_id] = Outcome("completed", (curve(number), 0.1))
                arm.finish(proposal.run_id, ended[proposal.run_id])
                counts[n] += 1
                going = True
    return ended


def lengths(arms: Sequence[MethodSearch]) -> list[int]:
    return [len(arm.outcomes) for arm in arms]


@pytest.mark.parametrize("max_concurrent_trials", [1, 3])
def test_all_methods_end_after_the_same_number_of_runs(
    tmp_path: Path, max_concurrent_trials: int
) -> None:
    arms = arms_of(tmp_path / "a", max_concurrent_trials=max_concurrent_trials)
    search(arms, [flat, slow, flat])
    (end,) = set(lengths(arms))
    assert 2 * 4 < end < 30
    assert [arm.total for arm in arms] == [end] * 3
    assert all(arm.complete for arm in arms)


def test_no_search_ends_before_twice_the_window(tmp_path: Path) -> None:
    for window in (1, 4, 7):
        arms = arms_of(tmp_path / str(window), plateau={"trials": window})
        search(arms, [flat, flat, flat])
        assert lengths(arms) == [2 * window] * 3


def test_one_method_that_still_gains_keeps_the_others_going(tmp_path: Path) -> None:
    arms = arms_of(tmp_path / "a")
    search(arms, [flat, flat, rising])
    assert lengths(arms) == [30, 30, 30]


def test_a_search_ends_where_hypervolume_gained_too_little(tmp_path: Path) -> None:
    arms = arms_of(tmp_path / "a", plateau={"patience": 4, "min_improvement": 0.05})
    search(arms, [slow, slow, slow])
    (end,) = set(lengths(arms))
    reference = {"avg_acc": 0.1, "avg_sg": 1.0}

    def growth(runs: int) -> float:
        now, before = (
            hypervolume([(slow(runs - back), 0.1)], arms[0]._objectives, reference)
            for back in (1, 5)
        )
        return (now - before) / now

    assert growth(end) < 0.05 <= growth(end - 1)


def test_a_method_that_finds_nothing_does_not_keep_the_others_going(tmp_path: Path) -> None:
    arms = arms_of(tmp_path / "a")
    search(arms, [flat, flat, lambda _: 0.05])  # below the reference point
    assert lengths(arms) == [8, 8, 8]


def test_searches_that_have_found_nothing_go_on(tmp_path: Path) -> None:
    arms = arms_of(tmp_path / "a")
    search(arms, [lambda _: 0.05] * 3)  # below the reference point
    assert lengths(arms) == [30, 30, 30]


def test_benchmarks_end_each_on_their_own(tmp_path: Path) -> None:
    arms = arms_of(tmp_path / "a", benchmarks=["split-digits", "rotated-digits"])
    search(arms, [*[flat] * 3, *[rising] * 3])
    assert lengths(arms) == [8, 8, 8, 30, 30, 30]


@pytest.mark.parametrize("stop", [20, 26, 38, 47, 53])
def test_an_interrupted_search_ends_where_it_would_have(tmp_path: Path, stop: int) -> None:
    """Also where one method was on its plateau when it was interrupted, and others not."""
    curves = [flat, rising, slow]
    changes: dict[str, Any] = {
        "plateau": {"patience": 4, "min_improvement": 0.08},
        "max_concurrent_trials": 2,
    }
    whole = arms_of(tmp_path / "whole", **changes)
    ends = search(whole, curves)
    assert len(set(lengths(whole))) == 1
    assert 16 < lengths(whole)[0] < 30
    first = arms_of(tmp_path / "a", **changes)
    finished = search(first, curves, most=stop)
    for arm in first:
        arm.close()
    second = arms_of(tmp_path / "a", finished, **changes)
    later = search(second, curves)
    assert lengths(second) == lengths(whole)
    assert {**finished, **later} == ends


def test_a_search_that_is_over_is_over_when_it_is_opened_again(tmp_path: Path) -> None:
    ends = search(arms_of(tmp_path / "a"), [slow, flat, flat])
    again = arms_of(tmp_path / "a", ends)
    assert [arm.ask() for arm in again] == [None] * 3
    assert all(arm.complete for arm in again)
    assert sum(lengths(again)) == len(ends)


def test_a_run_that_failed_and_is_run_again_does_not_end_its_search_before_its_end(
    tmp_path: Path,
) -> None:
    """What it turns out to find, at its place, would have been a plateau long before."""

    def failing_first(number: int) -> float:
        return rising(number) if number else math.nan

    arms = arms_of(tmp_path / "a")
    ended = search(arms, [flat, flat, failing_first])
    for arm in arms:
        arm.close()
    failed = [run for run, outcome in ended.items() if outcome.finite().status == "failed"]
    assert failed == ["split-digits.ngm-sgd.0000"]
    rest = {run: outcome for run, outcome in ended.items() if run not in failed}
    again = arms_of(tmp_path / "a", rest)
    assert list(search(again, [flat, flat, lambda _: 0.9])) == failed
    assert lengths(again) == [30] * 3
    assert [arm.on_plateau for arm in again] == [False] * 3


def test_a_plateau_that_is_none_any_more_is_forgotten(tmp_path: Path) -> None:
    """Of trials that failed and are run again: the report would call the search complete."""
    results = Results(str(tmp_path / "results"))
    results.create()
    results.write_environment({"platform": "here"})
    arms = arms_of(tmp_path / "a")
    ended = search(arms, [flat, flat, flat])
    note_ends(results.location, arms)
    assert results.environment() == {"platform": "here", "plateaus": {"split-digits": 8}}
    rest = {run: outcome for run, outcome in ended.items() if not run.endswith("0007")}
    again = arms_of(tmp_path / "b", rest)
    note_ends(results.location, again)
    assert results.environment() == {"platform": "here", "plateaus": {}}
    search(again, [flat, flat, lambda number: 0.95 if number == 7 else 0.8])
    note_ends(results.location, again)
    assert results.environment()["plateaus"] == {"split-digits": 12}


def test_with_racing_as_many_runs_of_seeds_are_regarded(tmp_path: Path) -> None:
    arms = arms_of(tmp_path / "a", racing={}, seeds=2, plateau={"trials": 6})
    search(arms, [flat, flat, flat])
    assert lengths(arms) == [24] * 3
