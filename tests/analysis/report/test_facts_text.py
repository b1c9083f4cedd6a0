"""Wording of the facts about a study."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.helpers.made_up import STUDY, MadeUp
from tests.helpers.report_text import fact_texts

SPLIT = "split-digits"


def annotate(made: MadeUp, **entries: object) -> None:
    """Add entries to environment.json."""
    made.results.write_text(
        "environment.json", json.dumps(made.results.read_environment() | entries)
    )


@pytest.mark.parametrize(
    ("points", "text"),
    [
        ({"ngm-sgd": 2, "sgd": 2}, "2 initial points for every method on split-digits"),
        (
            {"ngm-sgd": 12, "sgd": 0},
            "initial points on split-digits: NGM-SGD 12, SGD 0; the tuning effort is unequal if "
            "they come from earlier tuning",
        ),
        ({"ngm-sgd": 0, "sgd": 0}, None),
    ],
)
def test_unequal_initial_points_are_reported(
    made: MadeUp, points: dict[str, int], text: str | None
) -> None:
    made.trial(0, (0.9, 0.1))
    annotate(made, points={SPLIT: points})
    assert fact_texts(made.load()).get("Initial points") == text


def test_a_search_of_an_exhausted_space_is_complete_and_explained(made: MadeUp) -> None:
    for number in range(8):
        made.trial(number, (0.9, 0.1))
    made.trial(0, (0.9, 0.1), method="ngm-sgd")
    texts = fact_texts(made.load())
    assert texts["Incomplete"] == (
        "NGM-SGD on split-digits has 1 of 8 trials; until they are complete, the tuning effort is "
        "unequal"
    )
    assert texts["Effort"].startswith("8 trials of 2 seeds for every method and benchmark")
    annotate(made, exhausted={SPLIT: {"ngm-sgd": 1}})
    texts = fact_texts(made.load())
    assert "Incomplete" not in texts
    assert texts["Effort"].endswith(
        "; the search space of NGM-SGD on split-digits has only 1 configuration"
    )


def test_removed_options_of_the_search_are_reported(tmp_path: Path) -> None:
    made = MadeUp(
        tmp_path, "racing = { min_probability = 0.2 }\nplateau = {}\nearly_stopping = {}\n"
    )
    made.trial(0, (0.5, 0.5))
    effort = fact_texts(made.load())["Effort"]
    assert effort.endswith(", seed 0); with racing; with plateau; with early stopping")


def test_a_single_trial_and_a_single_seed_are_singular(tmp_path: Path) -> None:
    study = STUDY.replace("seeds = 3", "seeds = 1").replace("seeds = 2", "seeds = 1")
    made = MadeUp(tmp_path, study=study.replace("trials = 8", "trials = 1"))
    made.trial(0, (0.9, 0.3), seeds=[0])
    made.confirmed(f"{SPLIT}.sgd.0000.confirm", [(0.8, 0.4)])
    texts = fact_texts(made.load())
    assert texts["Effort"].startswith("1 trial of 1 seed for every method")
    assert texts["Evaluated on"].endswith(
        "1 configuration of the searches re-run with 1 fresh seed"
    )


def test_the_rule_that_chose_the_configurations_is_explained(made: MadeUp) -> None:
    made.trial(0, (0.9, 0.1))
    assert fact_texts(made.load())["Chosen configurations"] == (
        "for each method the one that is nearest to the ideal (avg_acc 1, avg_sg 0)"
    )
    made.trial(0, (0.85, 0.15), phase="confirm")
    assert fact_texts(made.load(), "avg_acc")["Chosen configurations"] == (
        "for each method the one that is best in avg_acc, among the confirmed configurations and "
        "by their search scores"
    )
    assert (
        "best in avg_sg with avg_acc >= 0.8, among"
        in (fact_texts(made.load(), "avg_acc >= 0.8")["Chosen configurations"])
    )


def test_an_incomplete_confirmation_is_reported_as_not_confirmed(made: MadeUp) -> None:
    made.trial(0, (0.9, 0.3), method="ngm-sgd")
    made.trial(0, (0.9, 0.3))
    made.trial(0, (0.8, 0.4), phase="confirm")
    assert fact_texts(made.load())["Evaluated on"] == (
        "validation data only; not confirmed: split-digits (1 of 2 configurations re-run)"
    )
