"""Share of a search space near the front."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ngm_tune.analysis.statistics.robustness import robustness_info
from tests.helpers.made_up import MadeUp


def test_locations_have_the_distance_of_their_nearest_trial(made: MadeUp) -> None:
    # Evenly spaced on the logarithmic scale from 0.001 to 1: each represents an eighth of it.
    rates = 10.0 ** (3 * (np.arange(8) + 0.5) / 8 - 3)
    points = ((0.9, 0.1), (0.85, 0.1), *[(0.2, 0.9)] * 6)
    for number, (lr, point) in enumerate(zip(rates.tolist(), points, strict=True)):
        made.trial(number, point, lr=lr)
    made.trial(0, (0.9, 0.1), method="ngm-sgd")  # fewer trials than needed
    info = robustness_info(made.load(), "split-digits")
    assert info is not None
    assert info.within("SGD", 0.0) == pytest.approx(1 / 8, abs=0.002)
    assert info.within("SGD", 0.049) == pytest.approx(1 / 8, abs=0.002)
    assert info.within("SGD", 0.051) == pytest.approx(2 / 8, abs=0.002)
    assert info.within("SGD", 0.2) == pytest.approx(2 / 8, abs=0.002)
    assert info.within("NGM-SGD") is None


def test_trials_at_chance_level_do_not_count_as_goals(made: MadeUp) -> None:
    rates = 10.0 ** (3 * (np.arange(8) + 0.5) / 8 - 3)
    points = ((0.9, 0.1), (0.7, 0.05), *[(0.01, 0.0)] * 4, *[(0.2, 0.9)] * 2)
    for number, (lr, point) in enumerate(zip(rates.tolist(), points, strict=True)):
        made.trial(number, point, lr=lr)
    loaded = made.load()
    assert loaded.search_trials("split-digits")["front"].sum() == 6
    info = robustness_info(loaded, "split-digits")
    assert info is not None
    assert info.within("SGD", 0.0) == pytest.approx(2 / 8, abs=0.002)


def test_a_range_of_a_single_value_is_covered_by_its_trials(made: MadeUp) -> None:
    space = {"lr": {"low": 0.1, "high": 0.1, "log": True, "step": None}}
    methods = {"sgd": {"title": "SGD", "space": space}}
    made.results.write_text("environment.json", json.dumps({"methods": methods}))
    for number in range(8):
        made.trial(number, (0.9, 0.1))
    info = robustness_info(made.load(), "split-digits")
    assert info is not None
    assert info.within("SGD", 0.0) == 1.0
