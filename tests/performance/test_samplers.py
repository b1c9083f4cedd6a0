"""The comparison of samplers is reproducible, and agrees with the documentation and the default."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from ngm_tune.study.study import Study

from .samplers import (
    FOUND,
    TRIALS,
    VARIANTS,
    Cell,
    Table,
    markdown,
    repeat,
    replay,
    savings,
    winner,
)

SAMPLERS_PAGE = Path(__file__).parents[2] / "docs" / "samplers.md"


@pytest.fixture(scope="module")
def recorded() -> list[Cell]:
    return [Cell(**cell) for cell in json.loads(FOUND.read_text())]


def test_a_replayed_search_uses_its_whole_budget() -> None:
    table = Table("split-digits")
    volumes, tried = replay(table, "split-digits", "random", VARIANTS["plain"], 0)
    assert tried == TRIALS
    assert 0.7 < volumes[-1] < 1.0
    _, with_stopping = replay(table, "split-digits", "random", VARIANTS["stopping"], 0)
    assert with_stopping > TRIALS


def test_the_nearest_setting_is_found_in_the_scales_of_the_search_space() -> None:
    table = Table("rotated-digits")
    index = table.nearest({"lr": 0.01, "dc_gain": 1.0, "gain_decay": 0.1})
    points = table._tree.data
    target = np.array([1 / 3, 1 / 2, np.log(10) / np.log(50)])
    assert index == np.linalg.norm(points - target, axis=1).argmin()


@pytest.mark.parametrize(
    ("sampler", "variant", "repetitions"),
    [
        ("random", "plain", 4),
        ("random", "stopping", 2),
        ("tpe", "plain", 2),
        ("tpe", "stopping", 1),
        ("nsga2", "plain", 1),
        pytest.param("gp", "plain", 1, marks=pytest.mark.slow),
    ],
)
def test_the_recorded_comparison_is_reproducible(
    recorded: list[Cell], sampler: str, variant: str, repetitions: int
) -> None:
    kind = ("rotated-digits", sampler, variant)
    stored = next(cell for cell in recorded if cell[:3] == kind)
    curves, _ = repeat(*kind, repetitions)
    assert curves[:, -1].tolist() == pytest.approx(stored.hypervolume[:repetitions], abs=1e-4)


def test_savings_measure_how_much_sooner_a_hypervolume_is_reached() -> None:
    plain = np.array([[0.1] * 50 + [0.5] * 50] * 3)
    sooner = np.array([[0.1] * 25 + [0.6] * 75] * 3)
    never = np.array([[0.4] * 100] * 3)
    assert savings(sooner, plain) == pytest.approx([1 - 26 / 51] * 3)
    assert savings(plain, plain) == (0.0, 0.0, 0.0)
    assert savings(never, plain) == (-math.inf, -math.inf, -math.inf)
    low, middle, high = (
        savings(np.array([sooner[0], sooner[0], never[0]]), plain)[i] for i in (1, 0, 2)
    )
    assert low == -math.inf
    assert middle == high == pytest.approx(1 - 26 / 51)


def test_the_documentation_shows_the_comparison_and_the_default_sampler_wins_it(
    recorded: list[Cell],
) -> None:
    assert markdown(recorded) in SAMPLERS_PAGE.read_text()
    assert Study.model_fields["sampler"].default == winner(recorded)
