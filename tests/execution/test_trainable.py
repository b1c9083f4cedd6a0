"""The Trainable for Ray Tune: a thin adapter of the training of a trial."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray import tune

from ngm_tune.execution.trainable import ContinualTrainable
from ngm_tune.execution.trial_config import TrialConfig
from ngm_tune.execution.trial_report import TrialReport
from ngm_tune.execution.trial_training import TrialTraining
from tests.helpers.trials import (
    count_trained_tasks,
    finish,
    list_checkpoints,
    load_splits,
    make_config,
    make_split_cache,
    read_rows,
)

pytestmark = [pytest.mark.ray, pytest.mark.slow]

References = dict[tuple[str, str], ray.ObjectRef]


@pytest.fixture(scope="module")
def data() -> Iterator[References]:
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    yield {key: ray.put(arrays) for key, arrays in load_splits().items()}
    ray.shutdown()


def start(settings: TrialConfig, data: References) -> ContinualTrainable:
    trial: ContinualTrainable = tune.with_parameters(ContinualTrainable, data=data)(config=settings)
    return trial


def finished(trial: ContinualTrainable) -> TrialReport:
    while not (result := trial.train())["done"]:
        pass
    report: TrialReport = result["report"]
    return report


def test_a_step_trains_a_task_on_data_in_the_object_store(tmp_path: Path, data: References) -> None:
    expected = finish(
        TrialTraining(make_config(tmp_path / "plain"), make_split_cache(load_splits()))
    )
    trial = start(make_config(tmp_path / "tune"), data)
    results = [trial.train() for _ in range(5)]
    assert [result["done"] for result in results] == [False] * 4 + [True]
    assert [result["report"].tasks for result in results[:4]] == [1, 2, 3, 4]
    assert repr(results[-1]["report"]) == repr(expected)
    for table in ("trials", "tasks", "curves", "steps"):
        assert read_rows(tmp_path / "tune", table).equals(read_rows(tmp_path / "plain", table))


def test_a_reused_actor_trains_as_a_new_one(tmp_path: Path, data: References) -> None:
    fresh = start(make_config(tmp_path / "fresh"), data)
    reused = start(make_config(tmp_path / "first", "momentum-sgd"), data)
    finished(reused)
    assert reused.reset_config(make_config(tmp_path / "reused")) is True
    assert repr(finished(reused)) == repr(finished(fresh))
    assert read_rows(tmp_path / "fresh", "curves").equals(read_rows(tmp_path / "reused", "curves"))


def test_a_stopped_actor_saves_a_checkpoint(tmp_path: Path, data: References) -> None:
    settings: TrialConfig = {**make_config(tmp_path), "checkpoint_seconds": 1000.0}
    trial = start(settings, data)
    trial.train()
    assert list_checkpoints(tmp_path) == []
    trial.stop()
    assert count_trained_tasks(start(settings, data).training) == [1, 1]
