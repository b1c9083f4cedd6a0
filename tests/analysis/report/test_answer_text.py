"""Wording of the answer."""

from __future__ import annotations

from pathlib import Path

from tests.analysis.statistics.test_answer import BETTER, FIXED, SPLIT, WORSE
from tests.helpers.made_up import REPEATED, STUDY, MadeUp
from tests.helpers.report_text import answer_texts, fact_texts

GAP = "stability gap (previous task)"


def answer(made: MadeUp) -> str:
    (text,) = answer_texts(made.load())
    return text


def test_outcomes_over_repetitions(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, study=REPEATED)
    made.repetitions("ngm-sgd", BETTER)
    made.repetitions("sgd", WORSE)
    text = answer(made)
    assert text.startswith(
        f"{SPLIT}: NGM-SGD is better than SGD in hypervolume (test data, 3 repetitions of the "
        f"whole search). In {GAP} at equal average accuracy it is better than SGD."
    )
    assert text.endswith(
        "Hypervolume (± standard error over repetitions): NGM-SGD 0.801 ± 0.005; SGD 0.621 ± 0.005."
    )


def test_rivals_are_grouped_by_outcome(tmp_path: Path) -> None:
    study = REPEATED.replace('["ngm-sgd", "sgd"]', '["ngm-sgd", "sgd", "adam", "ema"]')
    made = MadeUp(tmp_path, study=study)
    made.repetitions("ngm-sgd", BETTER)
    for method in ("sgd", "adam"):
        made.repetitions(method, WORSE)
    made.repetitions("ema", [[(0.9, 0.0)], [(0.9, 0.3)], [(0.9, 0.2)]])
    text = answer(made)
    assert "NGM-SGD is better than SGD and adam and undecided against ema in hypervolume" in text
    assert "3 repetitions can resolve differences in hypervolume of about 0.05 to " in text


def test_a_single_search_says_so(made: MadeUp) -> None:
    for method, gaps in (("ngm-sgd", [0.10, 0.20, 0.30]), ("sgd", [0.30, 0.10, 0.25])):
        made.searched_and_confirmed(method, 0, (0.9, 0.1), [(0.9, gap) for gap in gaps])
    assert (
        "NGM-SGD is undecided against SGD in hypervolume (test data, for this one search; "
        "intervals are over its confirmation seeds)." in answer(made)
    )


def test_a_single_seed_gives_no_interval(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, study=STUDY.replace("seeds = 3", "seeds = 1"))
    made.searched_and_confirmed("ngm-sgd", 0, (0.9, 0.1), [(0.9, 0.1)])
    made.searched_and_confirmed("sgd", 0, (0.9, 0.1), [(0.9, 0.5)])
    text = answer(made)
    assert "NGM-SGD is without an interval against SGD in hypervolume" in text
    assert "±" not in text


def test_an_answer_from_validation_data_says_not_confirmed(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, study=STUDY.replace("trials = 8", "trials = 1"))
    made.trial(0, (0.7, 0.1), method="ngm-sgd")
    made.trial(0, (0.9, 0.4))
    text = answer(made)
    assert (
        "(the validation data that selected the configurations (not confirmed), 1 repetition of "
        "the search)" in text
    )


def test_unequal_searches_have_no_outcome(tmp_path: Path) -> None:
    """While a study runs, one method can have had a trial more than another."""
    made = MadeUp(tmp_path, study=STUDY.replace("trials = 8", "trials = 2"))
    made.trial(0, (0.7, 0.1), method="ngm-sgd")
    made.trial(1, (0.9, 0.1), method="ngm-sgd")
    made.trial(0, (0.9, 0.4))
    assert answer(made).startswith(
        f"{SPLIT}: the searches have not ended and methods differ in their numbers of trials, so "
        "there is no outcome yet. Hypervolume: NGM-SGD"
    )
    made.trial(1, (0.9, 0.5))
    assert "NGM-SGD is better than SGD in hypervolume (the validation data" in answer(made)


def test_fixed_runs_are_compared_in_every_objective(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, study=FIXED.replace("seeds = 2", "seeds = 3"))
    made.rows(f"{SPLIT}.ngm-sgd.0000", [(0.9, 0.3)] * 3, range(3))
    made.rows(f"{SPLIT}.sgd.0000", [(0.7, gap) for gap in (0.10, 0.12, 0.11)], range(3))
    assert answer(made).startswith(
        f"{SPLIT}: NGM-SGD is better than SGD in average accuracy (fixed hyper-parameters on test "
        f"data, 3 seeds). In {GAP} it is worse than SGD. 3 seeds can resolve"
    )


def test_methods_that_have_not_been_run_are_named(tmp_path: Path) -> None:
    for name in ("without-rival", "without-focus"):
        (tmp_path / name).mkdir()
    made = MadeUp(tmp_path / "without-rival", study=FIXED)
    made.fixed_run("ngm-sgd", (0.9, 0.2))
    text = answer(made)
    assert "no rival of NGM-SGD has been run, so there is nothing to compare." in text
    assert "Not run yet: SGD." in text
    assert fact_texts(made.load())["Incomplete"] == "SGD on split-digits has 0 of 1 trials"
    made = MadeUp(tmp_path / "without-focus", study=FIXED)
    made.fixed_run("sgd", (0.9, 0.2))
    assert "NGM-SGD has not been run, so there is nothing to compare." in answer(made)
    assert "Not run yet" not in answer(made)


def test_failed_confirmations_are_counted_in_the_answer(made: MadeUp) -> None:
    made.trial(0, (0.9, 0.1), method="ngm-sgd")
    made.trial(0, (0.0, 1.0), method="ngm-sgd", phase="confirm", status="failed")
    made.searched_and_confirmed("sgd", 0, (0.7, 0.3), [(0.7, 0.3)] * 3)
    assert "Configurations that failed during confirmation: 1 of NGM-SGD." in answer(made)


def test_methods_without_an_eligible_trial_are_explained_by_status(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, 'constraints = ["avg_acc >= 0.5"]\n')
    for number, status in enumerate(("failed", "failed", "diverged", "completed")):
        made.trial(number, (0.4, 0.1), method="ngm-sgd", status=status)
    made.trial(0, (0.9, 0.3))
    assert (
        "No trial of NGM-SGD is eligible for a front (2 failed, 1 diverged, 1 infeasible)."
        in answer(made)
    )
