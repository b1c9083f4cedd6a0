"""Settings for a new data set, and their regret on benchmarks that are left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from ngm_tune.analysis.statistics.new_data import choose_for_new_data
from ngm_tune.analysis.statistics.paired import estimate_mean
from ngm_tune.results.ids import TrialId
from tests.helpers.made_up import REPEATED, MadeUp, Point
from tests.helpers.transferred import make_transfers

SPLIT, ROTATED, PERMUTED = "split-digits", "rotated-digits", "permuted-mnist"
GAP = 0.5


def on_each(*accuracies: float) -> dict[str, Point]:
    """Return the scores of a configuration on the first benchmarks."""
    return {
        name: (accuracy, GAP)
        for name, accuracy in zip((SPLIT, ROTATED, PERMUTED), accuracies, strict=False)
    }


def test_the_configuration_chosen_on_one_benchmark_is_judged_on_the_other(tmp_path: Path) -> None:
    """Hypervolume is accuracy times (1 - 0.5)."""
    made = make_transfers(
        tmp_path,
        {
            SPLIT: [[on_each(0.8, 0.6)], [on_each(0.9, 0.5)], [on_each(0.7, 0.7)]],
            ROTATED: [[on_each(0.7, 0.9)], [on_each(0.6, 0.9)], [on_each(0.9, 0.8)]],
        },
    )
    (choice,) = choose_for_new_data(made.load())
    assert choice.regrets[SPLIT][:3] == pytest.approx(estimate_mean([0.05, 0.15, -0.1])[:3])
    assert choice.regrets[ROTATED][:3] == pytest.approx(estimate_mean([0.15, 0.2, 0.05])[:3])
    assert choice.regret[:3] == pytest.approx(estimate_mean([0.1, 0.175, -0.025])[:3])
    assert (choice.trial_id, choice.origin) == (f"{ROTATED}.sgd.r2.0000", ROTATED)
    assert choice.hyperparameters == {"lr": 0.1}
    assert "on a benchmark that is left out" in choice.explanation


def test_the_benchmark_that_is_left_out_does_not_choose(tmp_path: Path) -> None:
    """On the other two, the second configuration of each is better."""
    study = REPEATED.replace("searches = 3", "searches = 1")
    made = make_transfers(
        tmp_path,
        {
            SPLIT: [[on_each(0.80, 0.80, 0.80)]],
            ROTATED: [[on_each(0.75, 0.85, 0.70)]],
            PERMUTED: [[on_each(0.70, 0.70, 0.90)]],
        },
        study=study,
    )
    (choice,) = choose_for_new_data(made.load())
    assert {name: each.mean for name, each in choice.regrets.items()} == pytest.approx(
        {
            SPLIT: 0.5
            * (0.80 - 0.70),  # on the others, 0.70 and 0.90 are better than 0.85 and 0.70
            ROTATED: 0.5 * (0.85 - 0.80),
            PERMUTED: 0.5 * (0.90 - 0.80),
        }
    )
    assert choice.trial_id == f"{SPLIT}.sgd.0000"


def test_search_scores_choose_on_the_benchmark_of_the_search(tmp_path: Path) -> None:
    study = REPEATED.replace("searches = 3", "searches = 1")
    points = {
        SPLIT: [
            [{SPLIT: (0.9, 0.5), ROTATED: (0.2, 0.5)}, {SPLIT: (0.8, 0.5), ROTATED: (0.7, 0.5)}]
        ],
        ROTATED: [[on_each(0.7, 0.9)]],
    }
    searched = {
        TrialId(SPLIT, "sgd", 0): (0.7, 0.4),
        TrialId(SPLIT, "sgd", 1): (0.8, 0.5),
    }
    made: MadeUp = make_transfers(tmp_path, points, searched=searched, study=study)
    (choice,) = choose_for_new_data(made.load(), "avg_acc")
    assert choice.regrets[ROTATED].mean == pytest.approx(0.5 * (0.9 - 0.7))


def test_a_bound_must_hold_on_every_benchmark(tmp_path: Path) -> None:
    points = {
        SPLIT: [[on_each(0.9, 0.6)], [on_each(0.9, 0.7)], [on_each(0.9, 0.6)]],
        ROTATED: [[on_each(0.6, 0.9)], [on_each(0.6, 0.9)], [on_each(0.6, 0.9)]],
    }
    loaded = make_transfers(tmp_path, points).load()
    (choice,) = choose_for_new_data(loaded, "avg_acc >= 0.65")
    assert choice.trial_id == f"{SPLIT}.sgd.r1.0000"
    assert choose_for_new_data(loaded, "avg_acc >= 0.95") == []


def test_studies_without_transfers_have_none(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, study=REPEATED)
    made.repetitions("sgd", [[(0.9, 0.5)]] * 3)
    assert choose_for_new_data(made.load()) == []
