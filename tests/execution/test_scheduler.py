"""The scheduler for Ray Tune: which trial gets an actor that has become free."""

from __future__ import annotations

import os
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import tune

from ngm_tune.execution.scheduler import OrderOfSubmission


class ShortTrial(tune.Trainable):
    """A trial that is shorter than the start of an actor, until two actors have trained."""

    def setup(self, config: dict[str, Any]) -> None:
        self.actors = Path(config["actors"])
        if list(self.actors.iterdir()):
            time.sleep(2.0)  # every actor but the first starts slowly

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        return True

    def step(self) -> dict[str, Any]:
        (self.actors / str(os.getpid())).touch()
        if len(list(self.actors.iterdir())) < 2:
            time.sleep(0.5)
        return {"done": True}


def run_short_trials(folder: Path, actors: Path) -> None:
    """Run many short trials on two CPUs."""
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    tune.Tuner(
        ShortTrial,
        param_space={"actors": str(actors), "number": tune.grid_search(list(range(60)))},
        tune_config=tune.TuneConfig(scheduler=OrderOfSubmission(), reuse_actors=True),
        run_config=tune.RunConfig(
            storage_path=str(folder),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
        ),
    ).fit()


@pytest.mark.ray
@pytest.mark.slow
def test_an_actor_that_is_starting_is_not_stopped_for_one_that_is_free(tmp_path: Path) -> None:
    actors = tmp_path / "actors"
    actors.mkdir()
    # A process of its own: Ray keeps the authentication of its first start in a process.
    process = get_context("spawn").Process(target=run_short_trials, args=(tmp_path, actors))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert len(list(actors.iterdir())) == 2  # one for each CPU
