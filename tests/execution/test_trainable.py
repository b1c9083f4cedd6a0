"""The Trainable by itself: steps, checkpoints, and a second trial in the same actor."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import ray
import torch
from ray import tune

from ngm_tune.benchmarks import get_benchmark
from ngm_tune.execution.trainable import ContinualTrainable
from ngm_tune.execution.trial_config import trial_config
from ngm_tune.metrics.registry import METRICS
from ngm_tune.results.directory import Results
from ngm_tune.search.run_spec import Phase, RunSpec
from ngm_tune.study.files import load_study
from ngm_tune.training.checkpoints import pack, unpack
from ngm_tune.training.splits import splits_for

BENCHMARK = "split-digits"
TABLES = ("trials", "tasks", "curves", "steps")
Data = dict[tuple[str, str], ray.ObjectRef]


@pytest.fixture(scope="module")
def data() -> Iterator[Data]:
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    study = load_study("quickstart")
    phases: tuple[Phase, ...] = ("search", "confirm")
    digits = get_benchmark(BENCHMARK).load()
    yield {(phase, BENCHMARK): ray.put(splits_for(study, digits, phase)) for phase in phases}
    ray.shutdown()


def config(
    location: Path, method: str = "ngm-sgd", *changes: str, **settings: float
) -> dict[str, Any]:
    study = load_study("quickstart", ["seeds=2", "iterations_per_task=20", *changes])
    trial_id = f"{BENCHMARK}.{method}.0000"
    hyperparameters = settings or {"lr": 0.05}
    proposal = RunSpec(
        benchmark=BENCHMARK,
        method=method,
        phase="search",
        run_id=trial_id,
        seeds=(0, 1),
        trial_id=trial_id,
        hyperparameters=hyperparameters,
        coordinates=hyperparameters,
    )
    location.mkdir(exist_ok=True)
    (location / "study.toml").write_text(study.to_toml())
    return trial_config(study, str(location), proposal) | {"checkpoint_seconds": 0.0}


def start(settings: dict[str, Any], data: Data) -> ContinualTrainable:
    trial: ContinualTrainable = tune.with_parameters(ContinualTrainable, data=data)(config=settings)
    return trial


def finish(trial: ContinualTrainable) -> dict[str, Any]:
    while not (result := trial.step()).get("done"):
        pass
    return result


def read(location: Path, table: str, method: str = "ngm-sgd") -> pl.DataFrame:
    frame = pl.read_parquet(location / table / f"{BENCHMARK}.{method}.0000.parquet")
    return frame.drop("wall_seconds", "node", strict=False)


def test_one_step_is_one_task_for_every_seed(tmp_path: Path, data: Data) -> None:
    trial = start(config(tmp_path), data)
    reports = [trial.step() for _ in range(4)]
    assert [len(report["interim"]) for report in reports] == [1, 2, 3, 4]
    assert not (tmp_path / "trials").exists()
    result = trial.step()
    assert result["done"]
    status, values, violation, interim, _ = result["outcome"]
    assert (status, violation) == ("completed", ())
    rows = read(tmp_path, "trials")
    assert values == pytest.approx([rows["avg_acc"].mean(), rows["avg_sg"].mean()])
    # What was said after each task is what tasks/ has of it.
    means = read(tmp_path, "tasks").group_by("task").agg(pl.col("avg_acc").mean()).sort("task")
    assert means["avg_acc"].to_list() == pytest.approx([point[0] for point in interim])
    assert np.array_equal(reports[-1]["interim"], interim[:-1], equal_nan=True)
    assert interim[-1] == values


def test_the_end_says_by_how_much_constraints_are_violated(tmp_path: Path, data: Data) -> None:
    trial = start(config(tmp_path, "sgd", 'constraints=["avg_acc >= 0.5", "avg_sg <= 2.0"]'), data)
    status, values, violation, _, _ = finish(trial)["outcome"]
    assert status == "completed"
    assert violation == pytest.approx((0.5 - values[0], values[1] - 2.0))


def test_a_report_carries_what_to_write_if_the_trial_is_stopped(tmp_path: Path, data: Data) -> None:
    without = start(config(tmp_path / "without"), data).step()
    assert set(without) == {"interim"}
    trial = start(config(tmp_path / "with", "ngm-sgd", "early_stopping.min_peers=2"), data)
    reports = [trial.step() for _ in range(3)]
    rows, tasks = reports[2]["if_stopped"]["rows"], reports[2]["if_stopped"]["tasks"]
    assert [row["status"] for row in rows] == ["stopped"] * 2
    assert [row["iterations"] for row in rows] == [60, 60]
    assert not METRICS.keys() & rows[0].keys()  # those of a part of a run are no trial's
    finish(trial)
    stored = read(tmp_path / "with", "tasks").filter(pl.col("task") < 3).to_dicts()
    assert tasks == stored


@pytest.mark.parametrize("tasks", [1, 3, 4])
def test_a_trial_goes_on_elsewhere_and_ends_the_same(
    tmp_path: Path, data: Data, tasks: int
) -> None:
    expected = finish(start(config(tmp_path / "whole"), data))
    first = start(config(tmp_path / "parts"), data)
    for _ in range(tasks):
        first.step()
    second = start(config(tmp_path / "parts"), data)
    assert [len(run.records) for run in second._runs] == [tasks, tasks]
    assert repr(finish(second)) == repr(expected)  # some numbers are none, and equal no other
    for table in TABLES:
        assert read(tmp_path / "parts", table).equals(read(tmp_path / "whole", table))
    assert checkpoints(tmp_path / "parts") == []


def test_seeds_go_on_from_where_each_was(tmp_path: Path, data: Data) -> None:
    """As when a worker is lost between two seeds of the same task."""
    expected = finish(start(config(tmp_path / "whole"), data))
    first = start(config(tmp_path / "parts"), data)
    first.step()
    first._runs[0].train_task()
    first._keep()
    second = start(config(tmp_path / "parts"), data)
    assert [len(run.records) for run in second._runs] == [2, 1]
    assert repr(finish(second)) == repr(expected)


@pytest.mark.parametrize(
    "damage",
    ["gone", "cut off", "other version", "former version", "another trial", "other seeds", "code"],
)
def test_a_checkpoint_that_is_of_no_use_is_passed_over(
    tmp_path: Path, data: Data, damage: str
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    expected = finish(start(config(whole), data))
    start(config(broken), data).step()
    (path,) = checkpoints(broken)
    if damage == "gone":
        path.unlink()
    elif damage == "cut off":
        os.truncate(path, 1000)
    elif damage == "other version":  # in its second run only
        of, states = unpack(path.read_bytes())
        path.write_bytes(pack(of, [states[0], {"model": {}, "optimizer": {}, "records": []}]))
    elif damage == "former version":  # which did not say of what it was
        torch.save(unpack(path.read_bytes()).states, path)
    elif damage == "another trial":
        of, states = unpack(path.read_bytes())
        path.write_bytes(pack({**of, "run_id": "split-digits.sgd.0007"}, states))
    elif damage == "other seeds":
        of, states = unpack(path.read_bytes())
        path.write_bytes(pack({**of, "seeds": [8, 9]}, states))
    else:
        torch.save([Executed(tmp_path / "executed")], path)
    second = start(config(broken), data)
    assert [len(run.records) for run in second._runs] == [0, 0]
    assert repr(finish(second)) == repr(expected)
    assert not (tmp_path / "executed").exists()
    for table in TABLES:
        assert read(broken, table).equals(read(whole, table))


class Executed:
    """What leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_checkpoints_are_kept_no_oftener_than_asked_for(tmp_path: Path, data: Data) -> None:
    trial = start(config(tmp_path) | {"checkpoint_seconds": 1000.0}, data)
    trial.step()
    assert checkpoints(tmp_path) == []


def test_a_trial_that_is_stopped_keeps_what_it_has(tmp_path: Path, data: Data) -> None:
    settings = config(tmp_path) | {"checkpoint_seconds": 1000.0}
    trial = start(settings, data)
    trial.step()
    trial.cleanup()
    assert [len(run.records) for run in start(settings, data)._runs] == [1, 1]
    finish(trial)
    trial.cleanup()
    assert checkpoints(tmp_path) == []


def test_an_actor_that_was_never_used_keeps_nothing(tmp_path: Path, data: Data) -> None:
    used = start(config(tmp_path), data)
    used.train()
    unused = start(config(tmp_path), data)
    used.train()
    (path,) = checkpoints(tmp_path)
    newest = path.read_bytes()
    unused.cleanup()
    assert path.read_bytes() == newest


def test_after_an_interruption_every_task_is_reported_that_stopping_asks_about(
    tmp_path: Path, data: Data
) -> None:
    settings = config(tmp_path, "ngm-sgd", "early_stopping.min_peers=2")
    first = start(settings, data)
    reports = [first.step() for _ in range(2)]
    again = start(settings, data)  # as if Tune had not heard of the second one
    assert np.array_equal(again.step()["interim"], reports[1]["interim"], equal_nan=True)
    assert [len(again.step()["interim"]) for _ in range(2)] == [3, 4]


def test_a_disk_that_fails_is_no_fault_of_the_trial(
    tmp_path: Path, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(config(tmp_path), data).step()
    read = Results.read_bytes

    def failing(self: Results, name: str) -> bytes | None:
        if name.startswith("checkpoints/"):
            raise OSError(5, "Input/output error")
        return read(self, name)

    monkeypatch.setattr(Results, "read_bytes", failing)
    assert "Input/output error" in start(config(tmp_path), data).step()["problem"]
    assert len(checkpoints(tmp_path)) == 1
    assert not (tmp_path / "trials").exists()


def test_a_trial_whose_end_is_written_only_says_so(tmp_path: Path, data: Data) -> None:
    """As when its worker is lost before Tune hears of it."""
    expected = finish(start(config(tmp_path), data))
    before = read(tmp_path, "curves")
    again = start(config(tmp_path), data)
    status, values, _, interim, _ = again.step()["outcome"]
    assert status == "completed"
    assert values == pytest.approx(expected["outcome"][1])
    assert np.allclose(interim, expected["outcome"][3], equal_nan=True)
    assert read(tmp_path, "curves").equals(before)


def test_results_that_a_node_does_not_reach_are_a_problem_of_the_study(
    tmp_path: Path, data: Data
) -> None:
    settings = config(tmp_path)
    (tmp_path / "study.toml").unlink()
    report = start(settings, data).step()
    assert report["done"]
    assert "every node must reach the results" in report["problem"]
    assert not (tmp_path / "trials").exists()


def test_results_that_cannot_be_written_are_a_problem_of_the_study(
    tmp_path: Path, data: Data
) -> None:
    trial = start(config(tmp_path), data)
    (tmp_path / "checkpoints").write_text("a file where a folder should be")
    report = trial.step()
    assert report["done"]
    assert str(tmp_path) in report["problem"]
    assert not (tmp_path / "trials").exists()  # so that it is run again


def checkpoints(location: Path) -> list[Path]:
    return sorted(location.glob("checkpoints/*.pt"))


def test_a_second_trial_in_the_same_actor_is_as_good_as_new(tmp_path: Path, data: Data) -> None:
    fresh = start(config(tmp_path / "fresh"), data)
    reused = start(config(tmp_path / "first", "momentum-sgd"), data)
    finish(reused)
    assert reused.reset_config(config(tmp_path / "reused")) is True
    assert repr(finish(reused)) == repr(finish(fresh))
    assert read(tmp_path / "fresh", "curves").equals(read(tmp_path / "reused", "curves"))


def test_seeds_that_diverge_count_with_the_worst_values(tmp_path: Path, data: Data) -> None:
    trial = start(config(tmp_path, "sgd", lr=1e9), data)
    status, values, _, interim, _ = finish(trial)["outcome"]
    assert (status, values) == ("diverged", (0.0, 1.0))
    assert interim == ((0.0, 1.0),) * 5  # in every task from then on
    rows = read(tmp_path, "trials", "sgd")
    assert rows["status"].to_list() == ["diverged"] * 2
    assert rows["diverged_at"].null_count() == 0
    assert (rows["iterations"] == rows["diverged_at"]).all()


def test_a_search_never_sees_test_data() -> None:
    data = get_benchmark(BENCHMARK).load()
    seen = splits_for(load_study("quickstart", ["eval_examples=9"]), data, "search")
    assert np.array_equal(seen["train"][0], data.train.inputs.numpy())
    assert set(images(seen["evaluation"])) < set(images(data.validation.arrays()))
    assert seen["evaluation"][2] == (9,) * 5
    assert not set(images(seen["train"])) & set(images(data.test.arrays()))


@pytest.mark.parametrize(
    ("changes", "evaluated"),
    [
        (["eval_examples=9"], "all"),  # of a search, which the confirmation does without
        (['methods=["sgd"]', "trials=1", "settings.sgd.lr=0.1"], "all"),
        (['methods=["sgd"]', "trials=1", "settings.sgd.lr=0.1", "eval_examples=9"], "9"),
    ],
)
def test_what_is_confirmed_or_given_sees_it_all(changes: list[str], evaluated: str) -> None:
    data = get_benchmark(BENCHMARK).load()
    confirmed = splits_for(load_study("quickstart", changes), data, "confirm")
    both = [*images(data.train.arrays()), *images(data.validation.arrays())]
    assert sorted(images(confirmed["train"])) == sorted(both)
    expected = data.test if evaluated == "all" else data.test.capped(9)
    assert np.array_equal(confirmed["evaluation"][0], expected.inputs.numpy())


def images(split: tuple[Any, ...]) -> list[bytes]:
    """Every image of a split, as something that can be looked up."""
    return [image.tobytes() for image in split[0]]


@pytest.mark.parametrize(("phase", "full"), [("search", False), ("confirm", True)])
def test_a_confirmation_is_evaluated_at_full_fidelity(
    tmp_path: Path, phase: Phase, full: bool
) -> None:
    study = load_study(
        "quickstart",
        [
            *("eval_every=3", "eval_dense=4", "eval_precision=mixed", "early_stopping.min_peers=2"),
            "eval_tasks=first-and-previous",
        ],
    )
    proposal = RunSpec(
        benchmark=BENCHMARK,
        method="sgd",
        phase=phase,
        run_id="t",
        seeds=(0,),
        trial_id="t",
        hyperparameters={"lr": 0.1},
        coordinates={"lr": 0.1},
    )
    found = trial_config(study, str(tmp_path), proposal)
    fidelity = [found[key] for key in ("eval_every", "eval_dense", "eval_precision", "eval_tasks")]
    assert fidelity == (
        [1, 0, "float32", "seen"] if full else [3, 4, "mixed", "first-and-previous"]
    )
    assert found["stopping"] is not full
