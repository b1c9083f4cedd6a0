"""The end of searches that gain nothing more: for all methods of a benchmark together."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from ngm_tune.execution.runner import note_ends
from ngm_tune.metrics.pareto import hypervolume
from ngm_tune.results.directory import Results
from tests.helpers.plateaus import flat, lengths, rising, search, searches_of, slow


@pytest.mark.parametrize("max_concurrent_trials", [1, 3])
def test_all_methods_end_after_the_same_number_of_runs(
    tmp_path: Path, max_concurrent_trials: int
) -> None:
    arms = searches_of(tmp_path / "a", max_concurrent_trials=max_concurrent_trials)
    search(arms, [flat, slow, flat])
    (end,) = set(lengths(arms))
    assert 2 * 4 < end < 30
    assert [arm.total for arm in arms] == [end] * 3
    assert all(arm.complete for arm in arms)


def test_no_search_ends_before_twice_its_patience(tmp_path: Path) -> None:
    for window in (1, 4, 7):
        arms = searches_of(tmp_path / str(window), plateau={"patience": window})
        search(arms, [flat, flat, flat])
        assert lengths(arms) == [2 * window] * 3


def test_one_improving_method_keeps_all_searches_running(tmp_path: Path) -> None:
    arms = searches_of(tmp_path / "a")
    search(arms, [flat, flat, rising])
    assert lengths(arms) == [30, 30, 30]


def test_searches_end_when_the_growth_falls_below_min_improvement(tmp_path: Path) -> None:
    arms = searches_of(tmp_path / "a", plateau={"patience": 4, "min_improvement": 0.05})
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


def test_a_method_without_hypervolume_does_not_keep_other_searches_running(tmp_path: Path) -> None:
    arms = searches_of(tmp_path / "a")
    search(arms, [flat, flat, lambda _: 0.05])  # below the reference point
    assert lengths(arms) == [8, 8, 8]


def test_searches_do_not_end_while_no_method_has_hypervolume(tmp_path: Path) -> None:
    arms = searches_of(tmp_path / "a")
    search(arms, [lambda _: 0.05] * 3)  # below the reference point
    assert lengths(arms) == [30, 30, 30]


def test_each_benchmark_ends_independently(tmp_path: Path) -> None:
    arms = searches_of(tmp_path / "a", benchmarks=["split-digits", "rotated-digits"])
    search(arms, [*[flat] * 3, *[rising] * 3])
    assert lengths(arms) == [8, 8, 8, 30, 30, 30]


@pytest.mark.parametrize("stop", [20, 26, 38, 47, 53])
def test_an_interrupted_search_ends_after_the_same_number_of_runs(
    tmp_path: Path, stop: int
) -> None:
    """Also where one method was on its plateau when it was interrupted, and others not."""
    curves = [flat, rising, slow]
    changes: dict[str, Any] = {
        "plateau": {"patience": 4, "min_improvement": 0.08},
        "max_concurrent_trials": 2,
    }
    whole = searches_of(tmp_path / "whole", **changes)
    ends = search(whole, curves)
    assert len(set(lengths(whole))) == 1
    assert 16 < lengths(whole)[0] < 30
    first = searches_of(tmp_path / "a", **changes)
    finished = search(first, curves, most=stop)
    for arm in first:
        arm.close()
    second = searches_of(tmp_path / "a", finished, **changes)
    later = search(second, curves)
    assert lengths(second) == lengths(whole)
    assert {**finished, **later} == ends


def test_an_ended_search_stays_ended_on_resume(tmp_path: Path) -> None:
    ends = search(searches_of(tmp_path / "a"), [slow, flat, flat])
    again = searches_of(tmp_path / "a", ends)
    assert [arm.ask() for arm in again] == [None] * 3
    assert all(arm.complete for arm in again)
    assert sum(lengths(again)) == len(ends)


def test_re_running_a_failed_run_does_not_shorten_its_search(
    tmp_path: Path,
) -> None:
    """What it turns out to find, at its place, would have been a plateau long before."""

    def failing_first(number: int) -> float:
        return rising(number) if number else math.nan

    arms = searches_of(tmp_path / "a")
    ended = search(arms, [flat, flat, failing_first])
    for arm in arms:
        arm.close()
    failed = [run for run, outcome in ended.items() if outcome.finite().status == "failed"]
    assert failed == ["split-digits.ngm-sgd.0000"]
    rest = {run: outcome for run, outcome in ended.items() if run not in failed}
    again = searches_of(tmp_path / "a", rest)
    assert list(search(again, [flat, flat, lambda _: 0.9])) == failed
    assert lengths(again) == [30] * 3
    assert [arm.on_plateau for arm in again] == [False] * 3


def test_a_plateau_that_no_longer_holds_is_removed_from_the_environment(tmp_path: Path) -> None:
    """Of trials that failed and are run again: the report would call the search complete."""
    results = Results(str(tmp_path / "results"))
    results.create()
    results.write_environment({"platform": "here"})
    arms = searches_of(tmp_path / "a")
    ended = search(arms, [flat, flat, flat])
    note_ends(results.location, arms)
    assert results.environment() == {"platform": "here", "plateaus": {"split-digits": 8}}
    rest = {run: outcome for run, outcome in ended.items() if not run.endswith("0007")}
    again = searches_of(tmp_path / "b", rest)
    note_ends(results.location, again)
    assert results.environment() == {"platform": "here", "plateaus": {}}
    search(again, [flat, flat, lambda number: 0.95 if number == 7 else 0.8])
    note_ends(results.location, again)
    assert results.environment()["plateaus"] == {"split-digits": 12}


def test_with_racing_patience_counts_the_runs_of_all_seeds(tmp_path: Path) -> None:
    arms = searches_of(tmp_path / "a", racing={}, seeds=2, plateau={"patience": 6})
    search(arms, [flat, flat, flat])
    assert lengths(arms) == [24] * 3
