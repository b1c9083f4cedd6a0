"""The sentence that a report begins with: what is compared, and what is said of the difference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from ngm_tune.analysis.report.tables import search_facts
from ngm_tune.analysis.statistics.answer import difference, findings, standings
from tests.helpers.made_up import STUDY, MadeUp

SPLIT = "split-digits"


@pytest.fixture
def made(tmp_path: Path) -> MadeUp:
    return MadeUp(tmp_path)


def confirmed(
    made: MadeUp,
    method: str,
    number: int,
    searched: tuple[float, float],
    accuracies: list[float],
    gaps: list[float],
) -> None:
    """A configuration of the search, and what its fresh seeds reached."""
    made.trial(number, searched, method=method)
    made.confirmed(
        f"{SPLIT}.{method}.{number:04d}.confirm", list(zip(accuracies, gaps, strict=True))
    )


def test_what_is_compared_is_chosen_by_the_search_and_not_by_the_test_data(made: MadeUp) -> None:
    confirmed(made, "ngm-sgd", 0, (0.90, 0.10), [0.80] * 3, [0.30] * 3)  # chosen: the smaller gap
    confirmed(made, "ngm-sgd", 1, (0.905, 0.20), [0.89] * 3, [0.05] * 3)  # far better on test data
    confirmed(made, "sgd", 0, (0.80, 0.0), [0.95] * 3, [0.0] * 3)  # not near the search's best
    confirmed(made, "sgd", 1, (0.896, 0.15), [0.88] * 3, [0.2] * 3)
    found = standings(made.load(), SPLIT)
    assert {name: standing.trial_id[-12:] for name, standing in found.items()} == {
        "ngm-sgd": "0000.confirm",
        "sgd": "0001.confirm",
    }
    assert found["ngm-sgd"].reached == pytest.approx([0.80, 0.30])
    (answer,) = findings(made.load())
    assert answer.startswith(
        f"{SPLIT}: NGM-SGD has a larger stability gap (previous task) than SGD. Both are "
    )
    assert "within 0.01 of the best average accuracy that the search found" in answer
    assert "On test data it is 0.300 for NGM-SGD and 0.200 for SGD (+0.100" in answer
    assert "at an average accuracy of 0.800 and 0.880 (−0.080" in answer


def test_near_is_near_to_the_best_of_the_search_confirmed_or_not(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, study=STUDY.replace("top = 2", "top = 1"))
    made.trial(0, (0.95, 0.5))  # the best accuracy, of which another one is confirmed
    confirmed(made, "sgd", 1, (0.945, 0.2), [0.94] * 3, [0.2] * 3)
    confirmed(made, "ngm-sgd", 0, (0.937, 0.1), [0.94] * 3, [0.1] * 3)
    (answer,) = findings(made.load())
    assert "NGM-SGD does not come within 0.01 of the best average accuracy" in answer
    assert "SGD does, with a stability gap (previous task) of 0.200" in answer


def test_what_diverged_on_test_data_is_compared_and_said(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, 'constraints = ["avg_acc >= 0.7"]\n')
    made.trial(0, (0.90, 0.10), method="ngm-sgd")  # chosen, and diverges with every fresh seed
    made.trial(0, (0.0, 1.0), method="ngm-sgd", phase="confirm", status="diverged")
    confirmed(made, "ngm-sgd", 1, (0.905, 0.20), [0.89] * 3, [0.05] * 3)
    confirmed(made, "sgd", 0, (0.9, 0.15), [0.88] * 3, [0.2] * 3)
    (answer,) = findings(made.load())
    assert "NGM-SGD has a larger stability gap (previous task) than SGD" in answer
    assert "it is 1.000 for NGM-SGD and 0.200 for SGD" in answer
    assert "NGM-SGD diverged with 3 seeds there, which counts as the worst." in answer
    assert "NGM-SGD does not keep the study's constraints there." in answer
    assert "SGD diverged" not in answer.replace("NGM-SGD diverged", "")


def test_the_interval_is_that_of_the_differences_of_the_seeds(made: MadeUp) -> None:
    mine, theirs = np.array([0.12, 0.35, 0.20]), np.array([0.22, 0.47, 0.28])
    confirmed(made, "ngm-sgd", 0, (0.9, 0.1), [0.9, 0.8, 0.7], mine.tolist())
    confirmed(made, "sgd", 0, (0.9, 0.1), [0.9, 0.81, 0.69], theirs.tolist())
    loaded = made.load()
    found = standings(loaded, SPLIT)
    accuracy, gap = difference(loaded, found["ngm-sgd"].trial_id, found["sgd"].trial_id)
    expected = stats.ttest_rel(mine, theirs).confidence_interval(0.95)
    assert (gap.mean, gap.low, gap.high) == pytest.approx((-0.1, expected.low, expected.high))
    assert gap.significant  # though the seeds themselves differ more than the methods
    assert not accuracy.significant
    (answer,) = findings(loaded)
    assert "NGM-SGD has a smaller stability gap (previous task) than SGD" in answer
    interval = f"{expected.low:+.3f} to {expected.high:+.3f}".replace("-", "\N{MINUS SIGN}")
    assert f"(−0.100, 95% interval over seeds {interval})" in answer


def test_what_noise_could_have_made_is_not_told_apart(made: MadeUp) -> None:
    confirmed(made, "ngm-sgd", 0, (0.9, 0.1), [0.9] * 3, [0.10, 0.20, 0.30])
    confirmed(made, "sgd", 0, (0.9, 0.1), [0.9] * 3, [0.30, 0.10, 0.25])
    (answer,) = findings(made.load())
    assert "NGM-SGD and SGD are not told apart in stability gap" in answer


def test_one_seed_tells_nothing_apart(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, study=STUDY.replace("seeds = 3", "seeds = 1"))
    confirmed(made, "ngm-sgd", 0, (0.9, 0.1), [0.9], [0.1])
    confirmed(made, "sgd", 0, (0.9, 0.1), [0.9], [0.5])
    (answer,) = findings(made.load())
    assert "one seed does not tell which has the better stability gap" in answer
    assert "(−0.400)" in answer
    assert "±" not in answer


def test_who_does_not_come_near_is_said(made: MadeUp) -> None:
    made.trial(0, (0.7, 0.1), method="ngm-sgd")
    made.trial(0, (0.9, 0.4))
    (answer,) = findings(made.load())
    assert "NGM-SGD does not come within 0.01 of the best average accuracy" in answer
    assert (
        "SGD does, with a stability gap (previous task) of 0.400, at an average accuracy of 0.900, "
        "on the validation data that chose them (not confirmed)." in answer
    )
    made.trial(1, (0.95, 0.3), method="ngm-sgd")
    assert "no rival comes within 0.01" in findings(made.load())[0]


def test_what_has_not_been_run_is_no_worse_for_that(tmp_path: Path) -> None:
    """Of given settings: the study was interrupted, or goes on."""
    given = STUDY.replace("trials = 8", "trials = 1") + "settings = { ngm-sgd = {}, sgd = {} }\n"
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    one = MadeUp(tmp_path / "one", study=given)
    one.given("ngm-sgd", (0.9, 0.2))
    (answer,) = findings(one.load())
    assert "no rival has been run. NGM-SGD has a stability gap" in answer
    assert "Not run yet: SGD." in answer
    assert "within" not in answer
    assert search_facts(one.load())["Not complete"] == "SGD on split-digits has 0 of 1 trials"
    other = MadeUp(tmp_path / "other", study=given.replace("seeds = 2", "seeds = 1"))
    other.given("sgd", (0.9, 0.2), seeds=[0])
    (answer,) = findings(other.load())
    assert "NGM-SGD has not been run. SGD has a stability gap (previous task) of 0.200" in answer
    assert "on test data (one seed)." in answer
    assert "within" not in answer
    other.given("ngm-sgd", (0.8, 0.1), seeds=[0])
    assert "Not complete" not in search_facts(other.load())
    (answer,) = findings(other.load())
    assert "NGM-SGD does not come within 0.01" in answer
    assert (
        "NGM-SGD, which is not near it, has a better stability gap (previous task) than SGD (with "
        "the one seed): 0.100, at an average accuracy of 0.800." in answer
    )


@pytest.mark.parametrize("told", [False, True])
def test_a_better_gap_far_from_the_best_accuracy_is_said_where_seeds_tell_it(
    tmp_path: Path, told: bool
) -> None:
    study = STUDY.replace("trials = 8", "trials = 1").replace("seeds = 2", "seeds = 3")
    made = MadeUp(tmp_path, "settings = { ngm-sgd = {}, sgd = {} }\n", study)
    gaps = (0.10, 0.12, 0.11) if told else (0.10, 0.40, 0.02)
    made.rows(f"{SPLIT}.ngm-sgd.0000", [(0.9, 0.3)] * 3, range(3))
    made.rows(f"{SPLIT}.sgd.0000", [(0.7, gap) for gap in gaps], range(3))
    (answer,) = findings(made.load())
    assert "no rival comes within 0.01" in answer
    said = "SGD, which is not near it, has a better stability gap (previous task) than NGM-SGD (−0."
    assert (said in answer) is told
    assert ("95% interval over seeds" in answer) is told


def test_what_diverged_or_broke_a_constraint_without_a_rival_is_said(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, 'constraints = ["avg_acc >= 0.5"]\n')
    made.trial(0, (0.9, 0.1), method="ngm-sgd")
    made.trial(0, (0.0, 1.0), method="ngm-sgd", phase="confirm", status="diverged")
    made.trial(0, (0.7, 0.3))
    made.trial(0, (0.7, 0.3), phase="confirm")
    (answer,) = findings(made.load())
    assert "no rival comes within 0.01" in answer
    assert "NGM-SGD diverged with 3 seeds there, which counts as the worst." in answer
    assert "NGM-SGD does not keep the study's constraints there." in answer


def test_what_failed_when_it_was_run_again_is_said(made: MadeUp) -> None:
    made.trial(0, (0.9, 0.1), method="ngm-sgd")
    made.trial(0, (0.0, 1.0), method="ngm-sgd", phase="confirm", status="failed")
    made.trial(0, (0.7, 0.3))
    made.trial(0, (0.7, 0.3), phase="confirm")
    (answer,) = findings(made.load())
    assert answer.startswith(f"{SPLIT}: nothing is left to compare. Configurations that failed")
    assert "failed when they were run again: 1 of NGM-SGD." in answer


def test_methods_without_a_trial_for_a_front_are_named(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, 'constraints = ["avg_acc >= 0.5"]\n')
    for number, status in enumerate(("failed", "failed", "diverged", "completed")):
        made.trial(number, (0.4, 0.1), method="ngm-sgd", status=status)
    made.trial(0, (0.9, 0.3))
    assert (
        "No trial of NGM-SGD could be on a front (2 failed, 1 diverged, 1 outside of the "
        "constraints)." in findings(made.load())[0]
    )
    (tmp_path / "none").mkdir()
    none = MadeUp(tmp_path / "none", 'constraints = ["avg_acc >= 0.5"]\n')
    none.trial(0, (0.4, 0.1), method="ngm-sgd")
    (answer,) = findings(none.load())
    assert answer.startswith(f"{SPLIT}: no trial could be on a front. No trial of NGM-SGD could be")


def test_hypervolumes_have_the_error_of_the_seeds(made: MadeUp) -> None:
    confirmed(made, "ngm-sgd", 0, (0.9, 0.1), [0.8, 0.9, 0.7], [0.2] * 3)
    confirmed(made, "sgd", 0, (0.9, 0.1), [0.7] * 3, [0.2] * 3)
    error = 0.8 * 0.1 / 3**0.5
    (answer,) = findings(made.load())
    assert answer.endswith(
        f"Hypervolume (± standard error over seeds): NGM-SGD 0.640 ± {error:.3f}; "
        "SGD 0.560 ± 0.000."
    )


def test_of_equal_methods_none_is_favoured_by_how_many_were_confirmed(tmp_path: Path) -> None:
    """The best of many noisy figures looks better than it is; what is compared does not."""
    random = np.random.default_rng(0)
    reached = {"ngm-sgd": [], "sgd": []}
    for repetition in range(30):
        (tmp_path / str(repetition)).mkdir()
        made = MadeUp(tmp_path / str(repetition), study=STUDY.replace("top = 2", "top = 4"))
        for method, count in (("ngm-sgd", 1), ("sgd", 4)):
            for number in range(count):
                point = (0.9 - 0.001 * number, 0.1 - 0.001 * number)  # all on the front
                gaps = random.normal(0.1, 0.05, 3).tolist()
                confirmed(made, method, number, point, [0.9] * 3, gaps)
        for method, standing in standings(made.load(), SPLIT).items():
            reached[method].append(standing.reached[1])
    for gaps in reached.values():
        assert np.mean(gaps) == pytest.approx(0.1, abs=3 * 0.05 / (3 * 30) ** 0.5)
