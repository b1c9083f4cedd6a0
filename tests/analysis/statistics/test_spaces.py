"""Search spaces, the selected values in them, and which space contains which."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ngm_tune.analysis.report.tables import space_rows
from ngm_tune.analysis.statistics.spaces import (
    SharedRange,
    ablation_spaces,
    positions,
    searched_ranges,
)
from ngm_tune.results.records import Range
from tests.helpers.made_up import REPEATED, STUDY, MadeUp

SPLIT = "split-digits"
LOG = Range(low=1e-3, high=1.0, log=True)
CHOICES = Range(choices=["all", "output", None])


def select(made: MadeUp, *lrs: float) -> None:
    """Add a front of trials, all of which the study confirms, and a useless trial."""
    for number, lr in enumerate(lrs):
        made.trial(number, (0.9 - 0.1 * number, 0.3 - 0.1 * number), lr=lr)
    made.trial(len(lrs), (0.1, 1.0), lr=1.0)


def test_selected_values_are_those_of_the_configurations_to_confirm(made: MadeUp) -> None:
    select(made, 0.2, 0.1)
    (searched,) = searched_ranges(made.load(), SPLIT)
    assert (searched.method, searched.coordinate) == ("sgd", "lr")
    assert (searched.limits.low, searched.limits.high, searched.limits.log) == (1e-3, 1.0, True)
    assert searched.selected == [0.1, 0.2]
    assert (searched.n_near_low, searched.n_near_high) == (0, 0)


@pytest.mark.parametrize(
    ("lr", "near"),
    [
        (1e-3, (1, 0)),
        (1e-3 * 1000**0.05, (1, 0)),
        (1e-3 * 1000**0.051, (0, 0)),
        (0.05, (0, 0)),  # within 5 % of the range on a linear scale
        (1000**-0.051, (0, 0)),
        (1000**-0.05, (0, 1)),
        (1.0, (0, 1)),
    ],
)
def test_bounds_are_near_on_the_searched_scale(
    made: MadeUp, lr: float, near: tuple[int, int]
) -> None:
    select(made, lr)
    (searched,) = searched_ranges(made.load(), SPLIT)
    assert (searched.n_near_low, searched.n_near_high) == near


def test_the_middle_of_a_range_depends_on_its_scale() -> None:
    assert positions([0.0, 5.0, 10.0], Range(low=0.0, high=10.0)) == pytest.approx([0.0, 0.5, 1.0])
    assert positions([0.01, 0.1, 1.0], Range(low=0.01, high=1.0, log=True)) == pytest.approx(
        [0.0, 0.5, 1.0]
    )
    assert positions([3.0], Range(low=3.0, high=3.0)) == pytest.approx([0.5])


def test_selected_values_are_those_of_all_repetitions(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, study=REPEATED)
    made.repetitions("sgd", [[(0.9, 0.3)], [(0.8, 0.1)], [(0.7, 0.2), (0.75, 0.5)]])
    (searched,) = searched_ranges(made.load(), SPLIT)
    assert searched.selected == [0.1] * 4


def test_choices_are_counted_and_have_no_bounds(made: MadeUp) -> None:
    made.describe("sgd", space={"lr": {"choices": [1.0, 0.2, 0.1]}})
    select(made, 0.1, 0.2)
    (searched,) = searched_ranges(made.load(), SPLIT)
    assert searched.selected == [0.2, 0.1]  # in the order of the choices
    (row,) = space_rows(made.load(), [searched])
    assert row == {
        "Method": "SGD",
        "Search coordinate": "lr",
        "Searched range": "1.0, 0.2, 0.1",
        "Selected values": "0.2 (1×), 0.1 (1×)",
        "Within 5 % of a bound": "–",
    }


def test_a_row_names_the_bounds_that_selected_values_are_near(made: MadeUp) -> None:
    select(made, 0.0011, 0.9)
    (row,) = space_rows(made.load(), searched_ranges(made.load(), SPLIT))
    assert row["Searched range"] == "0.001 to 1, log scale"
    assert row["Selected values"] == "0.0011 to 0.9"
    assert row["Within 5 % of a bound"] == "⚠ lower bound 0.001 (1 of 2), ⚠ upper bound 1 (1 of 2)"


def test_a_method_without_a_selection_has_no_values(made: MadeUp) -> None:
    made.trial(0, (0.5, 0.5), status="failed")
    made.trial(0, (0.5, 0.5), method="ngm-sgd", lr=0.03)
    ngm, sgd = space_rows(made.load(), searched_ranges(made.load(), SPLIT))
    assert (ngm["Selected values"], sgd["Selected values"]) == ("0.03", "–")


def test_fixed_runs_have_no_search_spaces(tmp_path: Path) -> None:
    study = STUDY.replace("trials = 8", "trials = 1") + "settings = { ngm-sgd = {}, sgd = {} }\n"
    made = MadeUp(tmp_path, study=study)
    made.fixed_run("sgd", (0.9, 0.2))
    assert searched_ranges(made.load(), SPLIT) == []
    assert ablation_spaces(made.load(), SPLIT) == []


@pytest.mark.parametrize(
    ("full", "ablation", "is_contained"),
    [
        (LOG, LOG, True),
        (LOG, Range(low=1e-3 * (1 - 1e-12), high=1.0), True),  # rounding
        (LOG, Range(low=1e-2, high=0.1), True),
        (LOG, Range(low=1e-4, high=0.1), False),
        (LOG, Range(low=1e-2, high=2.0), False),
        (CHOICES, Range(choices=["output"]), True),
        (CHOICES, Range(choices=["output", "first"]), False),
        (CHOICES, LOG, False),
        (LOG, Range(choices=[0.1]), False),
    ],
)
def test_containment_of_ranges(full: Range, ablation: Range, is_contained: bool) -> None:
    assert SharedRange("x", full, ablation).is_contained is is_contained


def test_spaces_of_ablations_are_compared_on_shared_coordinates(made: MadeUp) -> None:
    space: dict[str, Any] = {"dc_gain": {"low": 0.1, "high": 10.0}}
    made.describe("ngm-sgd", space={"lr": {"low": 0.01, "high": 1.0, "log": True}, **space})
    made.trial(0, (0.9, 0.3))
    made.trial(0, (0.9, 0.3), method="ngm-sgd")
    assert ablation_spaces(made.load(), SPLIT) == []  # results that do not record the relation
    made.describe("sgd", ablation_of=["ema", "ngm-sgd"])
    (pair,) = ablation_spaces(made.load(), SPLIT)
    assert (pair.method, pair.ablation) == ("ngm-sgd", "sgd")
    assert [each.coordinate for each in pair.shared] == ["lr"]
    assert pair.outside == pair.shared
