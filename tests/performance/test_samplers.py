"""The comparison of samplers is reproducible, and agrees with the documentation and the default."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ngm_tune.study.study import Study

from .samplers import FOUND, Cell, Table, markdown, repeat, winner

SAMPLERS_PAGE = Path(__file__).parents[2] / "docs" / "samplers.md"


@pytest.fixture(scope="module")
def recorded() -> list[Cell]:
    return [Cell(**cell) for cell in json.loads(FOUND.read_text())]


def test_the_nearest_setting_is_found_in_the_scales_of_the_search_space() -> None:
    table = Table("rotated-digits")
    index = table.nearest({"lr": 0.01, "dc_gain": 1.0, "gain_decay": 0.1})
    points = table._tree.data
    target = np.array([1 / 3, 1 / 2, np.log(10) / np.log(50)])
    assert index == np.linalg.norm(points - target, axis=1).argmin()


@pytest.mark.parametrize(
    ("sampler", "repetitions"),
    [("random", 4), ("tpe", 2), ("nsga2", 1), pytest.param("gp", 1, marks=pytest.mark.slow)],
)
def test_the_recorded_comparison_is_reproducible(
    recorded: list[Cell], sampler: str, repetitions: int
) -> None:
    stored = next(cell for cell in recorded if cell[:2] == ("rotated-digits", sampler))
    again = repeat("rotated-digits", sampler, repetitions)
    assert again.hypervolume == pytest.approx(stored.hypervolume[:repetitions], abs=1e-4)


def test_the_documentation_shows_the_comparison_and_the_default_sampler_wins_it(
    recorded: list[Cell],
) -> None:
    assert markdown(recorded) in SAMPLERS_PAGE.read_text()
    assert Study.model_fields["sampler"].default == winner(recorded)
