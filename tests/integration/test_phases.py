"""Complete studies with constraints and warm starts, and resuming them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import optuna
import polars as pl
import pytest
from optuna.trial import FrozenTrial, TrialState

from ngm_tune.metrics.pareto import on_front
from ngm_tune.metrics.registry import METRICS
from ngm_tune.search.optuna_journal import open_storage
from ngm_tune.study.files import load_study
from tests.conftest import Finished
from tests.helpers.commands import Command
from tests.helpers.interrupting import advance_clock_per_task, interrupt_before_task

pytestmark = pytest.mark.slow

QUICK = (
    *("run", "quickstart", "--set", 'methods=["ngm-sgd", "sgd"]', "--set", "searches=1"),
    *("--set", "split=fixed", "--set", "class_order=paper"),
    *("--set", "reference_point={ avg_acc = 0.1, avg_sg = 1.0 }"),
)
WHOLE = (
    *(*QUICK, "--set", "trials=6", "--set", "seeds=1", "--set", "iterations_per_task=120"),
    *("--set", 'constraints=["avg_acc <= 0.945"]'),
    *("--set", "confirm={ max_configurations = 2, seeds = 2 }"),
)
"""The constraint is an upper bound: it excludes the trial with the highest accuracy, which would
otherwise be on the front."""

SMALLER = (*WHOLE, "--set", "trials=3", "--set", "confirm.max_configurations=1")
TABLES = ("trials", "tasks", "curves", "steps")
OBJECTIVES = [METRICS["avg_acc"], METRICS["avg_sg"]]


@pytest.fixture(scope="module")
def whole(ngm_tune: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the study without interruption. Tests do not change them."""
    location = tmp_path_factory.mktemp("results") / "whole"
    done = ngm_tune(*WHOLE, "--results", location)
    assert (done.code, done.err) == (0, "")
    return location


def test_the_search_record_has_violations(whole: Path) -> None:
    rows = {row["trial_id"]: row for row in read(whole, "trials").to_dicts()}
    for recorded in records(whole).values():
        assert len(recorded) == 6
        for trial in recorded:
            row = rows[trial.user_attrs["trial_id"]]
            assert trial.state == TrialState.COMPLETE
            if row["status"] == "completed":
                assert list(trial.constraints.values()) == pytest.approx([row["avg_acc"] - 0.945])


def test_infeasible_trials_are_not_confirmed(whole: Path) -> None:
    trials = read(whole, "trials")
    confirmed = set(trials.filter(phase="confirm")["trial_id"].str.strip_suffix(".confirm"))
    excluded = 0
    for _, completed in trials.filter(phase="search", status="completed").group_by("method"):
        feasible = completed.filter(pl.col("avg_acc") <= 0.945)
        excluded += len(front(completed) - front(feasible))
        of_method = confirmed & set(completed["trial_id"])
        assert of_method <= set(feasible["trial_id"])
        assert 0 < len(of_method) <= 2
    assert excluded > 0  # the bound has an effect


def test_an_interrupted_search_resumes_with_the_same_results(
    tmp_path: Path, ngm_tune: Command, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NGM_TUNE_CHECKPOINT_SECONDS", "0")
    kept: dict[str, int] = {}
    for how, code, sentence in (
        (advance_clock_per_task(), 0, "The time budget ended the study with 2 of"),
        (interrupt_before_task(1), 130, "Stopped with 2 of"),
        (interrupt_before_task(17), 130, "Stopped with "),  # within a run of the search
        (interrupt_before_task(25), 130, "Stopped with "),
    ):
        budget = ("--time-budget", "0.003") if code == 0 else ()  # ten tasks
        with how:
            stopped = ngm_tune(*WHOLE, "--results", tmp_path, *budget)
        assert (stopped.code, stopped.err) == (code, "")
        assert sentence in stopped.out
        assert "The same command resumes " in stopped.out
        assert TrialState.RUNNING not in states(tmp_path)
        assert not (tmp_path / "driver.json").exists()
        assert kept.items() <= written(tmp_path).items()
        kept = written(tmp_path)
        assert 0 < len(kept) < len(written(whole))
    resumed = ngm_tune(*WHOLE, "--results", tmp_path)
    assert (resumed.code, resumed.err) == (0, "")
    assert f"{len(kept)} runs already done" in resumed.out
    assert kept.items() <= written(tmp_path).items()
    assert TrialState.RUNNING not in states(tmp_path)
    for table in TABLES:
        assert read(tmp_path, table).equals(read(whole, table))


def test_more_trials_and_confirmations_extend_a_study(
    tmp_path: Path, ngm_tune: Command, whole: Path
) -> None:
    assert ngm_tune(*SMALLER, "--results", tmp_path).code == 0
    kept = written(tmp_path)
    extended = ngm_tune(*WHOLE, "--results", tmp_path)
    assert (extended.code, extended.err) == (0, "")
    assert kept.items() < written(tmp_path).items()
    # The confirmation of the smaller study stays; all other rows are as in the whole study.
    same = pl.col("trial_id").is_in(read(whole, "trials")["trial_id"].implode())
    for table in TABLES:
        assert read(tmp_path, table).filter(same).equals(read(whole, table))


def test_resume_refuses_fewer_trials(whole: Path, ngm_tune: Command) -> None:
    before = written(whole)
    refused = ngm_tune(*SMALLER, "--results", whole)
    assert (refused.code, refused.out) == (2, "")
    assert "trials = 6, which cannot be lowered to 3" in refused.err
    assert refused.err.count("\n") == 1
    assert written(whole) == before


@pytest.fixture(scope="module")
def warm(ngm_tune: Command, finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of a study with a warm start from the results of the small study."""
    location = tmp_path_factory.mktemp("results") / "warm"
    done = ngm_tune(
        *(*QUICK, "--set", "trials=4", "--set", "seeds=1", "--set", "iterations_per_task=10"),
        *("--set", "confirm={ max_configurations = 1, seeds = 1 }"),
        *("--warm-start", finished.location, "--results", location),
    )
    assert (done.code, done.err) == (0, "")
    assert f"configurations of {finished.location}" in done.out
    return location


def test_a_warm_start_first_tries_the_best_configurations_of_other_results(
    warm: Path, finished: Finished
) -> None:
    points = [
        p for p in load_study(str(warm / "study.toml")).points_to_evaluate if isinstance(p, dict)
    ]
    assert {point["method"] for point in points} == {"ngm-sgd", "sgd"}
    trials, others = read(warm, "trials"), read(finished.location, "trials")
    for method in ("ngm-sgd", "sgd"):
        of_method = [point for point in points if point["method"] == method]
        for number, point in enumerate(of_method):
            settings = {k: v for k, v in point.items() if k not in ("method", "benchmark")}
            first = trials.filter(trial_id=f"split-digits.{method}.{number:04d}").to_dicts()[0]
            tried = {name: first[f"config_{name}"] for name in settings}
            assert tried == pytest.approx(settings, rel=1e-12)
            source = others.filter(pl.col("config_lr") == settings["lr"], status="completed")
            assert set(source["method"]) == {method}
            assert "split-digits" in set(source["benchmark"])


def front(trials: pl.DataFrame) -> set[str]:
    """Return the ids of the trials that no other trial dominates."""
    values = trials.select("avg_acc", "avg_sg").to_numpy()
    return set(np.array(trials["trial_id"])[on_front(values, OBJECTIVES)].tolist())


def records(location: Path) -> dict[str, list[FrozenTrial]]:
    """Return the Optuna trials by the name of their Optuna study."""
    storage = open_storage(location / "optuna.journal")
    return {
        name: optuna.load_study(study_name=name, storage=storage).trials
        for name in optuna.get_all_study_names(storage)
    }


def states(location: Path) -> set[TrialState]:
    return {trial.state for trials in records(location).values() for trial in trials}


def written(location: Path) -> dict[str, int]:
    """Return the modification time of the file of each run, by file name."""
    return {path.name: path.stat().st_mtime_ns for path in location.glob("trials/*.parquet")}


def read(location: Path, table: str) -> pl.DataFrame:
    """Return a sorted table of the results, without the columns that differ between runs."""
    frame = pl.read_parquet(location / table / "*.parquet").drop(
        "wall_seconds", "node", strict=False
    )
    key = ("trial_id", "seed", "task", "iteration", "eval_task")
    return frame.sort(name for name in key if name in frame.columns)
