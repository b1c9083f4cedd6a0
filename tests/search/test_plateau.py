"""Plateaus: the searches of a benchmark end together when none of them improves."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from ngm_tune.execution.runner import record_early_ends
from ngm_tune.metrics.pareto import hypervolume
from ngm_tune.results.directory import Results
from tests.helpers.plateaus import count_runs, flat, make_searches, rising, run_searches, slow


@pytest.mark.parametrize("max_concurrent_trials", [1, 3])
def test_all_methods_end_after_the_same_number_of_runs(
    tmp_path: Path, max_concurrent_trials: int
) -> None:
    searches = make_searches(tmp_path / "a", max_concurrent_trials=max_concurrent_trials)
    run_searches(searches, [flat, slow, flat])
    (end,) = set(count_runs(searches))
    assert 2 * 4 < end < 30
    assert [search.total for search in searches] == [end] * 3
    assert all(search.complete for search in searches)


def test_no_search_ends_before_twice_its_patience(tmp_path: Path) -> None:
    for window in (1, 4, 7):
        searches = make_searches(tmp_path / str(window), plateau={"patience": window})
        run_searches(searches, [flat, flat, flat])
        assert count_runs(searches) == [2 * window] * 3


def test_one_improving_method_keeps_all_searches_running(tmp_path: Path) -> None:
    searches = make_searches(tmp_path / "a")
    run_searches(searches, [flat, flat, rising])
    assert count_runs(searches) == [30, 30, 30]


def test_searches_end_when_the_growth_falls_below_min_improvement(tmp_path: Path) -> None:
    searches = make_searches(tmp_path / "a", plateau={"patience": 4, "min_improvement": 0.05})
    run_searches(searches, [slow, slow, slow])
    (end,) = set(count_runs(searches))
    reference = {"avg_acc": 0.1, "avg_sg": 1.0}

    def growth(runs: int) -> float:
        now, before = (
            hypervolume([(slow(runs - back), 0.1)], searches[0]._objectives, reference)
            for back in (1, 5)
        )
        return (now - before) / now

    assert growth(end) < 0.05 <= growth(end - 1)


def test_a_method_without_hypervolume_does_not_keep_other_searches_running(tmp_path: Path) -> None:
    searches = make_searches(tmp_path / "a")
    run_searches(searches, [flat, flat, lambda _: 0.05])  # below the reference point
    assert count_runs(searches) == [8, 8, 8]


def test_searches_do_not_end_while_no_method_has_hypervolume(tmp_path: Path) -> None:
    searches = make_searches(tmp_path / "a")
    run_searches(searches, [lambda _: 0.05] * 3)  # below the reference point
    assert count_runs(searches) == [30, 30, 30]


def test_each_benchmark_ends_independently(tmp_path: Path) -> None:
    searches = make_searches(tmp_path / "a", benchmarks=["split-digits", "rotated-digits"])
    run_searches(searches, [*[flat] * 3, *[rising] * 3])
    assert count_runs(searches) == [8, 8, 8, 30, 30, 30]


@pytest.mark.parametrize("stop", [20, 26, 38, 47, 53])
def test_an_interrupted_search_ends_after_the_same_number_of_runs(
    tmp_path: Path, stop: int
) -> None:
    """Some interruptions come when only some of the methods are on their plateau."""
    curves = [flat, rising, slow]
    changes: dict[str, Any] = {
        "plateau": {"patience": 4, "min_improvement": 0.08},
        "max_concurrent_trials": 2,
    }
    whole = make_searches(tmp_path / "whole", **changes)
    ends = run_searches(whole, curves)
    assert len(set(count_runs(whole))) == 1
    assert 16 < count_runs(whole)[0] < 30
    first = make_searches(tmp_path / "a", **changes)
    finished = run_searches(first, curves, most=stop)
    for search in first:
        search.close()
    second = make_searches(tmp_path / "a", finished, **changes)
    later = run_searches(second, curves)
    assert count_runs(second) == count_runs(whole)
    assert {**finished, **later} == ends


def test_an_ended_search_stays_ended_on_resume(tmp_path: Path) -> None:
    ends = run_searches(make_searches(tmp_path / "a"), [slow, flat, flat])
    again = make_searches(tmp_path / "a", ends)
    assert [search.ask() for search in again] == [None] * 3
    assert all(search.complete for search in again)
    assert sum(count_runs(again)) == len(ends)


def test_re_running_a_failed_run_does_not_shorten_its_search(
    tmp_path: Path,
) -> None:
    """With its new outcome, the searches would have ended on an early plateau."""

    def failing_first(number: int) -> float:
        return rising(number) if number else math.nan

    searches = make_searches(tmp_path / "a")
    outcomes = run_searches(searches, [flat, flat, failing_first])
    for search in searches:
        search.close()
    failed = [run for run, outcome in outcomes.items() if outcome.finite().status == "failed"]
    assert failed == ["split-digits.ngm-sgd.0000"]
    rest = {run: outcome for run, outcome in outcomes.items() if run not in failed}
    again = make_searches(tmp_path / "a", rest)
    assert list(run_searches(again, [flat, flat, lambda _: 0.9])) == failed
    assert count_runs(again) == [30] * 3
    assert [search.on_plateau for search in again] == [False] * 3


def test_a_plateau_that_no_longer_holds_is_removed_from_the_environment(tmp_path: Path) -> None:
    """Otherwise the report would call a search complete whose failed trials are re-run."""
    results = Results(str(tmp_path / "results"))
    results.create()
    results.write_environment({"platform": "here"})
    searches = make_searches(tmp_path / "a")
    outcomes = run_searches(searches, [flat, flat, flat])
    record_early_ends(results.location, searches)
    assert results.read_environment() == {"platform": "here", "plateaus": {"split-digits": 8}}
    rest = {run: outcome for run, outcome in outcomes.items() if not run.endswith("0007")}
    again = make_searches(tmp_path / "b", rest)
    record_early_ends(results.location, again)
    assert results.read_environment() == {"platform": "here", "plateaus": {}}
    run_searches(again, [flat, flat, lambda number: 0.95 if number == 7 else 0.8])
    record_early_ends(results.location, again)
    assert results.read_environment()["plateaus"] == {"split-digits": 12}


def test_with_racing_patience_counts_the_runs_of_all_seeds(tmp_path: Path) -> None:
    searches = make_searches(tmp_path / "a", racing={}, seeds=2, plateau={"patience": 6})
    run_searches(searches, [flat, flat, flat])
    assert count_runs(searches) == [24] * 3
