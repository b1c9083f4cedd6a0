"""Choice of a configuration of every front."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ngm_tune.analysis.loading import load
from ngm_tune.analysis.statistics.choice import choose, describe_estimate
from ngm_tune.analysis.statistics.criterion import Criterion
from ngm_tune.analysis.statistics.paired import estimate_mean
from ngm_tune.errors import UserError
from ngm_tune.metrics.registry import METRICS
from ngm_tune.metrics.selection import find_knee
from ngm_tune.results.directory import Results
from ngm_tune.results.ids import TrialId
from tests.helpers.fronts import STUDY, write_trials
from tests.helpers.made_up import REPEATED, MadeUp


@pytest.mark.parametrize(("select", "number"), [("knee", 1), ("avg_acc", 0), ("avg_sg", 2)])
def test_each_criterion_selects_its_point_of_the_front(
    fronts: Path, select: str, number: int
) -> None:
    first, second = choose(load(str(fronts)), select)
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
    for select, number in (("knee", 1), ("avg_acc", 0), ("avg_sg", 2)):
        choice, _ = choose(loaded, select)
        assert choice.trial_id == f"split-digits.ngm-sgd.{number:04d}.confirm"
        assert choice.scores["avg_acc"].mean == pytest.approx(on_test[number][0][0])
        assert "among 3 confirmed points of the search, by validation scores" in choice.explanation


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
    assert "among 2 confirmed points of the search" in first.explanation
    assert first.n_excluded == 1
    assert "excluded on test data: 1 (failed, diverged or infeasible)" in first.explanation
    assert "excluded" not in second.explanation


def test_an_unknown_criterion_is_refused_with_the_allowed_ones(fronts: Path) -> None:
    with pytest.raises(
        UserError, match="--select x: allowed are knee, avg_acc, avg_sg, and a bound"
    ):
        choose(load(str(fronts)), "x")


def test_the_configurations_of_all_repetitions_compete(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, study=REPEATED)
    confirmed = [[(0.90, 0.5), (0.6, 0.4)], [(0.80, 0.5)], [(0.94, 0.5), (0.7, 0.3)]]
    for method in ("ngm-sgd", "sgd"):
        made.repetitions(method, confirmed)
    loaded = made.load()
    choice = choose(loaded, "avg_acc")[0]
    assert (choice.trial_id, choice.repetition) == ("split-digits.ngm-sgd.r2.0000.confirm", 2)
    assert (choice.n_points, choice.n_repetitions) == (5, 3)
    assert "among 5 confirmed points of 3 searches" in choice.explanation
    assert choice.scores["avg_acc"][:3] == pytest.approx((0.94, 0.94, 0.94))
    over_repetitions = choice.over_repetitions["avg_acc"]
    assert over_repetitions[:3] == pytest.approx(estimate_mean([0.90, 0.80, 0.94])[:3])


def test_regret_is_the_hypervolume_of_the_other_configurations_alone(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, study=REPEATED)
    for method in ("ngm-sgd", "sgd"):
        made.repetitions(method, [[(0.9, 0.5), (0.6, 0.4)], [(0.8, 0.5)], [(0.9, 0.5), (0.7, 0.3)]])
    choice = choose(made.load(), "avg_acc")[0]
    assert choice.regret[:3] == pytest.approx(estimate_mean([0.06, 0.0, 0.14])[:3])
    assert f"regret {describe_estimate(choice.regret)}" in choice.explanation


def test_confirmed_scores_have_an_interval_over_seeds(made: MadeUp) -> None:
    accuracies = [0.8, 0.9, 0.85]
    for method in ("ngm-sgd", "sgd"):
        points = [(accuracy, 0.1) for accuracy in accuracies]
        made.searched_and_confirmed(method, 0, (0.9, 0.1), points)
        for number in range(1, 8):
            made.trial(number, (0.5, 1.0), method=method)
    choice = choose(made.load())[0]
    assert choice.scores["avg_acc"] == estimate_mean(accuracies)
    assert "avg_acc 0.850 [0.726, 0.974]" in choice.explanation


def test_scores_that_chose_have_no_interval(fronts: Path) -> None:
    choice = choose(load(str(fronts)))[0]
    assert all(np.isnan(score.low) for score in choice.scores.values())


@pytest.mark.parametrize(
    ("select", "number", "reason"),
    [
        ("avg_acc >= 0.94", 0, "best in avg_sg with avg_acc >= 0.94"),
        ("avg_acc >= 0.6", 1, "best in avg_sg with avg_acc >= 0.6"),
        ("avg_sg <= 0.05", 2, "best in avg_acc with avg_sg <= 0.05"),
    ],
)
def test_a_bound_selects_the_best_in_the_other_objective(
    fronts: Path, select: str, number: int, reason: str
) -> None:
    choice = choose(load(str(fronts)), select)[0]
    assert choice.trial_id == f"split-digits.ngm-sgd.{number:04d}"
    assert choice.criterion == reason


def test_a_method_that_does_not_satisfy_the_bound_has_no_choice(fronts: Path) -> None:
    assert [choice.method for choice in choose(load(str(fronts)), "avg_acc >= 0.94")] == ["ngm-sgd"]
    assert choose(load(str(fronts)), "avg_acc >= 0.99") == []


@pytest.mark.parametrize(
    ("select", "message"),
    [
        ("avg_acc > 0.9", "--select: 'avg_acc > 0.9' is not a constraint"),
        ("speed >= 1", "--select: 'speed >= 1': must be a finite bound on one of"),
    ],
)
def test_an_impossible_bound_is_refused(fronts: Path, select: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        choose(load(str(fronts)), select)


def test_a_bound_on_the_only_objective_leaves_nothing_to_choose_by() -> None:
    metric = METRICS["avg_acc"]
    with pytest.raises(UserError, match="avg_acc is the only objective of the study"):
        Criterion.parse("avg_acc >= 0.9", [metric], {"avg_acc": 0.5})
    assert Criterion.parse("avg_acc", [metric], {"avg_acc": 0.5}).description == (
        "nearest to the ideal (avg_acc 1)"
    )


def test_the_reference_point_decides_how_much_accuracy_counts_in_the_knee() -> None:
    """From chance level two points are nearly equal; from the least useful accuracy they are not.

    The values are those of two confirmed configurations of NGM-SGD in the study `digits`.
    """
    objectives = [METRICS["avg_acc"], METRICS["avg_sg"]]
    accurate_or_stable = pl.DataFrame({"avg_acc": [0.966, 0.920], "avg_sg": [0.079, 0.034]})
    for reference, expected in (
        ({"avg_acc": 0.1, "avg_sg": 1.0}, [0.088, 0.095]),
        ({"avg_acc": 0.8, "avg_sg": 0.5}, [0.232, 0.406]),
    ):
        criterion = Criterion.parse("knee", objectives, reference)
        assert criterion.losses(accurate_or_stable) == pytest.approx(expected, abs=5e-4)


def test_a_point_of_no_use_is_chosen_only_if_all_are() -> None:
    objectives = [METRICS["avg_acc"], METRICS["avg_sg"]]
    criterion = Criterion.parse("knee", objectives, {"avg_acc": 0.8, "avg_sg": 0.5})
    trials = pl.DataFrame({"avg_acc": [0.79, 0.85], "avg_sg": [0.0, 0.4]})
    assert criterion.losses(trials[:1])[0] > criterion.losses(trials)[1]
    assert criterion.best(trials) == 1
    assert criterion.best(trials[:1]) == 0
    assert find_knee(trials.to_numpy(), objectives, criterion.reference_point) == 1


def test_fixed_runs_leave_nothing_to_choose(tmp_path: Path) -> None:
    """The repetitions of a fixed run must not compete by their test scores."""
    settings = "\n[settings]\nngm-sgd = { lr = 0.1 }\nsgd = { lr = 0.1 }\n"
    study = REPEATED.replace("trials = 2", "trials = 1")
    study = "\n".join(line for line in study.splitlines() if not line.startswith("confirm"))
    made = MadeUp(tmp_path, settings, study=study)
    for method in ("ngm-sgd", "sgd"):
        for repetition, accuracy in enumerate((0.7, 0.8, 0.9)):
            trial = TrialId("split-digits", method, 0, repetition=repetition)
            first = repetition * 20_000
            made.rows(str(trial), [(accuracy, 0.1)] * 2, range(first, first + 2))
    choice = choose(made.load(), "avg_acc")[0]
    assert choice.trial_id == "split-digits.ngm-sgd.0000"
    assert choice.over_repetitions["avg_acc"].mean == pytest.approx(0.8)


def test_repetitions_without_a_configuration_that_satisfies_a_bound_are_left_out(
    tmp_path: Path,
) -> None:
    made = MadeUp(tmp_path, study=REPEATED)
    for method in ("ngm-sgd", "sgd"):
        made.repetitions(method, [[(0.9, 0.5)], [(0.8, 0.5)], [(0.95, 0.6)]])
    choice = choose(made.load(), "avg_acc >= 0.85")[0]
    assert choice.trial_id == "split-digits.ngm-sgd.0000.confirm"
    assert (choice.n_repetitions, choice.regret.n) == (3, 2)
    assert choice.over_repetitions["avg_acc"].mean == pytest.approx(0.925)
