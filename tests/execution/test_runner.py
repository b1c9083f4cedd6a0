"""A study from the command line to Parquet: rows, typed columns, search record, refusals."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from textwrap import dedent

import numpy as np
import optuna
import polars as pl
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import torch
from optuna.trial import TrialState
from PIL import Image

from ngm_tune.benchmarks import get_benchmark
from ngm_tune.benchmarks.pool import DataPool
from ngm_tune.methods import get_method
from ngm_tune.metrics.curves import AccuracyCurves
from ngm_tune.metrics.registry import METRICS, compute_metrics
from ngm_tune.results.directory import Results
from ngm_tune.search.optuna_journal import open_storage
from ngm_tune.study.plan import StudyPlan
from ngm_tune.training.evaluation import Evaluator
from ngm_tune.training.loop import ContinualTraining
from ngm_tune.training.options import EvaluationSchedule, StreamOptions
from ngm_tune.training.splits import splits_for
from ngm_tune.workspace.manifest import load_stored_study
from tests.conftest import Finished
from tests.helpers.commands import Command

PETS = """
    title = "Pets"
    benchmarks = ["custom"]
    methods = ["ngm-sgd", "er", "ewc"]
    searches = 1
    trials = 1
    seeds = 1
    iterations_per_task = 6
    strategy = "replay"
    buffer_size = 10
    eval_precision = "mixed"
    reference_point = { avg_acc = 0.25, avg_sg = 1.0 }
    confirm = { max_configurations = 1, seeds = 1 }

    [fixed]
    ngm-sgd = { normalise_entropy = true, layers = "output" }
    er = { buffer_size = 7 }

    [custom]
    path = "pets"
    tasks = 2
    size = 8
    channels = 1
    batch_size = 8
"""

TASKS = {"split-digits": 5, "rotated-digits": 3}


@pytest.fixture(scope="module")
def everything(finished: Finished) -> pl.DataFrame:
    return pl.read_parquet(finished.location / "trials" / "*.parquet")


@pytest.fixture(scope="module")
def trials(everything: pl.DataFrame) -> pl.DataFrame:
    """Rows of the searches."""
    return everything.filter(phase="search")


def test_the_study_succeeds_with_an_empty_stderr(finished: Finished) -> None:
    assert finished.outcome.code == 0, finished.outcome
    assert finished.outcome.err == ""
    assert "4 of 20 runs failed" in finished.outcome.out
    assert "ngm-tune analyze" in finished.outcome.out
    assert "\x1b" not in finished.outcome.out


def test_every_method_gets_the_same_effort(trials: pl.DataFrame) -> None:
    effort = trials.group_by("benchmark", "method").agg(
        pl.col("trial_id").n_unique().alias("trials"), pl.col("seed").unique().sort()
    )
    assert effort.height == 8
    assert effort["trials"].to_list() == [2] * 8
    assert effort["seed"].to_list() == [[7, 8]] * 8


def test_fronts_are_confirmed_with_fresh_seeds(
    everything: pl.DataFrame, trials: pl.DataFrame
) -> None:
    confirmed = everything.filter(phase="confirm")
    ids = confirmed.group_by("benchmark", "method").agg(pl.col("trial_id").unique())
    assert sorted(ids.select("benchmark", "method").iter_rows()) == [
        (benchmark, method) for benchmark in sorted(TASKS) for method in ("ngm-sgd", "sgd")
    ]  # methods without a completed trial have no confirmation
    assert [len(trial_ids) for trial_ids in ids["trial_id"]] == [1] * 4
    assert set(confirmed["seed"]) == {1000, 1001}
    assert not set(confirmed["seed"]) & set(trials["seed"])
    settings = [name for name in everything.columns if name.startswith(("config_", "search_"))]
    for row in confirmed.to_dicts():
        searched = trials.filter(trial_id=row["trial_id"].removesuffix(".confirm"))
        assert set(searched["status"]) == {"completed"}
        assert searched.select(settings).row(0) == tuple(row[name] for name in settings)


def test_rows_have_the_status_of_each_run(trials: pl.DataFrame) -> None:
    statuses = dict(trials.group_by("method").agg(pl.col("status").unique()).iter_rows())
    assert statuses["sgd"] == ["completed"]
    assert statuses["raises"] == ["failed"]
    assert statuses["diverges"] == ["diverged"]
    completed = trials.filter(pl.col("status") == "completed")
    for benchmark, tasks in TASKS.items():
        assert set(completed.filter(benchmark=benchmark)["iterations"]) == {24 * tasks}
    assert completed["diverged_at"].null_count() == completed.height
    assert (completed["wall_seconds"] > 0).all()
    diverged = trials.filter(pl.col("status") == "diverged")
    assert diverged["diverged_at"].null_count() == 0
    assert (diverged["avg_acc"] == 0.0).all()
    assert (diverged["avg_sg"] == 1.0).all()


def test_failures_keep_their_traceback(finished: Finished) -> None:
    files = sorted((finished.location / "failures").iterdir())
    assert len(files) == 4
    assert "no such luck" in files[0].read_text()


def test_hyperparameters_are_typed_columns(finished: Finished, trials: pl.DataFrame) -> None:
    schema = pq.read_schema(finished.location / "trials" / "split-digits.sgd.0000.parquet")
    names = ["config_lr", "config_gain_sensitivity", "config_entropy_smoothing"]
    assert [str(schema.field(name).type) for name in names] == ["double"] * 3
    ngm = trials.filter(method="ngm-sgd")
    sgd = trials.filter(method="sgd")
    assert ngm.select(names).null_count().sum_horizontal().item() == 0
    assert sgd["config_gain_sensitivity"].null_count() == sgd.height


def test_arrow_and_pandas_read_the_same_table(finished: Finished, everything: pl.DataFrame) -> None:
    folder = finished.location / "trials"
    arrow = ds.dataset(folder, format="parquet").to_table()
    pandas = pl.from_pandas(__import__("pandas").read_parquet(folder))
    assert arrow.num_rows == pandas.height == everything.height == 32 + 8
    assert set(arrow.column_names) == set(pandas.columns) == set(everything.columns)


def test_stored_metrics_agree_with_the_stored_curves(
    finished: Finished, trials: pl.DataFrame
) -> None:
    row = trials.filter(trial_id="split-digits.ngm-sgd.0000", seed=8).to_dicts()[0]
    curves = pl.read_parquet(finished.location / "curves" / f"{row['trial_id']}.parquet")
    wide = (
        curves.filter(seed=8)
        .with_columns(pl.col("accuracy").cast(pl.Float64))
        .pivot(on="eval_task", index="iteration", values="accuracy")
        .sort("iteration")
    )
    accuracy = wide.select(map(str, range(5))).cast(pl.Float64).to_numpy()
    expected = compute_metrics(AccuracyCurves(wide["iteration"], accuracy, [24, 48, 72, 96, 120]))
    for name in METRICS:
        assert row[name] == pytest.approx(expected[name], abs=1e-12)


@pytest.mark.usefixtures("own_methods")
@pytest.mark.parametrize("phase", ["search", "confirm"])
def test_a_trial_can_be_reproduced_from_its_row(
    finished: Finished, everything: pl.DataFrame, phase: str
) -> None:
    row = everything.filter(benchmark="rotated-digits", method="ngm-sgd", phase=phase).to_dicts()[0]
    benchmark = get_benchmark("rotated-digits")
    pool = DataPool.of(benchmark.load())
    study = load_stored_study(Results(str(finished.location)), "unused")
    assert study is not None
    arrangement = StudyPlan.resolve(study).arrangement("rotated-digits", 0)
    settings = {
        name: row[f"config_{name}"] for name in ("lr", "gain_sensitivity", "entropy_smoothing")
    }
    # Confirmations are trained on all training data and evaluated at every iteration, on every test
    # example and in float32, whatever the options for the search are.
    train, evaluation, precision, every = {
        "search": (*splits_for(pool, "search", arrangement, 20), "mixed", 2),
        "confirm": (*splits_for(pool, "confirm", arrangement), "float32", 1),
    }[phase]
    run = ContinualTraining(
        train,
        Evaluator(evaluation, precision),  # type: ignore[arg-type]
        benchmark.build_model,
        lambda model: get_method("ngm-sgd").build(model, **settings),
        seed=row["seed"],
        iterations_per_task=24,
        stream=StreamOptions(benchmark.batch_size),
        evaluation=EvaluationSchedule(every),
    )
    while not run.finished:
        run.train_task()
    steps = pl.read_parquet(finished.location / "steps" / f"{row['trial_id']}.parquet")
    stored = steps.filter(seed=row["seed"]).sort("iteration")
    reproduced = torch.cat([record.steps for record in run.records])
    assert stored["iteration"].to_list() == list(range(1, 73))
    for column, name in enumerate(("loss", "entropy", "gain")):
        assert torch.equal(torch.tensor(stored[name].to_list()), reproduced[:, column])
    curves = pl.read_parquet(finished.location / "curves" / f"{row['trial_id']}.parquet")
    stored = curves.filter(seed=row["seed"]).sort("iteration", "eval_task")
    assert sorted(set(stored["iteration"])) == list(range(every, 73, every))
    reproduced = torch.cat([record.loss for record in run.records])
    assert torch.equal(torch.tensor(stored["loss"].to_list()), reproduced[~reproduced.isnan()])
    assert compute_metrics(run.curves())["avg_sg"] == row["avg_sg"]


def test_curve_and_step_rows_are_unique_and_complete(finished: Finished) -> None:
    for name, key in (
        ("curves", ["seed", "iteration", "eval_task"]),
        ("steps", ["seed", "iteration"]),
    ):
        table = pl.read_parquet(finished.location / name / "split-digits.sgd.0000.parquet")
        assert table.select(key).is_duplicated().sum() == 0
        assert table.null_count().drop("gain", strict=False).sum_horizontal().item() == 0
    assert table["gain"].null_count() == table.height
    curves = pl.read_parquet(finished.location / "curves" / "split-digits.sgd.0000.parquet")
    assert curves.height == 2 * 12 * (1 + 2 + 3 + 4 + 5)
    assert (curves["eval_task"] <= curves["task"]).all()


def test_the_search_record_has_every_trial(finished: Finished, trials: pl.DataFrame) -> None:
    storage = open_storage(finished.location / "optuna.journal")
    summaries = optuna.get_all_study_names(storage)
    assert len(summaries) == 8
    study = optuna.load_study(study_name="split-digits/ngm-sgd", storage=storage)
    assert study.metric_names == ["avg_acc", "avg_sg"]
    means = trials.group_by("trial_id").agg(pl.col("avg_acc").mean(), pl.col("avg_sg").mean())
    for trial in study.trials:
        assert trial.state == TrialState.COMPLETE
        row = means.filter(trial_id=trial.user_attrs["trial_id"]).row(0)
        assert trial.values == pytest.approx(row[1:])
    failed = optuna.load_study(study_name="split-digits/raises", storage=storage)
    assert {trial.state for trial in failed.trials} == {TrialState.FAIL}


def test_the_environment_is_recorded(finished: Finished) -> None:
    environment = json.loads((finished.location / "environment.json").read_text())
    assert environment["versions"]["torch"] == version("torch")
    assert environment["methods"]["ngm-sgd"]["title"] == "NGM-SGD"
    assert environment["methods"]["ngm-sgd"]["space"]["lr"]["log"] is True


def test_running_a_complete_study_changes_nothing(
    finished: Finished, study_file: Path, ngm_tune: Command
) -> None:
    before = written(finished.location)
    again = ngm_tune("run", study_file, "--results", finished.location)
    assert again.code == 0
    assert "small is complete: all 20 runs" in again.out
    assert written(finished.location) == before


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("seed=5", "seed is 0 instead of 5"),
        ("eval_every=3", "eval_every is 2 instead of 3"),
        ("trials=1", "trials = 2, which cannot be lowered to 1"),
        ("confirm.seeds=1", "confirm.seeds = 2, which cannot be lowered to 1"),
    ],
)
def test_resume_refuses_a_different_study(
    finished: Finished, study_file: Path, ngm_tune: Command, change: str, sentence: str
) -> None:
    before = written(finished.location), (finished.location / "study.toml").read_text()
    refused = ngm_tune("run", study_file, "--set", change, "--results", finished.location)
    assert refused.code == 2
    assert sentence in refused.err
    assert refused.err.count("\n") == 1
    assert (written(finished.location), (finished.location / "study.toml").read_text()) == before


def written(location: Path) -> dict[str, int]:
    """Return the modification time of the file of each trial, by file name."""
    return {path.name: path.stat().st_mtime_ns for path in location.glob("trials/*.parquet")}


@pytest.mark.slow
def test_custom_images_are_trained_with_the_strategy_replay(
    ngm_tune: Command, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    for name in ("ant", "bee", "cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(15):
            pixels = random.integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / name / f"{number}.png")
    study, results = tmp_path / "mine.toml", tmp_path / "results"
    study.write_text(dedent(PETS))
    command = ("run", study, "--data", tmp_path, "--results", results)
    answer = ngm_tune(*command)
    assert (answer.code, answer.err) == (0, "")
    rows = pl.read_parquet(results / "trials" / "*.parquet")
    assert set(rows["status"]) == {"completed"}
    assert set(rows["phase"]) == {"search", "confirm"}
    settings = dict(rows.select("method", pl.struct(pl.col("^config_.*$"))).iter_rows())
    assert settings["ngm-sgd"]["config_normalise_entropy_text"] == "True"
    assert settings["ngm-sgd"]["config_layers_text"] == "output"
    assert settings["er"]["config_buffer_size"] == 7
    assert settings["ewc"]["config_layers_text"] is None
    assert "is complete" in ngm_tune(*command).out
    assert ngm_tune("analyze", results, "--no-images").code == 0
    # The tasks are part of the study, so other classes make it a different study.
    (tmp_path / "pets" / "dog").rename(tmp_path / "pets" / "cow")
    answer = ngm_tune(*command)
    assert answer.code == 2
    assert "holds a different study: custom is" in answer.err
