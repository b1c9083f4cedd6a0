"""Quantities over the iterations of runs."""

from __future__ import annotations

import polars as pl
import pytest

from ngm_tune.analysis.statistics.traces import summarize_seeds, task_starts, thin


def test_tasks_start_after_the_last_iteration_of_the_task_before() -> None:
    rows = pl.DataFrame({"task": [0, 0, 1, 1, 2], "iteration": [5, 10, 15, 20, 30]})
    assert task_starts(rows) == {1: 11, 2: 21}


def test_thinning_keeps_every_iteration_after_a_transition() -> None:
    rows = pl.DataFrame({"trial_id": "a", "iteration": range(1, 20_001)})
    iterations = thin(rows, [10_001])["iteration"].to_list()
    assert iterations[:61] == list(range(1, 62))
    assert set(range(10_001, 10_062)) <= set(iterations)
    assert 5_000 in iterations
    assert 5_001 not in iterations
    assert len(iterations) < 2_200


def test_seeds_are_summarized_by_mean_and_range() -> None:
    rows = pl.DataFrame({"trial_id": "a", "iteration": 1, "value": [0.1, 0.2, 0.6]})
    (row,) = summarize_seeds(rows, {"a": "SGD"}, ["iteration"], "value").to_dicts()
    assert row == {
        "Method": "SGD",
        "iteration": 1,
        "mean": pytest.approx(0.3),
        "low": 0.1,
        "high": 0.6,
    }
