"""A trial as a Trainable of Ray Tune."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ray
import torch
from ray import tune

from ngm_tune.execution.split_cache import SplitCache
from ngm_tune.execution.trial_config import TrialConfig
from ngm_tune.execution.trial_training import TrialTraining
from ngm_tune.training.seeding import use_deterministic_algorithms


class ContinualTrainable(tune.Trainable):
    """Train a configuration task by task: one ``step`` is one task, for every seed.

    Every step returns a result with a :class:`~ngm_tune.execution.trial_report.TrialReport` under
    the key ``report``; :class:`~ngm_tune.execution.trial_training.TrialTraining` does the work.
    :func:`ngm_tune.execution.trial_config.build_trial_config` returns the config.
    """

    def setup(self, config: TrialConfig, data: Mapping[str, ray.ObjectRef] | None = None) -> None:
        """Start the trial.

        Args:
            config: The config of the trial.
            data: Data by benchmark, in Ray's object store.
        """
        torch.set_num_threads(config["threads"])
        if config["device"] != "cpu":
            use_deterministic_algorithms()
        references = dict(data or {})
        self._splits = SplitCache(lambda name: ray.get(references[name]), config["device"])
        self.training = TrialTraining(config, self._splits)

    def reset_config(self, new_config: TrialConfig) -> bool:
        """Start another trial in the same actor."""
        self._last_result = None  # Trainable.reset keeps the result of the former trial
        self.training = TrialTraining(new_config, self._splits)
        return True

    def step(self) -> dict[str, Any]:
        """Train the next task with every seed that has not diverged."""
        report = self.training.train_next_task()
        return {"report": report, "done": report.done}

    def cleanup(self) -> None:
        """Save the progress of the trial when the study stops; Tune waits some seconds for it."""
        self.training.save_progress()
