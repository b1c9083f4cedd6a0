"""The table of methods."""

from __future__ import annotations

from pathlib import Path

import pytest

from ngm_tune.analysis.loaded_study import LoadedStudy
from ngm_tune.analysis.statistics.answer import answers
from ngm_tune.analysis.statistics.choice import choose
from ngm_tune.analysis.statistics.methods import methods_table
from tests.helpers.made_up import STUDY, MadeUp


def test_hypervolumes_and_optimism_compare_search_and_confirmation(made: MadeUp) -> None:
    made.trial(0, (0.9, 0.1))
    made.trial(1, (0.8, 0.3), status="failed")
    made.trial(0, (0.85, 0.15), phase="confirm")
    loaded = made.load()
    row = methods_table(loaded, choose(loaded)).filter(method="sgd").to_dicts()[0]
    assert (row["trials"], row["confirmed_trials"]) == (2, 1)
    assert row["hypervolume"] == pytest.approx(0.85 * 0.85)
    assert row["optimism_avg_acc"] == pytest.approx(0.05)
    assert row["optimism_avg_sg"] == pytest.approx(0.05)


def test_stopped_trials_are_counted(made: MadeUp) -> None:
    made.trial(0, (0.5, 0.5))
    made.trial(1, (0.99, 0.0), status="stopped", iterations=40)
    row = methods_table(made.load(), []).filter(method="sgd").to_dicts()[0]
    assert (row["completed"], row["stopped"]) == (1, 1)


def test_infeasible_trials_are_counted(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, 'constraints = ["avg_acc >= 0.8"]\n')
    made.trial(0, (0.9, 0.5))
    made.trial(1, (0.7, 0.0))
    assert methods_table(made.load(), []).filter(method="sgd")["infeasible"].to_list() == [1]


def test_a_single_seed_has_no_standard_deviation(tmp_path: Path) -> None:
    study = STUDY.replace("seeds = 3", "seeds = 1").replace("seeds = 2", "seeds = 1")
    made = MadeUp(tmp_path, study=study.replace("trials = 8", "trials = 1"))
    made.trial(0, (0.9, 0.3), seeds=[0])
    made.confirmed("split-digits.sgd.0000.confirm", [(0.8, 0.4)])
    (row,) = methods_table(made.load(), []).to_dicts()
    assert row["hypervolume"] == pytest.approx(0.8 * 0.6)
    assert row["hypervolume_se"] is None


def test_failed_and_diverged_trials_of_a_study_are_counted(loaded: LoadedStudy) -> None:
    table = methods_table(loaded, choose(loaded))
    assert table.height == 8
    raises = table.filter(method="raises").to_dicts()
    assert [row["failed"] for row in raises] == [2, 2]
    assert all(row["chosen"] is None and row["hypervolume"] == 0.0 for row in raises)
    assert table.filter(method="diverges")["diverged"].to_list() == [2, 2]
    assert len(answers(loaded)) == 2
