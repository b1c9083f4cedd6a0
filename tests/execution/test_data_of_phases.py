"""The examples that the trials of a search and of a confirmation receive."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ngm_tune.execution import runner
from ngm_tune.execution.runner import Data
from ngm_tune.execution.split_cache import Arrays
from ngm_tune.execution.stopper import StudyStopper
from ngm_tune.search.run_spec import Phase
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


def load_arrays(location: Path, phase: Phase, *changes: str) -> Arrays:
    """Return the arrays that an executor receives for the trials of a phase."""
    plan = StudyPlan.resolve(load_study("quickstart", changes))
    executor = Capture()
    with open_study(plan, str(location)) as sources:
        runner.run(plan, str(location), sources, executor, StudyStopper())
    return executor.data[phase, "split-digits"]


def images(split: tuple[Any, ...]) -> list[bytes]:
    """Return the bytes of each image of a split."""
    return [image.tobytes() for image in split[0]]


def test_a_search_never_sees_test_data(tmp_path: Path) -> None:
    searched = load_arrays(tmp_path / "study", "search", "eval_examples=9")
    assert np.array_equal(searched["train"][0], DIGITS.train.inputs.numpy())
    assert set(images(searched["evaluation"])) < set(images(DIGITS.validation.arrays()))
    assert searched["evaluation"][2] == (9,) * 5
    assert not set(images(searched["train"])) & set(images(DIGITS.test.arrays()))


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
    confirmed = load_arrays(tmp_path / "study", "confirm", *changes)
    both = [*images(DIGITS.train.arrays()), *images(DIGITS.validation.arrays())]
    assert sorted(images(confirmed["train"])) == sorted(both)
    expected = DIGITS.test if evaluated == "all" else DIGITS.test.capped(9)
    assert np.array_equal(confirmed["evaluation"][0], expected.inputs.numpy())
