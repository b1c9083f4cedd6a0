"""Facts about a study."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import pytest

from ngm_tune.analysis.statistics.facts import (
    Confirmation,
    ExhaustedSearch,
    Progress,
    facts,
)
from tests.helpers.made_up import STUDY, MadeUp

SPLIT = "split-digits"


def test_a_search_of_an_exhausted_space_is_complete(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, study=STUDY.replace("trials = 8", "trials = 4"))
    for number in range(4):
        made.trial(number, (0.9, 0.1))
    made.trial(0, (0.9, 0.1), method="ngm-sgd")
    assert facts(made.load()).incomplete == [Progress(SPLIT, "ngm-sgd", 1, 4)]
    environment = made.results.read_environment() | {"exhausted": {SPLIT: {"ngm-sgd": 1}}}
    made.results.write_text("environment.json", json.dumps(environment))
    assert facts(made.load()).incomplete == []
    assert facts(made.load()).exhausted == [ExhaustedSearch(SPLIT, "ngm-sgd", 1)]


@pytest.mark.parametrize("option", ["racing", "plateau"])
def test_a_complete_search_of_an_earlier_version_is_complete(tmp_path: Path, option: str) -> None:
    """Racing tried more configurations than the study has trials, a plateau fewer."""
    trials = {"racing": 10, "plateau": 4}[option]
    made = MadeUp(tmp_path, f"{option} = {{}}\n")
    environment = made.results.read_environment() | {"plateaus": {SPLIT: min(8, trials)}}
    made.results.write_text("environment.json", json.dumps(environment))
    for method, number in product(("ngm-sgd", "sgd"), range(trials)):
        made.trial(number, (0.9, 0.1), method=method)
    assert facts(made.load()).incomplete == []


def test_confirmation_is_complete_once_all_configurations_due_are_confirmed(made: MadeUp) -> None:
    for method in ("ngm-sgd", "sgd"):
        made.trial(0, (0.9, 0.3), method=method)
    made.trial(0, (0.8, 0.4), phase="confirm")
    assert facts(made.load()).confirmations == [Confirmation(SPLIT, 1, 2, complete=False)]
    made.trial(0, (0.8, 0.4), method="ngm-sgd", phase="confirm")
    assert facts(made.load()).confirmations == [Confirmation(SPLIT, 2, 2, complete=True)]
