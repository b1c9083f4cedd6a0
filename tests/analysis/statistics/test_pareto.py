"""Data of the Pareto chart."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from ngm_tune.analysis.loaded_study import LoadedStudy
from ngm_tune.analysis.statistics.choice import choose
from ngm_tune.analysis.statistics.pareto import pareto_info
from tests.helpers.made_up import REPEATED, STUDY, MadeUp


def test_every_completed_trial_is_in_the_chart(loaded: LoadedStudy) -> None:
    info = pareto_info(loaded, "split-digits", choose(loaded))
    assert set(info.trials["status"]) == {"completed"}
    trials = pl.concat(
        [loaded.search_trials("split-digits"), loaded.confirmed_trials("split-digits")],
        how="diagonal",
    )
    completed = trials.filter(pl.col("status") == "completed")
    assert set(info.trials["trial_id"]) == set(completed["trial_id"])
    claims = info.trials.filter("claim")
    assert set(claims["trial_id"]) == set(loaded.evidence("split-digits")["trial_id"])
    assert info.pairs["origin"].to_list() == [
        i.removesuffix(".confirm") for i in info.pairs["trial_id"]
    ]
    assert info.trials["chosen"].sum() == info.trials["Method"].n_unique()
    assert (info.x.name, info.y.name) == ("avg_sg", "avg_acc")


def test_attainment_lines_end_at_the_reference_point(made: MadeUp) -> None:
    made.trial(0, (0.9, 0.3))
    made.trial(1, (0.8, 0.1))
    made.trial(2, (0.7, 0.2))  # dominated
    made.trial(0, (0.85, 0.2), method="ngm-sgd")
    info = pareto_info(made.load(), "split-digits", [])
    lines = {
        name: rows.select("avg_sg", "avg_acc").rows()
        for (name,), rows in info.attained.group_by("Method")
    }
    assert lines["SGD"] == [(0.1, 0.8), (0.3, 0.9), (1.0, 0.9)]
    assert lines["NGM-SGD"] == [(0.2, 0.85), (1.0, 0.85)]
    assert info.spread.is_empty()


def test_with_repetitions_lines_are_median_attainment_surfaces(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, study=REPEATED)
    made.repetitions("ngm-sgd", [[(0.9, 0.3)], [(0.8, 0.1)], [(0.7, 0.2), (0.75, 0.5)]])
    made.repetitions("sgd", [[(0.9, 0.3)], [(0.9, 0.3)], [(0.8, 0.2)]])
    info = pareto_info(made.load(), "split-digits", [])
    attained = info.attained.with_columns(pl.col("avg_sg", "avg_acc").round(9))
    lines = {
        name: rows.select("avg_sg", "avg_acc").rows()
        for (name,), rows in attained.group_by("Method")
    }
    # At a gap of 0.2 two of three repetitions reach 0.7, and at 0.3 they reach 0.8.
    assert lines["NGM-SGD"] == [(0.2, 0.7), (0.3, 0.8), (1.0, 0.8)]
    assert lines["SGD"] == [(0.3, 0.9), (1.0, 0.9)]


def test_confirmed_points_have_bars(made: MadeUp) -> None:
    made.trial(0, (0.9, 0.2))
    made.trial(0, (0.9, 0.2), phase="confirm", spread=0.05)
    (bars,) = pareto_info(made.load(), "split-digits", []).spread.to_dicts()
    assert (bars["y_low"], bars["y_high"]) == pytest.approx((0.85, 0.95))
    assert (bars["x_low"], bars["x_high"]) == pytest.approx((0.2, 0.2))


def test_every_fixed_run_is_visible(tmp_path: Path) -> None:
    methods = ["a", "b", "c", "d"]
    settings = ", ".join(f"{name} = {{ lr = 0.1 }}" for name in methods)
    study = STUDY.replace('["ngm-sgd", "sgd"]', str(methods)).replace("trials = 8", "trials = 1")
    made = MadeUp(tmp_path, f"settings = {{ {settings} }}", study)
    for method, point in zip(
        methods, [(0.76, 0.2), (0.75, 0.5), (0.74, 0.4), (0.3, 0.6)], strict=True
    ):
        made.fixed_run(method, point)
    info = pareto_info(made.load(), "split-digits", [])
    assert (info.trials.height, info.n_hidden) == (4, 0)
