"""Optimism of the search."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ngm_tune.analysis.statistics.choice import choose
from ngm_tune.analysis.statistics.optimism import optimism
from ngm_tune.analysis.statistics.pareto import pareto_info
from tests.helpers.made_up import STUDY, MadeUp


def test_optimism_is_a_mean_over_confirmed_configurations(made: MadeUp) -> None:
    made.trial(0, (0.9, 0.1))
    made.trial(1, (0.7, 0.0))
    made.trial(2, (0.1, 0.9))  # dominated, never confirmed
    made.trial(0, (0.8, 0.2), phase="confirm")
    made.trial(1, (0.72, 0.01), phase="confirm")
    accuracy, gap, volume = optimism(made.load(), "split-digits", "sgd")
    assert accuracy.n_configurations == 2
    assert accuracy.searched == pytest.approx(0.8)
    assert accuracy.optimism == pytest.approx((0.1 - 0.02) / 2)
    assert gap.optimism == pytest.approx((0.1 + 0.01) / 2)
    searched, confirmed = 0.7 * 0.1 + 0.9 * 0.9, 0.72 * 0.19 + 0.8 * 0.8
    assert volume.searched == pytest.approx(searched)
    assert volume.optimism == pytest.approx(searched - confirmed)
    pairs = pareto_info(made.load(), "split-digits", []).pairs.sort("trial_id")
    assert pairs["searched_avg_acc"].to_list() == pytest.approx([0.9, 0.7])


def test_the_error_of_optimism_is_taken_over_seeds(made: MadeUp) -> None:
    """An effect of a seed on all configurations does not average out over configurations."""
    for number, point in enumerate(((0.9, 0.3), (0.8, 0.1))):
        made.trial(number, point, spread=0.02)
        made.trial(number, point, spread=0.03, phase="confirm")
    accuracy, gap, volume = optimism(made.load(), "split-digits", "sgd")
    assert accuracy.error == pytest.approx((0.02**2 / 4 + 0.03**2 / 3) ** 0.5)
    assert gap.error == pytest.approx(0.0)
    assert volume.error == pytest.approx(0.9 * accuracy.error)  # a strip of width 0.9 in gap


def test_optimism_of_a_single_seed_has_no_error(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, study=STUDY.replace("seeds = 2", "seeds = 1"))
    made.trial(0, (0.9, 0.1), seeds=(0,))
    made.trial(0, (0.8, 0.2), phase="confirm")
    assert np.isnan(optimism(made.load(), "split-digits", "sgd")[0].error)


def test_a_diverged_confirmation_counts_with_the_worst_values(made: MadeUp) -> None:
    made.trial(0, (0.9, 0.1))
    made.trial(0, (0.0, 1.0), phase="confirm", status="diverged")
    loaded = made.load()
    assert optimism(loaded, "split-digits", "sgd")[0].optimism == pytest.approx(0.9)
    assert choose(loaded) == []
