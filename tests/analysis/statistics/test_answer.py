"""The answer of a study as data."""

from __future__ import annotations

from pathlib import Path

import pytest

from ngm_tune.analysis.statistics.answer import Answer, Verdict, answers
from ngm_tune.analysis.statistics.comparison import Outcome
from tests.helpers.made_up import STUDY, MadeUp

SPLIT = "split-digits"
FIXED = STUDY.replace("trials = 8", "trials = 1") + "settings = { ngm-sgd = {}, sgd = {} }\n"


def answer(made: MadeUp) -> Answer:
    (result,) = answers(made.load())
    return result


def test_two_methods_near_the_best_accuracy_are_compared(made: MadeUp) -> None:
    made.searched_and_confirmed("ngm-sgd", 0, (0.90, 0.10), [(0.80, 0.30)] * 3)
    made.searched_and_confirmed("sgd", 0, (0.896, 0.15), [(0.88, 0.2)] * 3)
    result = answer(made)
    assert (result.verdict, result.outcome) == (Verdict.COMPARED, Outcome.LARGER)
    assert [difference.mean for difference in result.differences] == pytest.approx([-0.08, 0.1])
    assert result.confirmed
    assert result.not_run == []


def test_a_single_objective_has_no_answer(tmp_path: Path) -> None:
    study = STUDY.replace('objectives = ["avg_acc", "avg_sg"]', 'objectives = ["avg_acc"]')
    made = MadeUp(tmp_path, study=study.replace(", avg_sg = 1.0", ""))
    made.trial(0, (0.9, 0.3))
    assert answers(made.load()) == []


def test_verdict_if_only_one_side_is_near_the_best_accuracy(made: MadeUp) -> None:
    made.trial(0, (0.7, 0.1), method="ngm-sgd")
    made.trial(0, (0.9, 0.4))
    assert answer(made).verdict is Verdict.FOCUS_NOT_NEAR
    made.trial(1, (0.95, 0.3), method="ngm-sgd")
    assert answer(made).verdict is Verdict.RIVALS_NOT_NEAR


def test_missing_runs_are_distinguished_from_bad_ones(tmp_path: Path) -> None:
    for name in ("without-rival", "without-focus"):
        (tmp_path / name).mkdir()
    made = MadeUp(tmp_path / "without-rival", study=FIXED)
    made.fixed_run("ngm-sgd", (0.9, 0.2))
    result = answer(made)
    assert (result.verdict, result.not_run) == (Verdict.RIVALS_NOT_RUN, ["sgd"])
    made = MadeUp(tmp_path / "without-focus", study=FIXED)
    made.fixed_run("sgd", (0.9, 0.2))
    result = answer(made)
    assert (result.verdict, result.not_run) == (Verdict.FOCUS_NOT_RUN, ["ngm-sgd"])
    made.fixed_run("ngm-sgd", (0.8, 0.1))
    assert answer(made).verdict is Verdict.FOCUS_NOT_NEAR


@pytest.mark.parametrize("significant", [False, True])
def test_tradeoff_of_fixed_runs_is_reported_if_significant(
    tmp_path: Path, significant: bool
) -> None:
    made = MadeUp(tmp_path, study=FIXED.replace("seeds = 2", "seeds = 3"))
    gaps = (0.10, 0.12, 0.11) if significant else (0.10, 0.40, 0.02)
    made.rows(f"{SPLIT}.ngm-sgd.0000", [(0.9, 0.3)] * 3, range(3))
    made.rows(f"{SPLIT}.sgd.0000", [(0.7, gap) for gap in gaps], range(3))
    result = answer(made)
    assert result.verdict is Verdict.RIVALS_NOT_NEAR
    assert (result.tradeoff is not None) is significant
    if result.tradeoff:
        assert result.tradeoff.contender.method == "sgd"
        assert result.tradeoff.reference.method == "ngm-sgd"
        assert result.tradeoff.difference.mean == pytest.approx(-0.19)


def test_failed_confirmations_are_counted(made: MadeUp) -> None:
    made.trial(0, (0.9, 0.1), method="ngm-sgd")
    made.trial(0, (0.0, 1.0), method="ngm-sgd", phase="confirm", status="failed")
    made.trial(0, (0.7, 0.3))
    made.trial(0, (0.7, 0.3), phase="confirm")
    result = answer(made)
    assert result.verdict is Verdict.NOTHING_CONFIRMED
    assert result.failed_confirmations == {"ngm-sgd": 1}


def test_methods_without_an_eligible_trial_are_counted_by_status(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, 'constraints = ["avg_acc >= 0.5"]\n')
    for number, status in enumerate(("failed", "failed", "diverged", "completed")):
        made.trial(number, (0.4, 0.1), method="ngm-sgd", status=status)
    assert answer(made).verdict is Verdict.NO_ELIGIBLE_TRIAL
    made.trial(0, (0.9, 0.3))
    result = answer(made)
    assert result.without_front == {"ngm-sgd": {"failed": 2, "diverged": 1, "infeasible": 1}}
    assert result.verdict is Verdict.FOCUS_NOT_NEAR


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
