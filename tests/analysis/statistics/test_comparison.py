"""Selection and paired comparison of configurations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from ngm_tune.analysis.statistics.comparison import (
    Outcome,
    compared_contenders,
    contenders,
    paired_differences,
)
from tests.helpers.made_up import STUDY, MadeUp

SPLIT = "split-digits"


def test_search_scores_select_the_contenders(made: MadeUp) -> None:
    made.searched_and_confirmed("ngm-sgd", 0, (0.90, 0.10), [(0.80, 0.30)] * 3)  # smaller gap
    made.searched_and_confirmed("ngm-sgd", 1, (0.905, 0.20), [(0.89, 0.05)] * 3)  # best on test
    made.searched_and_confirmed("sgd", 0, (0.80, 0.0), [(0.95, 0.0)] * 3)  # not near the best
    made.searched_and_confirmed("sgd", 1, (0.896, 0.15), [(0.88, 0.2)] * 3)
    by_method = contenders(made.load(), SPLIT)
    assert {method: each.trial_id[-12:] for method, each in by_method.items()} == {
        "ngm-sgd": "0000.confirm",
        "sgd": "0001.confirm",
    }
    assert by_method["ngm-sgd"].values == pytest.approx([0.80, 0.30])
    assert by_method["ngm-sgd"].estimates == pytest.approx([0.90, 0.10])
    assert by_method["ngm-sgd"].feasible


def test_first_method_is_compared_with_its_best_rival(tmp_path: Path) -> None:
    study = STUDY.replace('["ngm-sgd", "sgd"]', '["sgd", "adam", "ngm-sgd"]')
    made = MadeUp(tmp_path, study=study)
    made.trial(0, (0.9, 0.3))
    made.trial(0, (0.9, 0.2), method="adam")
    made.trial(0, (0.9, 0.1), method="ngm-sgd")
    compared = compared_contenders(made.load(), SPLIT)
    assert [contender.method for contender in compared] == ["sgd", "ngm-sgd"]


def test_contenders_are_near_the_best_search_score_even_if_it_is_unconfirmed(
    tmp_path: Path,
) -> None:
    made = MadeUp(tmp_path, study=STUDY.replace("max_configurations = 2", "max_configurations = 1"))
    made.trial(0, (0.95, 0.5))  # best accuracy, but another configuration is confirmed
    made.searched_and_confirmed("sgd", 1, (0.945, 0.2), [(0.94, 0.2)] * 3)
    made.searched_and_confirmed("ngm-sgd", 0, (0.937, 0.1), [(0.94, 0.1)] * 3)
    assert set(contenders(made.load(), SPLIT)) == {"sgd"}
    assert set(contenders(made.load(), SPLIT, near=False)) == {"ngm-sgd"}


def test_a_diverged_confirmation_is_compared_with_the_worst_values(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, 'constraints = ["avg_acc >= 0.7"]\n')
    made.trial(0, (0.90, 0.10), method="ngm-sgd")
    made.trial(0, (0.0, 1.0), method="ngm-sgd", phase="confirm", status="diverged")
    made.searched_and_confirmed("ngm-sgd", 1, (0.905, 0.20), [(0.89, 0.05)] * 3)
    contender = contenders(made.load(), SPLIT)["ngm-sgd"]
    assert contender.values == pytest.approx([0.0, 1.0])
    assert contender.n_diverged == 3
    assert not contender.feasible


def test_the_interval_is_that_of_the_paired_t_test(made: MadeUp) -> None:
    mine, theirs = np.array([0.12, 0.35, 0.20]), np.array([0.22, 0.47, 0.28])
    accuracies = ([0.9, 0.8, 0.7], [0.9, 0.81, 0.69])
    for method, *scores in zip(("ngm-sgd", "sgd"), accuracies, (mine, theirs), strict=True):
        made.searched_and_confirmed(method, 0, (0.9, 0.1), list(zip(*scores, strict=True)))
    ids = (f"{SPLIT}.{method}.0000.confirm" for method in ("ngm-sgd", "sgd"))
    accuracy, gap = paired_differences(made.load(), *ids)
    expected = stats.ttest_rel(mine, theirs).confidence_interval(0.95)
    assert gap == pytest.approx((-0.1, expected.low, expected.high))
    assert gap.outcome is Outcome.SMALLER  # although seeds vary more than methods
    assert accuracy.outcome is Outcome.NOT_SIGNIFICANT


@pytest.mark.filterwarnings("error")
def test_equal_differences_have_an_interval_of_zero_width(made: MadeUp) -> None:
    made.searched_and_confirmed("ngm-sgd", 0, (0.9, 0.1), [(0.9, 0.25)] * 3)
    made.searched_and_confirmed("sgd", 0, (0.9, 0.1), [(0.9, 0.5)] * 3)
    ids = (f"{SPLIT}.{method}.0000.confirm" for method in ("ngm-sgd", "sgd"))
    accuracy, gap = paired_differences(made.load(), *ids)
    assert (accuracy, accuracy.outcome) == ((0.0, 0.0, 0.0), Outcome.NOT_SIGNIFICANT)
    assert (gap, gap.outcome) == ((-0.25, -0.25, -0.25), Outcome.SMALLER)


def test_a_single_seed_has_no_interval(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, study=STUDY.replace("seeds = 3", "seeds = 1"))
    made.searched_and_confirmed("ngm-sgd", 0, (0.9, 0.1), [(0.9, 0.1)])
    made.searched_and_confirmed("sgd", 0, (0.9, 0.1), [(0.9, 0.5)])
    loaded = made.load()
    mine, other = compared_contenders(loaded, SPLIT)
    gap = paired_differences(loaded, mine.trial_id, other.trial_id)[1]
    assert gap.mean == pytest.approx(-0.4)
    assert np.isnan([gap.low, gap.high]).all()
    assert gap.outcome is Outcome.SINGLE_SEED
    assert mine.single_seed


def test_number_of_confirmed_configurations_does_not_bias_the_comparison(tmp_path: Path) -> None:
    """The best of several noisy scores is biased; that of a preselected configuration is not."""
    random = np.random.default_rng(0)
    gaps_by_method: dict[str, list[float]] = {"ngm-sgd": [], "sgd": []}
    for repetition in range(30):
        (tmp_path / str(repetition)).mkdir()
        made = MadeUp(
            tmp_path / str(repetition),
            study=STUDY.replace("max_configurations = 2", "max_configurations = 4"),
        )
        for method, count in (("ngm-sgd", 1), ("sgd", 4)):
            for number in range(count):
                point = (0.9 - 0.001 * number, 0.1 - 0.001 * number)  # all on the front
                points = [(0.9, gap) for gap in random.normal(0.1, 0.05, 3).tolist()]
                made.searched_and_confirmed(method, number, point, points)
        for method, contender in contenders(made.load(), SPLIT).items():
            gaps_by_method[method].append(contender.values[1])
    for gaps in gaps_by_method.values():
        assert np.mean(gaps) == pytest.approx(0.1, abs=3 * 0.05 / (3 * 30) ** 0.5)
