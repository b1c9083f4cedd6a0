"""Curvature, fast and slow weights, and cost, from a short run of the mechanism study."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from ngm_tune.analysis import write_report
from ngm_tune.analysis.loaded_study import LoadedStudy
from ngm_tune.analysis.loading import load
from ngm_tune.analysis.statistics.choice import choose
from ngm_tune.analysis.statistics.mechanism import (
    EFFECTIVE,
    RAW,
    cost_info,
    curvature_info,
    fast_and_slow_info,
)
from ngm_tune.benchmarks.models import MLP
from ngm_tune.execution.driver import drive
from ngm_tune.study.files import load_study
from ngm_tune.training import step_cost as cost
from ngm_tune.training.step_cost import Network
from ngm_tune.workspace.remaining import needs_costs
from tests.helpers.report_text import chart_kinds

pytestmark = pytest.mark.slow

CHANGES = [
    'methods=["ngm-sgd", "ngm-sgd-output", "entropy-lr", "sgd"]',
    "seeds=[1, 2]",
    "iterations_per_task=30",
    "eval_every=5",
    "probe_every=15",
    "title=A short one",
]
PROBED = [1, 2, 5, 10, 15, 30]


def small_networks() -> list[Network]:
    def build() -> MLP:
        return MLP((8, 4, 10), hidden_std=0.1, output_std=0.1)

    return [Network("MLP", 2, 4, build, (4, 8))]


@pytest.fixture(scope="module")
def mechanism(tmp_path_factory: pytest.TempPathFactory) -> LoadedStudy:
    location = str(tmp_path_factory.mktemp("mechanism"))
    settings = load_study("mechanism").settings or {}
    selected = {name: settings[name] for name in ("ngm-sgd", "ngm-sgd-output", "entropy-lr", "sgd")}
    tables = [
        f"{name} = {{ {', '.join(f'{k} = {v}' for k, v in values.items())} }}"
        for name, values in selected.items()
    ]
    study = load_study("mechanism", [*CHANGES, f"settings={{ {', '.join(tables)} }}"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cost, "NETWORKS", small_networks())
        patch.setattr(cost, "_SECONDS_PER_ROUND", 0.005)
        ended = drive(study, location, executor="local")
    assert (ended.complete, ended.done, ended.failed) == (True, 4, 0)
    return load(location)


def test_every_trial_is_probed_at_the_requested_iterations(mechanism: LoadedStudy) -> None:
    probes = pl.DataFrame(mechanism.results.read("probes"))
    counts = dict(probes.group_by("quantity").len().iter_rows())
    runs, tasks = 4 * 2, 5
    for quantity in ("sharpness_raw", "sharpness_effective"):
        assert counts[quantity] == runs * tasks * len(PROBED)
        iterations = probes.filter(quantity=quantity)["iteration"].unique().sort()
        assert iterations.to_list() == [30 * task + i for task in range(tasks) for i in PROBED]
    assert counts["slow_norm"] == counts["fast_norm"] == runs * tasks * 30
    assert counts["weight_step"] == counts["gain_step"] == runs * tasks * 30


def test_ratio_of_curvatures_is_the_squared_gain(mechanism: LoadedStudy) -> None:
    info = curvature_info(mechanism, "split-digits", choose(mechanism))
    assert info is not None
    assert set(info.traces["space"]) == {RAW, EFFECTIVE}
    deviations = dict(info.ratios.iter_rows())
    # Only methods with a gain; the ratio is g² if every layer has the gain.
    assert set(deviations) == {"NGM-SGD", "NGM-SGD, output layer"}
    assert deviations["NGM-SGD"] < 0.01
    assert deviations["NGM-SGD, output layer"] > 0.05
    assert info.task_starts == [31, 61, 91, 121]


def test_only_methods_whose_gain_changes_have_fast_weights(mechanism: LoadedStudy) -> None:
    info = fast_and_slow_info(mechanism, "split-digits", choose(mechanism))
    assert info is not None
    assert set(info.shares["Method"]) == {"NGM-SGD", "NGM-SGD, output layer"}
    steps = pl.DataFrame(mechanism.results.read("steps", ["split-digits.ngm-sgd.0000"]))
    gains = steps.filter(pl.col("iteration") == 40)["gain"].cast(pl.Float64)
    shown = info.shares.filter(Method="NGM-SGD", iteration=40)["mean"].item()
    assert shown == pytest.approx((1 - 1 / gains).mean(), rel=1e-3)


def test_every_method_has_a_cost_relative_to_sgd(mechanism: LoadedStudy) -> None:
    info = cost_info(mechanism)
    assert info is not None
    assert info.networks == ["MLP 2 x 4"]
    ratios = dict(info.rows.select("Method", "time_ratio").iter_rows())
    assert set(ratios) == set(info.methods)
    assert ratios["SGD"] == 1.0


def test_costs_are_due_only_for_methods_without_costs(mechanism: LoadedStudy) -> None:
    study = load_study("mechanism")
    assert needs_costs(study, mechanism.results.location, [])  # for the methods omitted here
    some = study.model_copy(update={"methods": ["sgd", "ngm-sgd"]})
    assert not needs_costs(some, mechanism.results.location, [])


def test_report_shows_the_mechanism(mechanism: LoadedStudy, tmp_path: Path) -> None:
    page = write_report(mechanism.results.location, tmp_path).page
    assert chart_kinds(page) >= {"curvature", "fast-and-slow", "cost"}
    text = page.read_text()
    for heading in ("Curvature: ", "Fast and slow weights", "Time and memory of a training step"):
        assert heading in text
    for name in ("split-digits-curvature", "split-digits-fast-and-slow", "cost"):
        assert (tmp_path / f"{name}.png").stat().st_size > 5_000
        assert (tmp_path / f"{name}.svg").exists()


def test_configurations_without_probes_have_no_mechanism_figures(mechanism: LoadedStudy) -> None:
    assert curvature_info(mechanism, "split-digits", []) is None
    assert fast_and_slow_info(mechanism, "split-digits", []) is None
