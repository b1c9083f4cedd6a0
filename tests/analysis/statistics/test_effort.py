"""Hypervolume as a function of the tuning budget."""

from __future__ import annotations

import polars as pl
import pytest

from ngm_tune.analysis.statistics.effort import effort_info
from tests.helpers.made_up import MadeUp


def test_expected_hypervolume_is_the_mean_over_orders(made: MadeUp) -> None:
    points = ((0.5, 0.5), (0.8, 0.5), (0.5, 0.2))
    for number, point in enumerate(points):
        made.trial(number, point)
    made.trial(3, (0.0, 0.0), status="stopped")
    info = effort_info(made.load(), "split-digits")
    assert info is not None
    growth = info.growth.filter(unit="trials", Method="SGD")
    assert growth["budget"].to_list() == [1, 2, 3, 4]
    assert growth["observed"].to_list() == pytest.approx([0.25, 0.4, 0.55, 0.55])
    # The first trial is each of the four with equal probability: 0, 0.25, 0.4 and 0.4.
    assert growth["mean"][0] == pytest.approx(1.05 / 4, abs=0.03)
    assert growth["mean"][3] == pytest.approx(0.55)
    assert (growth["low"] <= growth["mean"] + 1e-9).all()
    assert (growth["mean"] <= growth["high"] + 1e-9).all()
    hours = info.growth.filter(unit="hours", Method="SGD")
    assert hours["budget"].to_numpy().max() == pytest.approx(4.0)  # 4 trials of 2 x 1800 s
    assert hours["observed"][-1] == pytest.approx(0.55)
    assert hours.filter(pl.col("budget") < 0.99)["mean"].to_numpy().max() == 0.0
