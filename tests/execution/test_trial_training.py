"""Training of a trial without Ray: tasks, reports, checkpoints and problems."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ngm_tune.execution.trial_config import TrialConfig, build_trial_config
from ngm_tune.execution.trial_training import TrialTraining
from ngm_tune.results.directory import Results
from ngm_tune.results.outcome import Outcome
from ngm_tune.results.schema import Status
from ngm_tune.search.run_spec import Phase, RunSpec
from ngm_tune.study.files import load_study
from ngm_tune.study.plan import StudyPlan
from ngm_tune.training.checkpoints import pack, unpack
from tests.helpers.trials import (
    BENCHMARK,
    TABLES,
    count_trained_tasks,
    finish,
    list_checkpoints,
    load_splits,
    make_config,
    make_split_cache,
    read_rows,
)

Start = Callable[[TrialConfig], TrialTraining]


@pytest.fixture(scope="module")
def start() -> Start:
    """Start a trial as a new worker does: it continues from a checkpoint if one exists."""
    splits = make_split_cache(load_splits())
    return lambda config: TrialTraining(config, splits)


def outcome_of(training: TrialTraining) -> Outcome:
    outcome = finish(training).outcome
    assert outcome is not None
    return outcome


def test_one_step_is_one_task_for_every_seed(tmp_path: Path, start: Start) -> None:
    trial = start(make_config(tmp_path))
    reports = [trial.train_next_task() for _ in range(4)]
    assert [report.tasks for report in reports] == [1, 2, 3, 4]
    assert not any(report.done for report in reports)
    assert not (tmp_path / "trials").exists()
    last = trial.train_next_task()
    assert last.done
    assert last.outcome is not None
    assert last.outcome.status == Status.COMPLETED
    assert last.outcome.violation == ()
    stored = read_rows(tmp_path, "trials")
    means = [stored["avg_acc"].mean(), stored["avg_sg"].mean()]
    assert last.outcome.values == pytest.approx(means)
    # tasks/ has the metrics after each task; after the last one they are those of trials/.
    tasks = read_rows(tmp_path, "tasks").sort("seed", "task")
    assert tasks["task"].to_list() == [*range(5)] * 2
    after_the_last = tasks.filter(task=4).select("avg_acc", "avg_sg")
    assert after_the_last.equals(stored.sort("seed").select("avg_acc", "avg_sg"))


def test_the_outcome_has_the_violation_of_every_constraint(tmp_path: Path, start: Start) -> None:
    constraints = 'constraints=["avg_acc >= 0.5", "avg_sg <= 2.0"]'
    outcome = outcome_of(start(make_config(tmp_path, "sgd", constraints)))
    assert outcome.status == Status.COMPLETED
    assert outcome.values is not None
    expected = (0.5 - outcome.values[0], outcome.values[1] - 2.0)
    assert outcome.violation == pytest.approx(expected)


@pytest.mark.parametrize("tasks", [1, 3, 4])
def test_a_trial_continues_in_another_worker_and_ends_the_same(
    tmp_path: Path, start: Start, tasks: int
) -> None:
    expected = finish(start(make_config(tmp_path / "whole")))
    first = start(make_config(tmp_path / "parts"))
    for _ in range(tasks):
        first.train_next_task()
    second = start(make_config(tmp_path / "parts"))
    assert count_trained_tasks(second) == [tasks, tasks]
    assert repr(finish(second)) == repr(expected)  # by repr, since NaN equals no number
    for table in TABLES:
        assert read_rows(tmp_path / "parts", table).equals(read_rows(tmp_path / "whole", table))
    assert list_checkpoints(tmp_path / "parts") == []


def test_seeds_continue_from_different_tasks(tmp_path: Path, start: Start) -> None:
    """A worker can be lost between two seeds of the same task."""
    expected = finish(start(make_config(tmp_path / "whole")))
    first = start(make_config(tmp_path / "parts"))
    first.train_next_task()
    first.runs[0].train_task()
    first.save()
    second = start(make_config(tmp_path / "parts"))
    assert count_trained_tasks(second) == [2, 1]
    assert repr(finish(second)) == repr(expected)


@pytest.mark.parametrize(
    "damage",
    [
        "missing",
        "truncated",
        "other version",
        "former version",
        "other trial",
        "other seeds",
        "code",
    ],
)
def test_a_trial_with_an_unusable_checkpoint_starts_over(
    tmp_path: Path, start: Start, damage: str
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    expected = finish(start(make_config(whole)))
    start(make_config(broken)).train_next_task()
    (path,) = list_checkpoints(broken)
    identity, states = unpack(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        os.truncate(path, 1000)
    elif damage == "other version":  # of the state of the second seed only
        path.write_bytes(pack(identity, [states[0], {"model": {}, "optimizer": {}, "records": []}]))
    elif damage == "former version":  # without the identity of its trial
        torch.save(states, path)
    elif damage == "other trial":
        path.write_bytes(pack({**identity, "run_id": "split-digits.sgd.0007"}, states))
    elif damage == "other seeds":
        path.write_bytes(pack({**identity, "seeds": [8, 9]}, states))
    elif damage == "code":
        torch.save([Executed(tmp_path / "executed")], path)
    second = start(make_config(broken))
    assert count_trained_tasks(second) == [0, 0]
    assert (second.train_next_task().discarded_checkpoint is None) is (damage == "missing")
    assert repr(finish(second)) == repr(expected)
    assert not (tmp_path / "executed").exists()
    for table in TABLES:
        assert read_rows(broken, table).equals(read_rows(whole, table))


class Executed:
    """An object that creates a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_a_damaged_checkpoint_is_logged_and_reported_once(
    tmp_path: Path, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    start(make_config(tmp_path)).train_next_task()
    (path,) = list_checkpoints(tmp_path)
    os.truncate(path, 1000)
    with caplog.at_level(logging.WARNING, "ngm_tune.execution.trial_training"):
        trial = start(make_config(tmp_path))
    (record,) = caplog.records
    assert record.name == "ngm_tune.execution.trial_training"
    assert f"checkpoints/{BENCHMARK}.ngm-sgd.0000.pt: " in record.getMessage()
    discarded = [trial.train_next_task().discarded_checkpoint for _ in range(2)]
    assert discarded[0] is not None
    assert discarded[0] in record.getMessage()
    assert discarded[1] is None


def test_checkpoints_are_saved_at_the_requested_interval(tmp_path: Path, start: Start) -> None:
    trial = start({**make_config(tmp_path), "checkpoint_seconds": 1000.0})
    trial.train_next_task()
    assert list_checkpoints(tmp_path) == []


def test_an_interrupted_trial_saves_a_checkpoint(tmp_path: Path, start: Start) -> None:
    settings: TrialConfig = {**make_config(tmp_path), "checkpoint_seconds": 1000.0}
    trial = start(settings)
    trial.train_next_task()
    trial.save_progress()
    assert count_trained_tasks(start(settings)) == [1, 1]
    finish(trial)
    trial.save_progress()
    assert list_checkpoints(tmp_path) == []


def test_a_trial_without_new_tasks_keeps_the_existing_checkpoint(
    tmp_path: Path, start: Start
) -> None:
    used = start(make_config(tmp_path))
    used.train_next_task()
    unused = start(make_config(tmp_path))
    used.train_next_task()
    (path,) = list_checkpoints(tmp_path)
    newest = path.read_bytes()
    unused.save_progress()
    assert path.read_bytes() == newest


def test_an_unreadable_checkpoint_is_a_problem_of_the_study(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(make_config(tmp_path)).train_next_task()
    read = Results.read_bytes

    def failing(self: Results, name: str) -> bytes | None:
        if name.startswith("checkpoints/"):
            raise OSError(5, "Input/output error")
        return read(self, name)

    monkeypatch.setattr(Results, "read_bytes", failing)
    problem = start(make_config(tmp_path)).train_next_task().problem
    assert problem is not None
    assert "Input/output error" in problem
    assert len(list_checkpoints(tmp_path)) == 1
    assert not (tmp_path / "trials").exists()


def test_a_trial_with_written_rows_only_reports_its_outcome(tmp_path: Path, start: Start) -> None:
    """The worker was lost before the driver received the last report."""
    expected = outcome_of(start(make_config(tmp_path)))
    before = read_rows(tmp_path, "curves")
    outcome = start(make_config(tmp_path)).train_next_task().outcome
    assert outcome is not None
    assert outcome.status == Status.COMPLETED
    assert outcome.values == pytest.approx(expected.values)
    assert read_rows(tmp_path, "curves").equals(before)


def test_results_that_a_node_cannot_reach_are_a_problem_of_the_study(
    tmp_path: Path, start: Start
) -> None:
    settings = make_config(tmp_path)
    (tmp_path / "study.toml").unlink()
    report = start(settings).train_next_task()
    assert report.done
    assert report.problem is not None
    assert "every node must reach the results" in report.problem
    assert not (tmp_path / "trials").exists()


def test_results_that_cannot_be_written_are_a_problem_of_the_study(
    tmp_path: Path, start: Start
) -> None:
    trial = start(make_config(tmp_path))
    (tmp_path / "checkpoints").write_text("a file where a folder should be")
    report = trial.train_next_task()
    assert report.done
    assert report.problem is not None
    assert str(tmp_path) in report.problem
    assert not (tmp_path / "trials").exists()  # so the trial is run again


def test_diverged_seeds_have_the_worst_values(tmp_path: Path, start: Start) -> None:
    outcome = outcome_of(start(make_config(tmp_path, "sgd", lr=1e9)))
    assert (outcome.status, outcome.values) == (Status.DIVERGED, (0.0, 1.0))
    tasks = read_rows(tmp_path, "tasks", "sgd")
    assert set(tasks.select("avg_acc", "avg_sg").rows()) == {(0.0, 1.0)}
    assert tasks.height == 2 * 5
    stored = read_rows(tmp_path, "trials", "sgd")
    assert stored["status"].to_list() == ["diverged"] * 2
    assert stored["diverged_at"].null_count() == 0
    assert (stored["iterations"] == stored["diverged_at"]).all()


@pytest.mark.parametrize(("phase", "full"), [("search", False), ("confirm", True)])
def test_a_confirmation_is_evaluated_at_full_fidelity(
    tmp_path: Path, phase: Phase, full: bool
) -> None:
    study = load_study(
        "quickstart",
        ["eval_every=3", "eval_dense=4", "eval_precision=mixed", "eval_tasks=first-and-previous"],
    )
    spec = RunSpec(
        benchmark=BENCHMARK,
        method="sgd",
        repetition=0,
        phase=phase,
        run_id="t",
        seeds=(0,),
        trial_id="t",
        hyperparameters={"lr": 0.1},
        coordinates={"lr": 0.1},
    )
    config = build_trial_config(StudyPlan.resolve(study), str(tmp_path), spec)
    fidelity = (
        config["eval_every"],
        config["eval_dense"],
        config["eval_precision"],
        config["eval_tasks"],
    )
    assert fidelity == (
        (1, 0, "float32", "seen") if full else (3, 4, "mixed", "first-and-previous")
    )
