"""What a report says of a search: claims, optimism, effort, robustness; on results made up here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from ngm_tune.analysis import write_report
from ngm_tune.analysis.charts.pareto import pareto_info
from ngm_tune.analysis.loading import PARTIAL
from ngm_tune.analysis.report.tables import methods_table, search_facts, stopped_rows
from ngm_tune.analysis.statistics.answer import findings
from ngm_tune.analysis.statistics.choice import choose
from ngm_tune.analysis.statistics.effort import effort_info, robustness_info
from ngm_tune.analysis.statistics.optimism import optimism, spelled
from ngm_tune.results.schema import TASKS_SCHEMA
from tests.helpers.made_up import STUDY, MadeUp


@pytest.fixture
def made(tmp_path: Path) -> MadeUp:
    return MadeUp(tmp_path)


def test_claims_rest_on_the_confirmed_trials_of_a_benchmark(made: MadeUp) -> None:
    made.trial(0, (0.9, 0.1))
    made.trial(1, (0.8, 0.3))
    assert not made.load().is_confirmed("split-digits")
    assert "not confirmed" in findings(made.load())[0]
    made.trial(0, (0.85, 0.15), phase="confirm")
    loaded = made.load()
    assert loaded.is_confirmed("split-digits")
    assert loaded.of("split-digits")["trial_id"].to_list() == ["split-digits.sgd.0000.confirm"]
    assert loaded.searched("split-digits").height == 2
    table = methods_table(loaded, choose(loaded))
    row = table.filter(method="sgd").to_dicts()[0]
    assert (row["trials"], row["confirmed_trials"]) == (2, 1)
    assert row["hypervolume"] == pytest.approx(0.85 * 0.85)
    assert row["search_hypervolume"] == pytest.approx(0.9 * 0.9)
    assert row["optimism_avg_acc"] == pytest.approx(0.05)
    assert row["optimism_avg_sg"] == pytest.approx(0.05)
    assert "not confirmed" not in findings(loaded)[0]
    assert "of 0.150, at an average accuracy of 0.850, on test data." in findings(loaded)[0]


@pytest.mark.parametrize(
    ("starts", "said"),
    [
        ({"ngm-sgd": 2, "sgd": 2}, "2 given points of every method on split-digits"),
        (
            {"ngm-sgd": 12, "sgd": 0},
            "points given on split-digits: NGM-SGD 12, SGD 0; the effort is not equal where they "
            "come from earlier tuning",
        ),
        ({"ngm-sgd": 0, "sgd": 0}, None),
    ],
)
def test_where_searches_started_from_is_told(
    made: MadeUp, starts: dict[str, int], said: str | None
) -> None:
    made.trial(0, (0.9, 0.1))
    environment = made.results.environment() | {"points": {"split-digits": starts}}
    made.results.write_text("environment.json", json.dumps(environment))
    assert search_facts(made.load()).get("Started from") == said


def test_optimism_is_the_mean_over_what_was_confirmed(made: MadeUp) -> None:
    made.trial(0, (0.9, 0.1))
    made.trial(1, (0.7, 0.0))
    made.trial(2, (0.1, 0.9))  # dominated, never confirmed
    made.trial(0, (0.8, 0.2), phase="confirm")
    made.trial(1, (0.72, 0.01), phase="confirm")
    accuracy, gap, volume = optimism(made.load(), "split-digits", "sgd")
    assert accuracy.configurations == 2
    assert accuracy.searched == pytest.approx(0.8)
    assert accuracy.optimism == pytest.approx((0.1 - 0.02) / 2)
    assert gap.optimism == pytest.approx((0.1 + 0.01) / 2)
    searched, confirmed = 0.7 * 0.1 + 0.9 * 0.9, 0.72 * 0.19 + 0.8 * 0.8
    assert volume.searched == pytest.approx(searched)
    assert volume.optimism == pytest.approx(searched - confirmed)
    pairs = pareto_info(made.load(), "split-digits", []).pairs.sort("trial_id")
    assert pairs["searched_avg_acc"].to_list() == pytest.approx([0.9, 0.7])


def test_the_error_of_optimism_is_that_of_the_seeds(made: MadeUp) -> None:
    """What seeds do to all configurations alike does not average out over configurations."""
    for number, point in enumerate(((0.9, 0.3), (0.8, 0.1))):
        made.trial(number, point, spread=0.02)
        made.trial(number, point, spread=0.03, phase="confirm")
    accuracy, gap, volume = optimism(made.load(), "split-digits", "sgd")
    assert accuracy.error == pytest.approx((0.02**2 / 4 + 0.03**2 / 3) ** 0.5)
    assert gap.error == pytest.approx(0.0)
    assert volume.error == pytest.approx(0.9 * accuracy.error)  # of 0.9 in gap by all of accuracy


def test_optimism_of_one_seed_has_no_error(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, study=STUDY.replace("seeds = 2", "seeds = 1"))
    made.trial(0, (0.9, 0.1), seeds=(0,))
    made.trial(0, (0.8, 0.2), phase="confirm")
    assert spelled(optimism(made.load(), "split-digits", "sgd")[0]) == "0.900 → 0.800 (+0.100)"


def test_a_confirmation_that_diverged_is_a_result(made: MadeUp) -> None:
    made.trial(0, (0.9, 0.1))
    made.trial(0, (0.0, 1.0), phase="confirm", status="diverged")
    loaded = made.load()
    assert optimism(loaded, "split-digits", "sgd")[0].optimism == pytest.approx(0.9)
    assert choose(loaded) == []


def test_no_method_claims_more_confirmed_trials_than_the_study_confirms(made: MadeUp) -> None:
    for number, point in enumerate(((0.9, 0.3), (0.8, 0.2), (0.7, 0.1), (0.6, 0.5))):
        made.trial(number, point)
        made.trial(number, point, phase="confirm")
    confirmed = made.load().confirmed
    assert confirmed.height == 2
    assert "split-digits.sgd.0003" not in confirmed["origin"]  # no longer on the front


def test_what_did_not_get_all_seeds_or_was_stopped_is_on_no_front(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, "racing = { chance = 0.2 }\n")
    made.trial(0, (0.5, 0.5))
    made.trial(1, (0.99, 0.0), seeds=(0,))
    made.trial(2, (0.99, 0.0), status="stopped", iterations=40)
    trials = made.load().searched("split-digits")
    assert made.results.files("trials")[2] == "split-digits.sgd.0001@0.parquet"
    assert trials["status"].to_list() == ["completed", PARTIAL, "stopped"]
    assert trials["front"].to_list() == [True, False, False]
    row = methods_table(made.load(), []).filter(method="sgd").to_dicts()[0]
    assert (row["completed"], row[PARTIAL], row["stopped"]) == (1, 1, 1)


def test_constraints_keep_trials_off_the_front(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, 'constraints = ["avg_acc >= 0.8"]\n')
    made.trial(0, (0.9, 0.5))
    made.trial(1, (0.7, 0.0))
    assert made.load().searched("split-digits")["front"].to_list() == [True, False]
    assert methods_table(made.load(), []).filter(method="sgd")["infeasible"].to_list() == [1]


def test_stopped_trials_are_listed_with_what_they_saved(made: MadeUp) -> None:
    made.trial(0, (0.9, 0.1))
    made.trial(1, (0.0, 0.0), status="stopped", iterations=40)
    trial = "split-digits.sgd.0001"
    tasks = [{"trial_id": trial, "seed": s, "task": t} for s in (0, 1) for t in (0, 1)]
    made.results.write("tasks", trial, pa.Table.from_pylist(tasks, TASKS_SCHEMA))
    (row,) = stopped_rows(made.load(), "split-digits")
    assert row["Stopped after"] == "task 2"
    assert row["Trial"] == trial
    # 2 seeds x 60 of 400 iterations.
    told = search_facts(made.load())["Stopped early"]
    assert "saved 30%" in told
    assert "diverged" not in told
    made.trial(2, (0.0, 0.0), status="stopped", iterations=40, diverged_at=30)
    assert "of 1 of them a seed had diverged" in search_facts(made.load())["Stopped early"]


def test_expected_hypervolume_is_the_mean_over_orders(made: MadeUp) -> None:
    points = ((0.5, 0.5), (0.8, 0.5), (0.5, 0.2))
    for number, point in enumerate(points):
        made.trial(number, point)
    made.trial(3, (0.0, 0.0), status="stopped")
    info = effort_info(made.load(), "split-digits")
    assert info is not None
    growth = info.growth.filter(unit="trials", Method="SGD")
    assert growth["budget"].to_list() == [1, 2, 3, 4]
    assert growth["found"].to_list() == pytest.approx([0.25, 0.4, 0.55, 0.55])
    # Of one trial: a quarter each of nothing, 0.25, 0.4 and 0.4.
    assert growth["mean"][0] == pytest.approx(1.05 / 4, abs=0.03)
    assert growth["mean"][3] == pytest.approx(0.55)
    assert (growth["low"] <= growth["mean"] + 1e-9).all()
    assert (growth["mean"] <= growth["high"] + 1e-9).all()
    hours = info.growth.filter(unit="hours", Method="SGD")
    assert hours["budget"].to_numpy().max() == pytest.approx(4.0)  # 4 trials of 2 x 1800 s
    assert hours["found"][-1] == pytest.approx(0.55)
    assert hours.filter(pl.col("budget") < 0.99)["mean"].to_numpy().max() == 0.0


def test_with_racing_a_budget_is_of_seed_runs(tmp_path: Path) -> None:
    """Else a method that spreads its seed-runs over more trials would have got more of them."""
    made = MadeUp(tmp_path, "racing = { chance = 0.2 }\n")
    made.trial(0, (0.5, 0.5))
    made.trial(1, (0.9, 0.1), seeds=(0,))
    made.trial(2, (0.9, 0.1), seeds=(0,))
    for number in range(2):
        made.trial(number, (0.5, 0.5), method="ngm-sgd")
    info = effort_info(made.load(), "split-digits")
    assert info is not None
    growth = info.growth.filter(unit="seed-runs")
    for method in ("SGD", "NGM-SGD"):
        assert growth.filter(Method=method)["budget"].to_list() == [1, 2, 3, 4]
    # Two seed-runs have trial 0 whole only where it comes first.
    ngm = growth.filter(Method="NGM-SGD")["mean"].to_list()
    assert ngm == pytest.approx([0.0, 0.25, 0.25, 0.25])
    sgd = growth.filter(Method="SGD")["mean"].to_list()
    assert sgd[0] == 0.0
    assert sgd[1] == pytest.approx(0.25 / 3, abs=0.03)
    assert sgd[3] == pytest.approx(0.25)


def test_the_share_of_a_space_is_that_of_the_nearest_trials(made: MadeUp) -> None:
    # On the logarithmic scale of 0.001 .. 1 these are evenly spaced: an eighth of it each.
    rates = 10.0 ** (3 * (np.arange(8) + 0.5) / 8 - 3)
    points = ((0.9, 0.1), (0.85, 0.1), *[(0.2, 0.9)] * 6)
    for number, (lr, point) in enumerate(zip(rates.tolist(), points, strict=True)):
        made.trial(number, point, lr=lr)
    made.trial(0, (0.9, 0.1), method="ngm-sgd")  # of which too few were tried
    info = robustness_info(made.load(), "split-digits")
    assert info is not None
    assert info.within("SGD", 0.0) == pytest.approx(1 / 8, abs=0.002)
    assert info.within("SGD", 0.049) == pytest.approx(1 / 8, abs=0.002)
    assert info.within("SGD", 0.051) == pytest.approx(2 / 8, abs=0.002)
    assert info.within("SGD", 0.2) == pytest.approx(2 / 8, abs=0.002)
    assert info.within("NGM-SGD") is None


def test_a_space_is_not_good_for_being_at_chance(made: MadeUp) -> None:
    rates = 10.0 ** (3 * (np.arange(8) + 0.5) / 8 - 3)
    points = ((0.9, 0.1), (0.7, 0.05), *[(0.01, 0.0)] * 4, *[(0.2, 0.9)] * 2)
    for number, (lr, point) in enumerate(zip(rates.tolist(), points, strict=True)):
        made.trial(number, point, lr=lr)
    loaded = made.load()
    assert loaded.searched("split-digits")["front"].sum() == 6
    info = robustness_info(loaded, "split-digits")
    assert info is not None
    assert info.within("SGD", 0.0) == pytest.approx(2 / 8, abs=0.002)


def test_a_range_of_one_value_tells_trials_not_apart(made: MadeUp) -> None:
    space = {"lr": {"low": 0.1, "high": 0.1, "log": True, "step": None}}
    methods = {"sgd": {"title": "SGD", "space": space}}
    made.results.write_text("environment.json", json.dumps({"methods": methods}))
    for number in range(8):
        made.trial(number, (0.9, 0.1))
    info = robustness_info(made.load(), "split-digits")
    assert info is not None
    assert info.within("SGD", 0.0) == 1.0


def test_a_plateau_is_told_with_its_evidence(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, "plateau = { trials = 2, growth = 0.01 }\n")
    for number in range(4):
        for method in ("sgd", "ngm-sgd"):
            made.trial(number, (0.9, 0.1), method=method)
    environment = made.results.environment() | {"plateaus": {"split-digits": 4}}
    made.results.write_text("environment.json", json.dumps(environment))
    page = write_report(made.location, tmp_path / "report").page.read_text()
    assert "The search ended after 4 trials of every method" in page
    assert "added less than 1.0%" in page
    effort = search_facts(made.load())["Effort"]
    assert effort.startswith("8 trials of 2 seeds for every method and benchmark")
    assert effort.endswith("on split-digits the search ended after 4 trials of every method")


def test_a_search_that_tried_all_there_is_lacks_nothing(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, "plateau = { trials = 2, growth = 0.01 }\n")
    for number in range(4):
        made.trial(number, (0.9, 0.1))
    made.trial(0, (0.9, 0.1), method="ngm-sgd")
    kept = made.results.environment() | {"plateaus": {"split-digits": 4}}
    made.results.write_text("environment.json", json.dumps(kept))
    assert "NGM-SGD on split-digits has 1 of 4 trials" in search_facts(made.load())["Not complete"]
    kept["exhausted"] = {"split-digits": {"ngm-sgd": 1}}
    made.results.write_text("environment.json", json.dumps(kept))
    facts = search_facts(made.load())
    assert "Not complete" not in facts
    assert facts["Effort"].endswith("; NGM-SGD on split-digits has no more than 1 configuration")
    page = write_report(made.location, tmp_path / "report").page.read_text()
    assert "The search ended after 4 trials of every method that had any left, as" in page


def test_lines_show_what_is_attained_up_to_the_reference_point(made: MadeUp) -> None:
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


def test_what_the_answer_compares_is_marked_and_within_the_frame(made: MadeUp) -> None:
    for method, far in (("ngm-sgd", 0.9), ("sgd", 0.2)):
        made.trial(0, (0.9, far), method=method)
        made.trial(1, (0.5, 0.1), method=method)
        made.trial(0, (0.9, far), method=method, phase="confirm", spread=0.05)
        made.trial(1, (0.5, 0.1), method=method, phase="confirm")
    info = pareto_info(made.load(), "split-digits", [])
    marked = info.trials.filter("compared")
    assert sorted(marked["trial_id"]) == [
        f"split-digits.{method}.0000.confirm" for method in ("ngm-sgd", "sgd")
    ]
    assert info.x_domain[1] > 0.9
    bars = info.spread.filter(Method="SGD", avg_acc=0.9).to_dicts()[0]
    assert (bars["y_low"], bars["y_high"]) == pytest.approx((0.85, 0.95))
    assert (bars["x_low"], bars["x_high"]) == pytest.approx((0.2, 0.2))


def test_every_method_with_given_settings_is_within_the_frame(tmp_path: Path) -> None:
    methods = ["a", "b", "c", "d"]
    settings = ", ".join(f"{name} = {{ lr = 0.1 }}" for name in methods)
    study = STUDY.replace('["ngm-sgd", "sgd"]', str(methods)).replace("trials = 8", "trials = 1")
    made = MadeUp(tmp_path, f"settings = {{ {settings} }}", study)
    for method, point in zip(
        methods, [(0.76, 0.2), (0.75, 0.5), (0.74, 0.4), (0.3, 0.6)], strict=True
    ):
        made.given(method, point)
    info = pareto_info(made.load(), "split-digits", [])
    assert (info.trials.height, info.hidden) == (4, 0)
