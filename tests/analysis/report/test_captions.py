"""Captions of figures."""

from __future__ import annotations

import json
from pathlib import Path

from ngm_tune.analysis import write_report
from ngm_tune.analysis.charts.pareto import pareto_chart
from ngm_tune.analysis.statistics.pareto import pareto_info
from tests.helpers.made_up import STUDY, MadeUp
from tests.helpers.report_text import pareto_caption, plain_text

SPLIT = "split-digits"


def caption(made: MadeUp) -> str:
    loaded = made.load()
    info = pareto_info(loaded, SPLIT, [])
    pareto_chart(info).to_dict()
    return pareto_caption(loaded, SPLIT, info)


def test_an_incompletely_confirmed_search_is_captioned_as_search(tmp_path: Path) -> None:
    """Otherwise methods would be compared on different data."""
    made = MadeUp(tmp_path)
    for method in ("ngm-sgd", "sgd"):
        made.trial(0, (0.9, 0.3), method=method)
    made.trial(0, (0.8, 0.4), phase="confirm", spread=0.1)
    text = caption(made)
    assert "Faint points are trials, each the mean of 2 seeds." in text
    assert "Solid lines are the Pareto fronts of the trials." in text
    assert "All values are from validation data and not confirmed." in text
    assert "bars" not in text
    made.trial(0, (0.8, 0.4), method="ngm-sgd", phase="confirm", spread=0.1)
    text = caption(made)
    assert "re-run on test data with 3 fresh seeds (bars: ± 1 standard deviation)." in text
    assert "Solid lines are the Pareto fronts of the confirmed points." in text


def test_a_single_configuration_and_a_single_seed_are_singular(tmp_path: Path) -> None:
    study = STUDY.replace("seeds = 3", "seeds = 1").replace("seeds = 2", "seeds = 1")
    made = MadeUp(tmp_path, study=study.replace("trials = 8", "trials = 1"))
    made.trial(0, (0.9, 0.3), seeds=[0])
    made.confirmed(f"{SPLIT}.sgd.0000.confirm", [(0.8, 0.4)])
    text = caption(made)
    assert "on test data with 1 fresh seed. A dashed line" in text


def test_a_single_objective_has_no_front_line(tmp_path: Path) -> None:
    study = STUDY.replace('objectives = ["avg_acc", "avg_sg"]', 'objectives = ["avg_acc"]')
    made = MadeUp(tmp_path, study=study.replace(", avg_sg = 1.0", ""))
    made.trial(0, (0.9, 0.3))
    assert "Solid points are on their method's front." in caption(made)
    made.trial(0, (0.8, 0.4), phase="confirm")
    assert "Solid lines" not in caption(made)


def test_trials_outside_the_visible_range_are_counted(made: MadeUp) -> None:
    made.trial(0, (0.9, 0.3))
    loaded = made.load()
    info = pareto_info(loaded, SPLIT, [])._replace(n_hidden=2)
    assert "2 trials lie outside the visible range; zoom out in the page to see them." in (
        pareto_caption(loaded, SPLIT, info)
    )
    made.trial(0, (0.8, 0.4), phase="confirm")
    loaded = made.load()
    info = pareto_info(loaded, SPLIT, [])._replace(n_hidden=1, n_hidden_claims=1)
    assert (
        "1 trial lies outside the visible range (confirmed: 1); zoom out in the page to see it."
        in (pareto_caption(loaded, SPLIT, info))
    )


def test_fixed_runs_are_captioned_as_test_data(tmp_path: Path) -> None:
    study = STUDY.replace("trials = 8", "trials = 1") + "settings = { ngm-sgd = {}, sgd = {} }\n"
    made = MadeUp(tmp_path, study=study)
    made.fixed_run("sgd", (0.9, 0.2))
    assert caption(made).endswith(
        "Each point is a method with fixed hyper-parameters on test data: the mean of 2 seeds, "
        "with bars for ± 1 standard deviation."
    )


def test_a_search_that_ended_on_a_plateau_is_explained_with_its_rule(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, "plateau = { patience = 2, min_improvement = 0.01 }\n")
    for number in range(4):
        for method in ("sgd", "ngm-sgd"):
            made.trial(number, (0.9, 0.1), method=method)
    environment = made.results.read_environment() | {"plateaus": {SPLIT: 4}}
    made.results.write_text("environment.json", json.dumps(environment))
    text = report_text(made)
    assert (
        "The search ended after 4 trials per method, because the last 2 trials added at most "
        "1.0 % to each method's hypervolume." in text
    )
    environment["exhausted"] = {SPLIT: {"ngm-sgd": 1}}
    made.results.write_text("environment.json", json.dumps(environment))
    assert "after 4 trials per method that had untried configurations, because" in report_text(made)


def report_text(made: MadeUp) -> str:
    page = write_report(made.location, Path(made.location) / "report").page
    return plain_text(page.read_text().partition("<script>")[0])
