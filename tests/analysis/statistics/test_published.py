"""Published values and their replication."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from ngm_tune.analysis.loading import load
from ngm_tune.analysis.report.tables import published_rows
from ngm_tune.analysis.statistics.paper_values import PublishedValue
from ngm_tune.analysis.statistics.published import (
    MEAN_CURVE,
    PER_SEED,
    Replication,
    protocol_departures,
    replications,
)
from ngm_tune.results.directory import Results
from ngm_tune.results.schema import CURVES_SCHEMA, STEPS_SCHEMA, trials_schema

STUDY = """
name = "paper-split-mnist"
title = "Made up"
benchmarks = ["split-mnist"]
methods = ["ngm-sgd"]
trials = 1
seeds = [1, 2]
seed = 0
sampler = "tpe"
objectives = ["avg_acc", "avg_sg_first"]
reference_point = { avg_acc = 0.1, avg_sg_first = 1.0 }

[settings.ngm-sgd]
lr = 0.01
"""

TRIAL = "split-mnist.ngm-sgd.0000"
LENGTH, TASKS = 4, 5


@pytest.fixture
def location(tmp_path: Path) -> Path:
    """Two seeds with a first-task accuracy of 0.8 and one dip per task, at different iterations."""
    results = Results(str(tmp_path))
    results.write_text("study.toml", STUDY)
    curves, steps = [], []
    for seed, dip in ((1, 1), (2, 2)):
        for t in range(1, LENGTH * TASKS + 1):
            task = (t - 1) // LENGTH
            dipped = task > 0 and t - task * LENGTH == dip
            row = {"trial_id": TRIAL, "seed": seed, "iteration": t, "task": task}
            curves.append({**row, "eval_task": 0, "accuracy": 0.4 if dipped else 0.8, "loss": 0.1})
            steps.append({**row, "loss": 0.1, "entropy": 0.1, "gain": 1.0 + 0.1 * t})
    results.write("curves", TRIAL, pa.Table.from_pylist(curves, CURVES_SCHEMA))
    results.write("steps", TRIAL, pa.Table.from_pylist(steps, STEPS_SCHEMA))
    results.write("trials", TRIAL, rows("confirm"))
    return tmp_path


def rows(phase: str) -> pa.Table:
    """Return a completed run of each seed."""
    identity = {
        "study": "paper-split-mnist",
        "benchmark": "split-mnist",
        "method": "ngm-sgd",
        "repetition": 0,
        "trial_id": TRIAL,
        "phase": phase,
        "status": "completed",
    }
    scores = {"avg_acc": 0.9, "avg_sg_first": 0.5, "wall_seconds": 1.0}
    scores["iterations"] = LENGTH * TASKS
    seeds = [{**identity, "seed": seed, **scores} for seed in (1, 2)]
    return pa.Table.from_pylist(seeds, trials_schema({"lr": "float"}))


def test_the_mean_curve_hides_dips_that_seeds_do_not_share(location: Path) -> None:
    cells = {cell.quantity: cell for cell in replications(load(str(location)))}
    assert cells[PER_SEED].mean == pytest.approx(0.5)
    assert cells[MEAN_CURVE].mean == pytest.approx(0.25)
    assert cells[PER_SEED].published == PublishedValue(0.028, 0.002)
    assert cells[PER_SEED].differs
    into_3 = cells["SG of the transition into task 3, first task, on the mean curve"]
    assert (into_3.mean, into_3.published) == (pytest.approx(0.25), PublishedValue(0.015))
    assert cells["first-task accuracy, end of task 3"].mean == pytest.approx(0.8)
    assert cells["gain, end of task 2"].mean == pytest.approx(1.8)
    assert cells["gain, peak"].mean == pytest.approx(3.0)


def test_significant_differences_from_the_paper_are_marked(location: Path) -> None:
    loaded = load(str(location))
    first, *_ = published_rows(loaded, replications(loaded))
    assert first == {
        "Benchmark": "split-mnist",
        "Method": "ngm-sgd",
        "Quantity": MEAN_CURVE,
        "Published": "0.017",
        "Here": "0.250 ± 0.000",
        "": "≠",
    }


@pytest.mark.parametrize(
    ("published", "mean", "sd", "differs"),
    [
        (PublishedValue(0.5, 0.03), 0.544, 0.04, False),  # two means over five seeds
        (PublishedValue(0.5, 0.03), 0.546, 0.04, True),
        (PublishedValue(0.5), 0.525, 0.02, False),
        (PublishedValue(0.5), 0.526, 0.02, True),
        (PublishedValue(0.5, 0.02), 0.543, None, False),  # a single seed
        (PublishedValue(0.5, 0.02), 0.545, None, True),
        (PublishedValue(0.5), 0.9, None, False),
        (None, 0.9, 0.1, False),
    ],
)
def test_values_differ_beyond_two_standard_errors(
    published: PublishedValue | None, mean: float, sd: float | None, differs: bool
) -> None:
    seeds = 1 if sd is None else 5
    assert Replication("b", "m", "q", published, mean, sd, seeds).differs is differs


@pytest.mark.filterwarnings("error")
def test_a_missing_value_does_not_differ_from_the_paper() -> None:
    published = PublishedValue(0.1, 0.04)
    assert not Replication("b", "m", "q", published, float("nan"), None, 0, 5).differs


def test_diverged_seeds_are_omitted_and_counted(location: Path) -> None:
    results = Results(str(location))
    methods = STUDY.replace('["ngm-sgd"]', '["ngm-sgd", "sgd"]') + "[settings.sgd]\nlr = 0.01\n"
    results.write_text("study.toml", methods)
    for method, diverged in (("ngm-sgd", [2]), ("sgd", [1, 2])):
        trial = f"split-mnist.{method}.0000"
        table = [row | {"method": method, "trial_id": trial} for row in rows("confirm").to_pylist()]
        for row in table:
            if row["seed"] in diverged:
                row |= {"status": "diverged", "avg_acc": 0.0, "avg_sg_first": 1.0}
        results.write("trials", trial, pa.Table.from_pylist(table, trials_schema({"lr": "float"})))
    loaded = load(str(location))
    table_rows = published_rows(loaded, replications(loaded))
    assert {row["Method"] for row in table_rows} == {
        "ngm-sgd (1 of 2 seeds diverged)",
        "sgd (2 of 2 seeds diverged)",
    }
    curves = {row["Method"][:3]: row["Here"] for row in table_rows if row["Quantity"] == MEAN_CURVE}
    assert curves == {"ngm": "0.500", "sgd": "–"}


@pytest.mark.parametrize("damage", ["missing", "short", "no rows", "truncated"])
@pytest.mark.parametrize("table", ["curves", "steps"])
def test_incomplete_seeds_are_omitted_and_counted(location: Path, table: str, damage: str) -> None:
    """The file is missing or truncated, or lacks some or all rows of a seed."""
    results = Results(str(location))
    path = location / table / f"{TRIAL}.parquet"
    both = damage in ("missing", "truncated")
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:500])
    else:
        end = 15 if damage == "short" else 0
        remaining = [
            row
            for row in results.read(table, [TRIAL]).to_pylist()
            if row["seed"] == 2 or row["iteration"] <= end
        ]
        results.write(table, TRIAL, pa.Table.from_pylist(remaining, results.read(table).schema))
    loaded = load(str(location))
    rows = published_rows(loaded, replications(loaded))
    gaps, peak = rows[0], {row["Quantity"]: row for row in rows}.get("gain, peak")
    method = "ngm-sgd (2 of 2 seeds incomplete)" if both else "ngm-sgd (1 of 2 seeds incomplete)"
    if table == "curves":
        assert (gaps["Method"], gaps["Here"]) == (method, "–" if both else "0.500")
    else:
        assert (gaps["Method"], gaps["Here"]) == ("ngm-sgd", "0.250 ± 0.000")
        assert peak is not None
        assert (peak["Method"], peak["Here"]) == (method, "–" if both else "3.000")


def test_search_is_not_compared_with_the_paper(location: Path) -> None:
    results = Results(str(location))
    results.write_text("study.toml", STUDY.partition("[settings")[0])
    results.write("trials", TRIAL, rows("search"))
    assert replications(load(str(location))) == []


def test_departures_from_the_protocol_are_listed(location: Path) -> None:
    seeds = "seeds = [1, 2]"
    settings = "ngm-sgd.gain_sensitivity = None", "ngm-sgd.entropy_smoothing = None"
    assert protocol_departures(load(str(location))) == [seeds, *settings]
    study = location / "study.toml"
    study.write_text('strategy = "naive"\neval_every = 5\n' + study.read_text())
    expected = ["eval_every = 5", "strategy = naive", seeds, *settings]
    assert protocol_departures(load(str(location))) == expected
    study.write_text(study.read_text().replace("lr = 0.01", "lr = 0.1"))
    expected = [*expected[:3], "ngm-sgd.lr = 0.1", *settings]
    assert protocol_departures(load(str(location))) == expected
