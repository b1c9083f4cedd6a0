"""Choice of a configuration of every front."""

from __future__ import annotations

from pathlib import Path

import pytest

from ngm_tune.analysis.loading import load
from ngm_tune.analysis.statistics.choice import choose
from ngm_tune.errors import UserError
from ngm_tune.results.directory import Results
from tests.helpers.fronts import STUDY, write_trials


@pytest.mark.parametrize(("pick", "number"), [("knee", 1), ("avg_acc", 0), ("avg_sg", 2)])
def test_each_pick_selects_its_point_of_the_front(fronts: Path, pick: str, number: int) -> None:
    first, second = choose(load(str(fronts)), pick)
    assert first.trial_id == f"split-digits.ngm-sgd.{number:04d}"
    assert second.method == "sgd"
    assert "among 3 points on the front" in first.explanation
    assert "among 1 point on the front" in second.explanation


def test_test_scores_do_not_influence_the_choice(fronts: Path) -> None:
    """The order of the confirmed configurations differs between validation and test data."""
    (fronts / "study.toml").write_text(STUDY + "confirm = { max_configurations = 3, seeds = 2 }\n")
    results = Results(str(fronts))
    on_test = [((0.80, 0.80), (0.4, 0.4)), ((0.70, 0.70), (0.5, 0.5)), ((0.85, 0.85), (0.3, 0.3))]
    write_trials(results, "ngm-sgd", [("completed", *scores) for scores in on_test], "confirm")
    write_trials(results, "sgd", [("completed", (0.9, 0.9), (0.1, 0.1))], "confirm")
    loaded = load(str(fronts))
    assert loaded.is_confirmed("split-digits")
    for pick, number in (("knee", 1), ("avg_acc", 0), ("avg_sg", 2)):
        choice, _ = choose(loaded, pick)
        assert choice.trial_id == f"split-digits.ngm-sgd.{number:04d}.confirm"
        assert choice.scores["avg_acc"] == pytest.approx(on_test[number][0][0])
        assert (
            "among 3 confirmed points on the front of the search, by validation scores"
            in choice.explanation
        )


def test_failed_confirmations_are_excluded_and_counted(fronts: Path) -> None:
    (fronts / "study.toml").write_text(STUDY + "confirm = { max_configurations = 3, seeds = 2 }\n")
    results = Results(str(fronts))
    scores = [(0.80, 0.80), (0.4, 0.4)]
    write_trials(
        results,
        "ngm-sgd",
        [("diverged", (0.0, 0.0), (1.0, 1.0)), *[("completed", *scores)] * 2],
        "confirm",
    )
    write_trials(results, "sgd", [("completed", (0.9, 0.9), (0.1, 0.1))], "confirm")
    first, second = choose(load(str(fronts)), "avg_acc")
    assert first.trial_id != "split-digits.ngm-sgd.0000.confirm"  # the best one of the search
    assert "among 2 confirmed points on the front of the search" in first.explanation
    assert first.n_excluded == 1
    assert "excluded on test data: 1 (failed, diverged or infeasible)" in first.explanation
    assert "excluded" not in second.explanation


def test_an_unknown_pick_is_refused_with_the_allowed_ones(fronts: Path) -> None:
    with pytest.raises(UserError, match="--pick x: allowed are knee, avg_acc, avg_sg"):
        choose(load(str(fronts)), "x")
