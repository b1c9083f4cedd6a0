"""The examples that the trials of a search and of a confirmation receive."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ngm_tune.benchmarks import TaskSplit
from ngm_tune.execution import runner
from ngm_tune.execution.runner import Data
from ngm_tune.execution.split_cache import SplitCache
from ngm_tune.execution.stopper import StudyStopper
from ngm_tune.execution.trial_config import build_trial_config
from ngm_tune.execution.trial_training import TrialTraining
from ngm_tune.search.run_spec import Phase, RunSpec
from ngm_tune.search.schedule import Schedule
from ngm_tune.study.files import load_study
from ngm_tune.study.plan import StudyPlan
from ngm_tune.study.study import Study
from ngm_tune.workspace.resume import open_study
from tests.helpers.training import DIGITS


class Capture:
    """An executor that trains nothing and stores the data that it receives."""

    data: Data

    def run_trials(
        self,
        plan: StudyPlan,
        location: str,
        schedule: Schedule,
        data: Data,
        stopper: StudyStopper,
        time_budget: timedelta | None,
    ) -> bool:
        self.data = data
        return False

    def call(self, study: Study, function: Callable[[], list[dict[str, Any]]]) -> Any:
        raise AssertionError("the study measures no costs")


def load_splits(location: Path, phase: Phase, *changes: str) -> tuple[TaskSplit, TaskSplit]:
    """Return the training and evaluation examples of the trials of a phase."""
    common = ("searches=1", "class_order=paper", "confirm={}")
    plan = StudyPlan.resolve(load_study("quickstart", [*common, *changes]))
    executor = Capture()
    with open_study(plan, str(location)) as sources:
        runner.run(plan, str(location), sources, executor, StudyStopper())
    spec = RunSpec(
        benchmark="split-digits",
        method="sgd",
        repetition=0,
        phase=phase,
        run_id="split-digits.sgd.0000",
        seeds=(0,),
        trial_id="split-digits.sgd.0000",
        hyperparameters={"lr": 0.1},
        coordinates={},
    )
    training = TrialTraining(
        build_trial_config(plan, str(location), spec), SplitCache(executor.data.__getitem__, "cpu")
    )
    (run, *_) = training.runs
    return run.train, run._evaluator._split


def images(split: TaskSplit) -> list[bytes]:
    """Return the bytes of each image of a split."""
    return [image.numpy().tobytes() for image in split.materialized().inputs]


@pytest.mark.parametrize("split", ["drawn", "fixed"])
def test_a_search_never_sees_test_data(tmp_path: Path, split: str) -> None:
    train, evaluation = load_splits(
        tmp_path / "study", "search", "eval_examples=9", f"split={split!r}"
    )
    everything = {*images(DIGITS.train), *images(DIGITS.validation)}
    assert len(train.labels) == len(DIGITS.train.labels)
    assert {*images(train), *images(evaluation)} < everything
    assert not {*images(train)} & {*images(evaluation)}
    assert ({*images(train)} == {*images(DIGITS.train)}) == (split == "fixed")
    assert evaluation.sizes == (9,) * 5


@pytest.mark.parametrize(
    ("changes", "evaluated"),
    [
        (["eval_examples=9"], "all"),  # eval_examples applies to searches only
        (['methods=["sgd"]', "trials=1", "settings.sgd.lr=0.1"], "all"),
        (['methods=["sgd"]', "trials=1", "settings.sgd.lr=0.1", "eval_examples=9"], "9"),
    ],
)
def test_confirmations_and_fixed_runs_use_all_training_data_and_the_test_data(
    tmp_path: Path, changes: list[str], evaluated: str
) -> None:
    train, evaluation = load_splits(tmp_path / "study", "confirm", *changes)
    both = [*images(DIGITS.train), *images(DIGITS.validation)]
    assert sorted(images(train)) == sorted(both)
    expected = DIGITS.test if evaluated == "all" else DIGITS.test.capped(9)
    assert images(evaluation) == images(expected)
