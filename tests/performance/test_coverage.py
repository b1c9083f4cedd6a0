"""The verdict is calibrated, in a short form of the measurement of docs/verdict.md."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from .coverage import (
    ENDPOINTS,
    MEASURED,
    REPETITIONS,
    Cell,
    OneSearch,
    markdown,
    measure,
    measure_one_search,
    one_search_markdown,
)
from .made_up_studies import SCENARIOS, confirm, draw_repetitions

VERDICT_PAGE = Path(__file__).parents[2] / "docs" / "verdict.md"
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


@pytest.fixture(scope="module")
def recorded() -> tuple[list[Cell], list[OneSearch]]:
    measured = json.loads(MEASURED.read_text())
    return (
        [Cell(**cell) for cell in measured["repeated"]],
        [OneSearch(**row) for row in measured["one_search"]],
    )


def within(rate: list[float] | tuple[float, float], low: float, high: float, n: int) -> bool:
    """Return whether a rate lies between two bounds, up to 3.5 Monte-Carlo errors."""
    error = 3.5 * max((high * (1.0 - high) / n) ** 0.5, rate[1])
    return low - error <= rate[0] <= high + error


@pytest.mark.parametrize("name", ["equal", "two"])
def test_intervals_cover_the_truth_and_false_verdicts_are_rare(name: str) -> None:
    for cell in measure(BY_NAME[name], studies=40, seed=1):
        assert within(cell.covered, 0.93, 0.97, cell.studies)
        assert within(cell.false, 0.0, 0.05, cell.studies)
        assert cell.reversed[0] == 0.0


def test_a_repetition_is_selected_on_search_scores_and_valued_by_fresh_seeds() -> None:
    scenario = BY_NAME["equal"]
    (searches,) = draw_repetitions(scenario, 1, np.random.default_rng(0))
    for search in searches.values():
        confirmed = confirm(scenario, search)
        assert 1 <= len(confirmed) <= 8
        assert confirmed.shape[1:] == (2, 2)
        assert not np.isin(confirmed, search.scores).any()


def test_one_search_covers_its_own_configurations() -> None:
    for row in measure_one_search(BY_NAME["equal"], 200):
        assert within(row.covered, 0.9, 0.99, row.studies)


def test_the_recorded_calibration_has_every_scenario_and_meets_its_targets(
    recorded: tuple[list[Cell], list[OneSearch]],
) -> None:
    cells, _ = recorded
    assert len(cells) == 3 * len(SCENARIOS) * len(ENDPOINTS)
    assert {cell.scenario for cell in cells} == {scenario.title for scenario in SCENARIOS}
    for cell in cells:
        assert within(cell.false, 0.0, 0.05, cell.studies), cell
        assert cell.edge is None or within(cell.edge, 0.0, 0.05, cell.studies), cell
        assert cell.covered[0] > 0.93 - 3.5 * cell.covered[1], cell


def test_perturbed_scores_rarely_change_an_outcome_and_never_reverse_it(
    recorded: tuple[list[Cell], list[OneSearch]],
) -> None:
    cells, _ = recorded
    assert all(cell.reversed[0] == 0.0 for cell in cells)
    names = ("equal", "heavy", "half", "one", "two", "accuracy", "both", "heavy-two")
    titles = {BY_NAME[name].title for name in names}
    for repetitions in REPETITIONS:
        changed = [
            cell.changed[0]
            for cell in cells
            if cell.endpoint == "hypervolume"
            and cell.repetitions == repetitions
            and cell.scenario in titles
        ]
        assert np.mean(changed) <= 0.02


def test_the_documentation_shows_the_calibration(
    recorded: tuple[list[Cell], list[OneSearch]],
) -> None:
    page = VERDICT_PAGE.read_text()
    for endpoint in ENDPOINTS:
        assert markdown(recorded[0], endpoint.name) in page
    assert one_search_markdown(recorded[1]) in page
