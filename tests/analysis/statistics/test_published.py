"""The paper's numbers next to ours."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from ngm_tune.analysis.loading import load
from ngm_tune.analysis.statistics.published import (
    MEAN_CURVE,
    PER_SEED,
    Cell,
    Published,
    comparison,
    comparison_rows,
    departures,
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
    """Two seeds whose first-task accuracy is 0.8, but for a dip per task, at different times."""
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
    """A run of either seed."""
    identity = {
        "study": "paper-split-mnist",
        "benchmark": "split-mnist",
        "method": "ngm-sgd",
        "trial_id": TRIAL,
        "phase": phase,
        "status": "completed",
    }
    scores = {"avg_acc": 0.9, "avg_sg_first": 0.5, "wall_seconds": 1.0}
    scores["iterations"] = LENGTH * TASKS
    seeds = [{**identity, "seed": seed, **scores} for seed in (1, 2)]
    return pa.Table.from_pylist(seeds, trials_schema({"lr": "float"}))


def test_the_mean_curve_hides_dips_that_seeds_do_not_share(location: Path) -> None:
    cells = {cell.quantity: cell for cell in comparison(load(str(location)))}
    assert cells[PER_SEED].ours == pytest.approx(0.5)
    assert cells[MEAN_CURVE].ours == pytest.approx(0.25)
    assert cells[PER_SEED].published == Published(0.028, 0.002)
    assert cells[PER_SEED].outside
    into_3 = cells["SG of the transition into task 3, first task, on the mean curve"]
    assert (into_3.ours, into_3.published) == (pytest.approx(0.25), Published(0.015))
    assert cells["first-task accuracy, end of task 3"].ours == pytest.approx(0.8)
    assert cells["gain, end of task 2"].ours == pytest.approx(1.8)
    assert cells["gain, peak"].ours == pytest.approx(3.0)


def test_rows_mark_what_is_outside(location: Path) -> None:
    loaded = load(str(location))
    first, *_ = comparison_rows(loaded, comparison(loaded))
    assert first == {
        "Benchmark": "split-mnist",
        "Method": "ngm-sgd",
        "Quantity": MEAN_CURVE,
        "Published": "0.017",
        "Here": "0.250 ± 0.000",
        "": "≠",
    }


@pytest.mark.parametrize(
    ("published", "ours", "our_sd", "outside"),
    [
        (Published(0.5, 0.03), 0.544, 0.04, False),  # both are means over five seeds
        (Published(0.5, 0.03), 0.546, 0.04, True),
        (Published(0.5), 0.525, 0.02, False),
        (Published(0.5), 0.526, 0.02, True),
        (Published(0.5, 0.02), 0.543, None, False),  # of a single seed
        (Published(0.5, 0.02), 0.545, None, True),
        (Published(0.5), 0.9, None, False),
        (None, 0.9, 0.1, False),
    ],
)
def test_outside_is_two_standard_errors_of_the_difference(
    published: Published | None, ours: float, our_sd: float | None, outside: bool
) -> None:
    seeds = 1 if our_sd is None else 5
    assert Cell("b", "m", "q", published, ours, our_sd, seeds).outside is outside


@pytest.mark.filterwarnings("error")
def test_where_every_seed_diverged_nothing_can_be_told() -> None:
    assert not Cell("b", "m", "q", Published(0.1, 0.04), float("nan"), None, 0, 5).outside


def test_seeds_that_diverged_are_left_out_and_counted(location: Path) -> None:
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
    found = comparison_rows(loaded, comparison(loaded))
    assert {row["Method"] for row in found} == {
        "ngm-sgd (1 of 2 seeds diverged)",
        "sgd (2 of 2 seeds diverged)",
    }
    curves = {row["Method"][:3]: row["Here"] for row in found if row["Quantity"] == MEAN_CURVE}
    assert curves == {"ngm": "0.500", "sgd": "–"}


@pytest.mark.parametrize("damage", ["gone", "short", "no rows", "cut off"])
@pytest.mark.parametrize("table", ["curves", "steps"])
def test_seeds_that_are_not_all_there_are_left_out_and_counted(
    location: Path, table: str, damage: str
) -> None:
    """Whatever happened to the file: gone or cut off, or without rows of a seed, or with some."""
    results = Results(str(location))
    path = location / table / f"{TRIAL}.parquet"
    both = damage in ("gone", "cut off")
    if damage == "gone":
        path.unlink()
    elif damage == "cut off":
        path.write_bytes(path.read_bytes()[:500])
    else:
        end = 15 if damage == "short" else 0
        kept = [
            row
            for row in results.read(table, [TRIAL]).to_pylist()
            if row["seed"] == 2 or row["iteration"] <= end
        ]
        results.write(table, TRIAL, pa.Table.from_pylist(kept, results.read(table).schema))
    loaded = load(str(location))
    rows = comparison_rows(loaded, comparison(loaded))
    gaps, peak = rows[0], {row["Quantity"]: row for row in rows}.get("gain, peak")
    said = (
        "ngm-sgd (2 of 2 seeds not all there)" if both else "ngm-sgd (1 of 2 seeds not all there)"
    )
    if table == "curves":
        assert (gaps["Method"], gaps["Here"]) == (said, "–" if both else "0.500")
    else:
        assert (gaps["Method"], gaps["Here"]) == ("ngm-sgd", "0.250 ± 0.000")
        assert peak is not None
        assert (peak["Method"], peak["Here"]) == (said, "–" if both else "3.000")


def test_a_study_that_searched_is_not_compared(location: Path) -> None:
    results = Results(str(location))
    results.write_text("study.toml", STUDY.partition("[settings")[0])
    results.write("trials", TRIAL, rows("search"))
    assert comparison(load(str(location))) == []


def test_what_is_not_the_papers_protocol_is_said(location: Path) -> None:
    seeds = "seeds = [1, 2]"
    given = "ngm-sgd.gain_sensitivity = None", "ngm-sgd.entropy_smoothing = None"
    assert departures(load(str(location))) == [seeds, *given]
    study = location / "study.toml"
    study.write_text('variant = "naive"\neval_every = 5\n' + study.read_text())
    found = ["eval_every = 5", "variant = naive", seeds, *given]
    assert departures(load(str(location))) == found
    study.write_text(study.read_text().replace("lr = 0.01", "lr = 0.1"))
    assert departures(load(str(location))) == [*found[:3], "ngm-sgd.lr = 0.1", *given]
