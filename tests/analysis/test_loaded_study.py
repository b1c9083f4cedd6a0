"""Eligible trials, fronts, and the trials on which claims rest."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.made_up import MadeUp

SPLIT = "split-digits"


def test_claims_rest_on_confirmed_trials_once_all_are_confirmed(made: MadeUp) -> None:
    made.trial(0, (0.9, 0.1))
    made.trial(1, (0.8, 0.3), status="diverged")
    assert not made.load().is_confirmed(SPLIT)
    assert set(made.load().evidence(SPLIT)["phase"]) == {"search"}
    made.trial(0, (0.85, 0.15), phase="confirm")
    loaded = made.load()
    assert loaded.is_confirmed(SPLIT)
    assert loaded.evidence(SPLIT)["trial_id"].to_list() == ["split-digits.sgd.0000.confirm"]
    assert loaded.search_trials(SPLIT).height == 2


def test_no_method_has_more_confirmed_trials_than_the_study_confirms(made: MadeUp) -> None:
    for number, point in enumerate(((0.9, 0.3), (0.8, 0.2), (0.7, 0.1), (0.6, 0.5))):
        made.trial(number, point)
        made.trial(number, point, phase="confirm")
    confirmed = made.load().confirmed
    assert confirmed.height == 2
    assert "split-digits.sgd.0003" not in confirmed["origin"]  # no longer on the front


def test_stopped_trials_and_those_with_fewer_seeds_are_never_on_a_front(tmp_path: Path) -> None:
    """In results of earlier versions, racing gave some trials fewer seeds."""
    made = MadeUp(tmp_path, "racing = { min_probability = 0.2 }\n")
    made.trial(0, (0.5, 0.5))
    trial = "split-digits.sgd.0001"
    made.rows(trial, [(0.99, 0.0)], [0], "search", run=f"{trial}@0")
    made.trial(2, (0.99, 0.0), status="stopped", iterations=40)
    loaded = made.load()
    trials = loaded.search_trials("split-digits")
    assert not [name for name in loaded.results.left_out if name.startswith("trials/")]
    assert trials["seeds"].to_list() == [2, 1, 2]
    assert trials["eligible"].to_list() == [True, False, False]
    assert trials["front"].to_list() == [True, False, False]


def test_infeasible_trials_are_never_on_a_front(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, 'constraints = ["avg_acc >= 0.8"]\n')
    made.trial(0, (0.9, 0.5))
    made.trial(1, (0.7, 0.0))
    trials = made.load().search_trials("split-digits")
    assert trials["eligible"].to_list() == [True, False]
    assert trials["front"].to_list() == [True, False]


def test_trials_without_an_objective_are_never_on_a_front(made: MadeUp) -> None:
    made.trial(0, (0.9, 0.5))
    made.trial(1, (0.95, float("nan")))
    trials = made.load().search_trials("split-digits")
    assert trials["eligible"].to_list() == [True, False]
    assert trials["front"].to_list() == [True, False]
