"""Wording of the answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import stats

from tests.helpers.made_up import STUDY, MadeUp
from tests.helpers.report_text import answer_texts, fact_texts

SPLIT = "split-digits"
FIXED = STUDY.replace("trials = 8", "trials = 1") + "settings = { ngm-sgd = {}, sgd = {} }\n"


def answer(made: MadeUp) -> str:
    (text,) = answer_texts(made.load())
    return text


def test_a_confirmed_difference_has_values_on_test_data(made: MadeUp) -> None:
    made.searched_and_confirmed("ngm-sgd", 0, (0.90, 0.10), [(0.80, 0.30)] * 3)
    made.searched_and_confirmed("sgd", 0, (0.896, 0.15), [(0.88, 0.2)] * 3)
    text = answer(made)
    assert text.startswith(
        f"{SPLIT}: NGM-SGD has a larger stability gap (previous task) than SGD. Both configurations"
        " are within 0.01 of the best average accuracy of the search"
    )
    assert (
        "The stability gap (previous task) on test data is 0.300 for NGM-SGD and 0.200 for SGD "
        "(difference +0.100" in text
    )
    assert "at an average accuracy of 0.800 and 0.880 (difference −0.080" in text


def test_a_significant_difference_has_a_paired_interval(made: MadeUp) -> None:
    mine, theirs = np.array([0.12, 0.35, 0.20]), np.array([0.22, 0.47, 0.28])
    for method, gaps in (("ngm-sgd", mine), ("sgd", theirs)):
        made.searched_and_confirmed(method, 0, (0.9, 0.1), [(0.9, gap) for gap in gaps.tolist()])
    expected = stats.ttest_rel(mine, theirs).confidence_interval(0.95)
    text = answer(made)
    assert "NGM-SGD has a smaller stability gap (previous task) than SGD." in text
    interval = f"{expected.low:+.3f} to {expected.high:+.3f}".replace("-", "\N{MINUS SIGN}")
    assert f"(difference −0.100, 95 % interval over seeds {interval})" in text


def test_methods_without_a_significant_difference_are_not_ranked(made: MadeUp) -> None:
    for method, gaps in (("ngm-sgd", [0.10, 0.20, 0.30]), ("sgd", [0.30, 0.10, 0.25])):
        made.searched_and_confirmed(method, 0, (0.9, 0.1), [(0.9, gap) for gap in gaps])
    assert (
        "NGM-SGD and SGD do not differ significantly in stability gap (previous task) "
        "(95 % interval includes zero)." in answer(made)
    )


def test_a_single_seed_cannot_rank_methods(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, study=STUDY.replace("seeds = 3", "seeds = 1"))
    made.searched_and_confirmed("ngm-sgd", 0, (0.9, 0.1), [(0.9, 0.1)])
    made.searched_and_confirmed("sgd", 0, (0.9, 0.1), [(0.9, 0.5)])
    text = answer(made)
    assert "A single seed gives no interval, so NGM-SGD and SGD cannot be ranked" in text
    assert "(difference −0.400)" in text
    assert "±" not in text


def test_an_answer_from_validation_data_says_not_confirmed(made: MadeUp) -> None:
    made.trial(0, (0.7, 0.1), method="ngm-sgd")
    made.trial(0, (0.9, 0.4))
    text = answer(made)
    assert (
        "NGM-SGD has no configuration within 0.01 of the best average accuracy of the search. SGD "
        "has one, with a stability gap (previous task) of 0.400 at an average accuracy of 0.900, "
        "on the validation data that selected the configurations (not confirmed)." in text
    )
    made.trial(1, (0.95, 0.3), method="ngm-sgd")
    assert "no rival has a configuration within 0.01" in answer(made)


def test_an_answer_from_test_data_says_so(made: MadeUp) -> None:
    made.searched_and_confirmed("sgd", 0, (0.9, 0.1), [(0.85, 0.15)] * 3)
    text = answer(made)
    assert "of 0.150 at an average accuracy of 0.850, on test data." in text
    assert "not confirmed" not in text


def test_rivals_that_have_not_been_run_are_named(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, study=FIXED)
    made.fixed_run("ngm-sgd", (0.9, 0.2))
    text = answer(made)
    assert "no rival has been run. NGM-SGD has a stability gap" in text
    assert "Not run yet: SGD." in text
    assert "within" not in text
    assert fact_texts(made.load())["Incomplete"] == "SGD on split-digits has 0 of 1 trials"


def test_a_first_method_that_has_not_been_run_is_named(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, study=FIXED.replace("seeds = 2", "seeds = 1"))
    made.fixed_run("sgd", (0.9, 0.2), seeds=[0])
    text = answer(made)
    assert "NGM-SGD has not been run. SGD has a stability gap (previous task) of 0.200" in text
    assert "on test data (one seed)." in text
    assert "within" not in text
    assert "Not run yet" not in text


def test_a_tradeoff_with_a_single_seed_has_no_interval(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, study=FIXED.replace("seeds = 2", "seeds = 1"))
    made.fixed_run("sgd", (0.9, 0.2), seeds=[0])
    made.fixed_run("ngm-sgd", (0.8, 0.1), seeds=[0])
    assert "Incomplete" not in fact_texts(made.load())
    text = answer(made)
    assert "NGM-SGD has no configuration within 0.01" in text
    assert (
        "NGM-SGD, which is not within 0.01 of the best average accuracy, has a better stability "
        "gap (previous task) than SGD (difference −0.100, one seed): 0.100, at an average accuracy "
        "of 0.800." in text
    )


def test_a_tradeoff_of_several_seeds_has_an_interval(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, study=FIXED.replace("seeds = 2", "seeds = 3"))
    made.rows(f"{SPLIT}.ngm-sgd.0000", [(0.9, 0.3)] * 3, range(3))
    made.rows(f"{SPLIT}.sgd.0000", [(0.7, gap) for gap in (0.10, 0.12, 0.11)], range(3))
    text = answer(made)
    assert (
        "has a better stability gap (previous task) than NGM-SGD (difference −0.190, 95 %" in text
    )


def test_a_comparison_reports_divergence_and_violated_constraints(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, 'constraints = ["avg_acc >= 0.7"]\n')
    made.trial(0, (0.90, 0.10), method="ngm-sgd")
    made.trial(0, (0.0, 1.0), method="ngm-sgd", phase="confirm", status="diverged")
    made.searched_and_confirmed("ngm-sgd", 1, (0.905, 0.20), [(0.89, 0.05)] * 3)
    made.searched_and_confirmed("sgd", 0, (0.9, 0.15), [(0.88, 0.2)] * 3)
    text = answer(made)
    assert "is 1.000 for NGM-SGD and 0.200 for SGD" in text
    assert (
        "NGM-SGD diverged with 3 seeds in this configuration; a diverged seed counts with the worst"
        " value." in text
    )
    assert "NGM-SGD violates the study's constraints in this configuration." in text
    assert "SGD diverged" not in text.replace("NGM-SGD diverged", "")


def test_an_answer_without_a_rival_reports_divergence_and_violated_constraints(
    tmp_path: Path,
) -> None:
    made = MadeUp(tmp_path, 'constraints = ["avg_acc >= 0.5"]\n')
    made.trial(0, (0.9, 0.1), method="ngm-sgd")
    made.trial(0, (0.0, 1.0), method="ngm-sgd", phase="confirm", status="diverged")
    made.searched_and_confirmed("sgd", 0, (0.7, 0.3), [(0.7, 0.3)] * 3)
    text = answer(made)
    assert "no rival has a configuration within 0.01" in text
    assert "NGM-SGD diverged with 3 seeds" in text
    assert "NGM-SGD violates the study's constraints" in text


def test_failed_confirmations_are_counted_in_the_answer(made: MadeUp) -> None:
    made.trial(0, (0.9, 0.1), method="ngm-sgd")
    made.trial(0, (0.0, 1.0), method="ngm-sgd", phase="confirm", status="failed")
    made.searched_and_confirmed("sgd", 0, (0.7, 0.3), [(0.7, 0.3)] * 3)
    assert answer(made).startswith(
        f"{SPLIT}: no confirmed configuration can be compared. Configurations that failed during "
        "confirmation: 1 of NGM-SGD."
    )


def test_methods_without_an_eligible_trial_are_explained_by_status(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, 'constraints = ["avg_acc >= 0.5"]\n')
    for number, status in enumerate(("failed", "failed", "diverged", "completed")):
        made.trial(number, (0.4, 0.1), method="ngm-sgd", status=status)
    assert answer(made).startswith(
        f"{SPLIT}: no trial is eligible for a front. No trial of NGM-SGD"
    )
    made.trial(0, (0.9, 0.3))
    assert (
        "No trial of NGM-SGD is eligible for a front (2 failed, 1 diverged, 1 infeasible)."
        in answer(made)
    )


def test_hypervolumes_have_standard_errors(made: MadeUp) -> None:
    confirmed = [(0.8, 0.2), (0.9, 0.2), (0.7, 0.2)]
    made.searched_and_confirmed("ngm-sgd", 0, (0.9, 0.1), confirmed)
    made.searched_and_confirmed("sgd", 0, (0.9, 0.1), [(0.7, 0.2)] * 3)
    assert answer(made).endswith(
        "Hypervolume (± standard error over seeds): NGM-SGD 0.640 ± 0.046; SGD 0.560 ± 0.000."
    )
