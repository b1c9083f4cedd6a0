"""How reports spell numbers, and what they say of the Pareto chart, on results made up here."""

from __future__ import annotations

from pathlib import Path

import pytest

from ngm_tune.analysis.charts.pareto import pareto_chart, pareto_info
from ngm_tune.analysis.formatting import counted, number, signed
from ngm_tune.analysis.report.sections import pareto_caption
from ngm_tune.analysis.report.tables import methods_table, search_facts
from tests.helpers.made_up import STUDY, MadeUp

SPLIT = "split-digits"


def caption(made: MadeUp) -> str:
    loaded = made.load()
    info = pareto_info(loaded, SPLIT, [])
    pareto_chart(info).to_dict()
    return pareto_caption(loaded, SPLIT, info)


def test_differences_have_a_sign_and_nothing_has_no_minus() -> None:
    values = (0.0125, -0.0125, -0.0004, 0.0, float("nan"))
    assert [signed(v) for v in values] == ["+0.013", "−0.013", "+0.000", "+0.000", "+nan"]
    assert [number(v) for v in values] == ["0.013", "−0.013", "0.000", "0.000", "nan"]
    assert number(57.55, digits=1) == "57.5"


def test_one_is_no_plural() -> None:
    assert [counted(n, "fresh seed") for n in (0, 1, 2)] == [
        "0 fresh seeds",
        "1 fresh seed",
        "2 fresh seeds",
    ]


def test_a_search_that_is_confirmed_in_part_is_shown_as_the_search(tmp_path: Path) -> None:
    """Or some methods would be compared on other data than others."""
    made = MadeUp(tmp_path)
    for method in ("ngm-sgd", "sgd"):
        made.trial(0, (0.9, 0.3), method=method)
    made.trial(0, (0.8, 0.4), phase="confirm", spread=0.1)
    part = caption(made)
    assert part.startswith("A faint point is a trial, the mean of 2 seeds; a line is what a method")
    assert "All are on validation data: not confirmed." in part
    assert "bars" not in part
    made.trial(0, (0.8, 0.4), method="ngm-sgd", phase="confirm", spread=0.1)
    whole = caption(made)
    assert "run again on test data with 3 fresh seeds (bars: ± 1 sd)" in whole
    assert "A solid line is what a method attains, its Pareto front among confirmed points" in whole
    assert "and squares those that the answer compares" in whole


def test_one_of_everything(tmp_path: Path) -> None:
    study = STUDY.replace("seeds = 3", "seeds = 1").replace("seeds = 2", "seeds = 1")
    made = MadeUp(tmp_path, study=study.replace("trials = 8", "trials = 1"))
    made.trial(0, (0.9, 0.3), seeds=[0])
    made.confirmed(f"{SPLIT}.sgd.0000.confirm", [(0.8, 0.4)])
    said = caption(made)
    assert "on test data with 1 fresh seed, and the dashed line" in said
    assert "and a square is the one that the answer is about" in said
    facts = search_facts(made.load())
    assert facts["Effort"].startswith("1 trial of 1 seed for every method")
    assert facts["Evaluated on"].endswith(
        "1 configuration of the fronts run again with 1 fresh seed"
    )
    (row,) = methods_table(made.load(), []).to_dicts()
    assert row["avg_sg_near_best_avg_acc"] == pytest.approx(0.4)
    assert row["avg_sg_near_best_avg_acc_sd"] is None


def test_fronts_of_other_than_two_objectives_have_no_line(tmp_path: Path) -> None:
    study = STUDY.replace('objectives = ["avg_acc", "avg_sg"]', 'objectives = ["avg_acc"]')
    made = MadeUp(tmp_path, study=study.replace(", avg_sg = 1.0", ""))
    made.trial(0, (0.9, 0.3))
    assert "a solid one is on its method's front" in caption(made)
    made.trial(0, (0.8, 0.4), phase="confirm")
    assert " line is what " not in caption(made)
