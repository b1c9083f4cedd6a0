"""Studies in this process: interrupts, time budgets and errors lose no results."""

from __future__ import annotations

import logging
import os
from datetime import timedelta
from pathlib import Path

import pytest
import torch

from ngm_tune.errors import UserError
from ngm_tune.execution.driver import drive
from ngm_tune.execution.summary import StudySummary
from ngm_tune.study.files import load_study
from tests.helpers.comparing import assert_same_results
from tests.helpers.interrupting import advance_clock_per_task, interrupt_before_task

TASKS = 5 * 2
"""Number of tasks of a run of a search: the five of Split-Digits with two seeds."""
ALL_TASKS = 4 * TASKS + 2 * 5
"""Number of tasks of the study: for two methods, two runs and a confirmation with one seed."""

STUDY = load_study(
    "quickstart",
    [
        'methods=["ngm-sgd", "sgd"]',
        *("searches=1", "trials=2", "seeds=2", "iterations_per_task=10"),
        "confirm={ max_configurations = 1, seeds = 1 }",
    ],
)


def run(location: Path, time_budget: timedelta | None = None) -> StudySummary:
    return drive(STUDY, str(location), executor="local", time_budget=time_budget)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the study without interruption."""
    location = tmp_path_factory.mktemp("results") / "whole"
    summary = run(location)
    assert summary.complete
    assert (summary.done, summary.failed) == (6, 0)
    return location


@pytest.fixture(autouse=True)
def _checkpoint_after_every_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NGM_TUNE_CHECKPOINT_SECONDS", "0")


def files(location: Path, table: str = "trials") -> dict[str, int]:
    """Return the modification time of each file of a table, by file name."""
    return {path.name: path.stat().st_mtime_ns for path in location.glob(f"{table}/*")}


def test_a_time_budget_ends_between_tasks_and_the_study_resumes(
    tmp_path: Path, whole: Path
) -> None:
    with advance_clock_per_task():  # five of the first run, two of the second
        summary = run(tmp_path / "study", timedelta(seconds=7.5))
    assert summary.timed_out
    assert not summary.complete
    assert summary.done == 1
    kept = files(tmp_path / "study")
    assert len(files(tmp_path / "study", "checkpoints")) == 1
    resumed = run(tmp_path / "study")
    assert resumed.complete
    assert not resumed.timed_out
    assert kept.items() <= files(tmp_path / "study").items()
    assert_same_results(tmp_path / "study", whole)


def test_a_time_budget_saves_tasks_since_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NGM_TUNE_CHECKPOINT_SECONDS", "1000")
    with advance_clock_per_task():
        run(tmp_path / "study", timedelta(seconds=2.5))
    assert len(files(tmp_path / "study", "checkpoints")) == 1


def test_an_unused_time_budget_does_not_change_a_study(tmp_path: Path, whole: Path) -> None:
    summary = run(tmp_path / "study", timedelta(hours=1))
    assert summary.complete
    assert not summary.timed_out
    assert_same_results(tmp_path / "study", whole)


@pytest.mark.parametrize("task", [1, TASKS + 4, 4 * TASKS + 2])
def test_an_interrupt_loses_no_checkpoint_and_the_study_resumes(
    tmp_path: Path, whole: Path, task: int
) -> None:
    """The interrupt comes in the first task, between two seeds of a trial, or in a confirmation."""
    location = tmp_path / "study"
    with interrupt_before_task(task):
        assert not run(location).complete
    kept = files(location)
    assert len(kept) == (task - 1) // TASKS
    assert len(files(location, "checkpoints")) == (task > 1)
    assert not (location / "driver.json").exists()
    with interrupt_before_task(ALL_TASKS - (task - 1) + 1):  # raises if a task is trained twice
        assert run(location).complete
    assert kept.items() <= files(location).items()
    assert_same_results(location, whole)
    assert files(location, "checkpoints") == {}


def test_results_that_cannot_be_written_stop_the_study_with_one_sentence(
    tmp_path: Path, whole: Path
) -> None:
    location = tmp_path / "study"
    location.mkdir()
    (location / "curves").write_text("a file where a folder should be")
    with pytest.raises(UserError) as stopped:
        run(location)
    sentence = str(stopped.value)
    assert str(location) in sentence
    assert "the study can be resumed once that is fixed" in sentence
    assert "\n" not in sentence
    assert files(location) == {}
    (location / "curves").unlink()
    assert run(location).complete
    assert_same_results(location, whole)


def test_a_damaged_checkpoint_is_logged_and_counted_and_its_trial_starts_over(
    tmp_path: Path, whole: Path, caplog: pytest.LogCaptureFixture
) -> None:
    location = tmp_path / "study"
    with interrupt_before_task(4):
        assert not run(location).complete
    (path,) = (location / "checkpoints").iterdir()
    os.truncate(path, 1000)
    with caplog.at_level(logging.WARNING, "ngm_tune"):
        summary = run(location)
    logged = [r for r in caplog.records if r.name == "ngm_tune.execution.trial_training"]
    assert [f"checkpoints/{path.name}: " in record.getMessage() for record in logged] == [True]
    assert len(summary.notices) == 1
    assert summary.notices[0].startswith("1 checkpoint")
    assert summary.complete
    assert_same_results(location, whole)


def test_the_local_executor_refuses_a_cluster_address(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--executor local uses no Ray cluster"):
        drive(STUDY, str(tmp_path / "study"), executor="local", address="auto")


def test_the_threads_of_this_process_are_restored(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    study = load_study(
        "quickstart",
        [
            *('methods=["sgd"]', "searches=1", "trials=1", "iterations_per_task=2"),
            *("resources={ cpu = 2 }", "confirm={ max_configurations = 0 }"),
        ],
    )
    assert drive(study, str(tmp_path / "study"), executor="local").complete
    assert torch.get_num_threads() == before
