"""The answer of a study as data."""

from __future__ import annotations

from pathlib import Path

import pytest

from ngm_tune.analysis.statistics.answer import Answer, answers
from ngm_tune.analysis.statistics.verdict import Outcome
from tests.helpers.made_up import REPEATED, STUDY, MadeUp

SPLIT = "split-digits"
FIXED = STUDY.replace("trials = 8", "trials = 1") + "settings = { ngm-sgd = {}, sgd = {} }\n"
BETTER = [[(0.9, 0.10)], [(0.9, 0.11)], [(0.9, 0.12)]]
"""Confirmed points of three repetitions."""
WORSE = [[(0.9, 0.30)], [(0.9, 0.32)], [(0.9, 0.31)]]


def answer(made: MadeUp) -> Answer:
    (result,) = answers(made.load())
    return result


def test_methods_are_compared_over_repetitions(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, study=REPEATED)
    made.repetitions("ngm-sgd", BETTER)
    made.repetitions("sgd", WORSE)
    result = answer(made)
    volume, gap, accuracy = result.comparisons
    assert (result.n_replicates, result.confirmed, result.one_search) == (3, True, False)
    assert volume.differences == pytest.approx((0.9 * 0.20, 0.9 * 0.21, 0.9 * 0.19))
    assert gap.raw[0] == pytest.approx(-0.2)
    assert accuracy.estimate.mean == pytest.approx(0.0)
    assert [each.outcome for each in (volume, gap)] == [Outcome.BETTER] * 2
    best, other = result.hypervolumes
    assert (best.method, other.method) == ("ngm-sgd", "sgd")
    assert best.value == pytest.approx(0.9 * 0.89)
    assert best.error == pytest.approx(0.9 * 0.01 / 3**0.5)


def test_a_declared_margin_makes_methods_equivalent(tmp_path: Path) -> None:
    for name, margin, outcome in (
        ("narrow", "margin = { avg_acc = 0.01, avg_sg = 0.01 }", Outcome.BETTER),
        ("wide", "margin = { avg_acc = 0.5, avg_sg = 0.5 }", Outcome.EQUIVALENT),
    ):
        (tmp_path / name).mkdir()
        made = MadeUp(tmp_path / name, margin, study=REPEATED)
        made.repetitions("ngm-sgd", BETTER)
        made.repetitions("sgd", WORSE)
        assert answer(made).comparisons[0].outcome is outcome


def test_only_repetitions_that_every_method_has_completed_are_compared(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, study=REPEATED)
    made.repetitions("ngm-sgd", BETTER)
    made.repetitions("sgd", WORSE[:2])
    result = answer(made)
    assert (result.n_replicates, result.confirmed) == (2, True)
    assert {len(each.differences) for each in result.comparisons} == {2}


def test_a_single_repetition_has_an_interval_over_seeds(made: MadeUp) -> None:
    made.searched_and_confirmed("ngm-sgd", 0, (0.9, 0.1), [(0.9, gap) for gap in (0.1, 0.2, 0.3)])
    made.searched_and_confirmed("sgd", 0, (0.9, 0.1), [(0.9, gap) for gap in (0.4, 0.5, 0.4)])
    result = answer(made)
    assert result.one_search
    assert all(each.one_search for each in result.comparisons)
    gap = result.comparisons[1]
    assert gap.raw[0] == pytest.approx(0.2 - 1.3 / 3)
    assert gap.raw[1] < gap.raw[0] < gap.raw[2]


def test_seeds_of_fixed_runs_are_the_replicates(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, study=FIXED.replace("seeds = 2", "seeds = 3"))
    made.rows(f"{SPLIT}.ngm-sgd.0000", [(0.9, 0.3)] * 3, range(3))
    made.rows(f"{SPLIT}.sgd.0000", [(0.7, gap) for gap in (0.10, 0.12, 0.11)], range(3))
    result = answer(made)
    accuracy, gap = result.comparisons
    assert (result.n_replicates, result.hypervolumes) == (3, [])
    assert [accuracy.endpoint.name, gap.endpoint.name] == ["avg_acc", "avg_sg"]
    assert gap.raw[0] == pytest.approx(0.19)
    assert [accuracy.outcome, gap.outcome] == [Outcome.BETTER, Outcome.WORSE]


def test_a_single_objective_is_compared_by_its_best_value(tmp_path: Path) -> None:
    study = REPEATED.replace('objectives = ["avg_acc", "avg_sg"]', 'objectives = ["avg_acc"]')
    made = MadeUp(tmp_path, study=study.replace(", avg_sg = 1.0", ""))
    made.repetitions("ngm-sgd", [[(0.9, 0.1)], [(0.8, 0.1)], [(0.9, 0.1)]])
    made.repetitions("sgd", [[(0.7, 0.1)], [(0.7, 0.1)], [(0.75, 0.1)]])
    (comparison,) = answer(made).comparisons
    assert comparison.differences == pytest.approx((0.2, 0.1, 0.15))


def test_methods_without_runs_are_not_compared(tmp_path: Path) -> None:
    for name in ("without-rival", "without-focus"):
        (tmp_path / name).mkdir()
    made = MadeUp(tmp_path / "without-rival", study=FIXED)
    made.fixed_run("ngm-sgd", (0.9, 0.2))
    result = answer(made)
    assert (result.comparisons, result.not_run) == ([], ["sgd"])
    made = MadeUp(tmp_path / "without-focus", study=FIXED)
    made.fixed_run("sgd", (0.9, 0.2))
    result = answer(made)
    assert (result.comparisons, result.not_run) == ([], ["ngm-sgd"])
    made.fixed_run("ngm-sgd", (0.8, 0.1))
    assert len(answer(made).comparisons) == 2


def test_failed_confirmations_are_counted_and_diverged_ones_have_no_hypervolume(
    made: MadeUp,
) -> None:
    made.trial(0, (0.9, 0.1), method="ngm-sgd")
    made.trial(0, (0.0, 1.0), method="ngm-sgd", phase="confirm", status="failed")
    made.trial(0, (0.7, 0.3))
    made.trial(0, (0.0, 1.0), phase="confirm", status="diverged")
    result = answer(made)
    assert result.failed_confirmations == {"ngm-sgd": 1}
    assert [each.value for each in result.hypervolumes] == [0.0, 0.0]


def test_methods_without_an_eligible_trial_are_counted_by_status(tmp_path: Path) -> None:
    study = STUDY.replace("trials = 8", "trials = 4")
    made = MadeUp(tmp_path, 'constraints = ["avg_acc >= 0.5"]\n', study)
    for number, status in enumerate(("failed", "failed", "diverged", "completed")):
        made.trial(number, (0.4, 0.1), method="ngm-sgd", status=status)
    assert answer(made).comparisons == []
    for number in range(4):
        made.trial(number, (0.9, 0.3))
    result = answer(made)
    assert result.without_front == {"ngm-sgd": {"failed": 2, "diverged": 1, "infeasible": 1}}
    assert result.comparisons[0].estimate.mean == pytest.approx(-0.9 * 0.7)


def test_hypervolumes_have_the_standard_error_over_seeds(made: MadeUp) -> None:
    confirmed = [(0.8, 0.2), (0.9, 0.2), (0.7, 0.2)]
    made.searched_and_confirmed("ngm-sgd", 0, (0.9, 0.1), confirmed)
    made.searched_and_confirmed("sgd", 0, (0.9, 0.1), [(0.7, 0.2)] * 3)
    best, other = answer(made).hypervolumes
    assert (best.method, best.value) == ("ngm-sgd", pytest.approx(0.64))
    assert best.error == pytest.approx(0.8 * 0.1 / 3**0.5)
    assert (other.method, other.value, other.error) == (
        "sgd",
        pytest.approx(0.56),
        pytest.approx(0.0),
    )


def test_hypervolumes_of_unconfirmed_searches_have_no_error(made: MadeUp) -> None:
    made.trial(0, (0.9, 0.1), spread=0.1)
    assert [each.error for each in answer(made).hypervolumes] == [None]
