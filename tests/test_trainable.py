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

from ngm_tune.arms import Proposal
from ngm_tune.benchmarks import get_benchmark
from ngm_tune.runner import splits_for, trial_config
from ngm_tune.study_files import load_study
from ngm_tune.trainable import ContinualTrainable


@pytest.fixture(scope="module")
def data() -> Iterator[dict[str, Any]]:
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    yield {"split-digits": ray.put(splits_for(load_study("quickstart"), "split-digits"))}
    ray.shutdown()


def config(location: Path, method: str = "ngm-sgd", **settings: float) -> dict[str, Any]:
    study = load_study("quickstart", ["seeds=2", "iterations_per_task=20"])
    proposal = Proposal(
        "split-digits", method, f"split-digits.{method}.0000", settings or {"lr": 0.05}
    )
    return trial_config(study, str(location), proposal)


def start(settings: dict[str, Any], data: dict[str, Any]) -> ContinualTrainable:
    return tune.with_parameters(ContinualTrainable, data=data)(config=settings)


def finish(trial: ContinualTrainable) -> dict[str, Any]:
    while not (result := trial.step()).get("done"):
        pass
    return result


def read(location: Path, table: str, method: str = "ngm-sgd") -> pl.DataFrame:
    frame = pl.read_parquet(location / table / f"split-digits.{method}.0000.parquet")
    return frame.drop("wall_seconds", "node", strict=False)


def test_one_step_is_one_task_for_every_seed(tmp_path: Path, data: dict[str, Any]) -> None:
    trial = start(config(tmp_path), data)
    assert [trial.step() for _ in range(4)] == [{"tasks": k} for k in (1, 2, 3, 4)]
    assert not (tmp_path / "trials").exists()
    result = trial.step()
    assert result["done"]
    assert result["status"] == "completed"
    rows = read(tmp_path, "trials")
    assert result["values"] == pytest.approx([rows["avg_acc"].mean(), rows["avg_sg"].mean()])


@pytest.mark.parametrize("tasks", [1, 3, 5])
def test_a_trial_restored_from_a_checkpoint_ends_the_same(
    tmp_path: Path, data: dict[str, Any], tasks: int
) -> None:
    expected = finish(start(config(tmp_path / "whole"), data))

    first = start(config(tmp_path / "parts"), data)
    for _ in range(tasks):
        first.step()
    first.save_checkpoint(str(tmp_path))
    second = start(config(tmp_path / "parts"), data)
    second.load_checkpoint(str(tmp_path))
    assert finish(second) == expected
    for table in ("trials", "curves", "steps"):
        assert read(tmp_path / "parts", table).equals(read(tmp_path / "whole", table))


@pytest.mark.parametrize("damage", ["none", "cut off", "other version", "trial was finished"])
def test_a_trial_goes_on_from_what_an_interrupted_session_left(
    tmp_path: Path, data: dict[str, Any], damage: str
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    expected = finish(start(config(whole), data))
    first = start(config(broken), data)
    tasks = 5 if damage == "trial was finished" else 3
    for number in range(tasks):
        first.step()
        place = broken / "tune" / "split-digits.ngm-sgd.0000" / f"checkpoint_00000{number}"
        place.mkdir(parents=True)
        first.save_checkpoint(str(place))
        os.utime(place / "runs.pt", (number, number))
    if damage == "cut off":
        os.truncate(place / "runs.pt", 1000)
        os.utime(place / "runs.pt", (tasks, tasks))

    if damage == "other version":  # in its second run only
        state = torch.load(place / "runs.pt", weights_only=True)
        state["runs"][1] = {"model": {}, "optimizer": {}, "records": []}
        torch.save(state, place / "runs.pt")

    second = start(config(broken), data)
    assert [len(run.records) for run in second._runs] == {
        "none": [3, 3],
        "cut off": [2, 2],
        "other version": [2, 2],
        "trial was finished": [4, 4],
    }[damage]
    assert finish(second) == expected
    for table in ("trials", "curves", "steps"):
        assert read(broken, table).equals(read(whole, table))


def test_a_second_trial_in_the_same_actor_is_as_good_as_new(
    tmp_path: Path, data: dict[str, Any]
) -> None:
    fresh = start(config(tmp_path / "fresh"), data)
    reused = start(config(tmp_path / "first", "momentum-sgd"), data)
    finish(reused)
    assert reused.reset_config(config(tmp_path / "reused")) is True
    assert finish(reused) == finish(fresh)
    assert read(tmp_path / "fresh", "curves").equals(read(tmp_path / "reused", "curves"))


def test_seeds_that_diverge_count_with_the_worst_values(
    tmp_path: Path, data: dict[str, Any]
) -> None:
    trial = start(config(tmp_path, "sgd", lr=1e9), data)
    assert finish(trial) == {"done": True, "status": "diverged", "values": (0.0, 1.0)}
    rows = read(tmp_path, "trials", "sgd")
    assert rows["status"].to_list() == ["diverged"] * 2
    assert rows["diverged_at"].null_count() == 0
    assert (rows["iterations"] == rows["diverged_at"]).all()


def test_a_search_never_sees_test_data_and_given_settings_see_it_all() -> None:
    data = get_benchmark("split-digits").load()
    searched = splits_for(load_study("quickstart"), "split-digits")
    assert np.array_equal(searched["train"][0], data.train.inputs.numpy())
    assert np.array_equal(searched["evaluation"][0], data.validation.inputs.numpy())
    given = load_study(
        "quickstart",
        ['methods=["sgd"]', "trials=1", "settings.sgd.lr=0.1"],
    )
    confirmed = splits_for(given, "split-digits")
    assert confirmed["train"][2] == tuple(
        a + b for a, b in zip(data.train.sizes, data.validation.sizes, strict=True)
    )
    assert np.array_equal(confirmed["evaluation"][0], data.test.inputs.numpy())
