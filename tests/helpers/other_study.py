"""Results of another study, for a warm start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ngm_tune.execution.recording import trial_identity, write_trial
from ngm_tune.results.directory import Results
from tests.helpers.searches import a_study


class OtherStudy:
    """A results directory to which tests add trials with given hyper-parameters and objectives."""

    def __init__(self, location: Path) -> None:
        self.location = str(location)
        self._n_trials = 0
        results = Results(self.location)
        results.create()
        results.write_text("study.toml", a_study(name="other").to_toml())

    def trial_config(self, hyperparameters: dict[str, float], **changes: Any) -> dict[str, Any]:
        """Return the config of the next trial.

        Args:
            hyperparameters: Its hyper-parameters.
            **changes: Entries of the config to replace.
        """
        self._n_trials += 1
        search = [changes.get("benchmark", "split-digits"), changes.get("method", "sgd")]
        name = ".".join([*search, f"{self._n_trials:04d}"])
        return {
            "study": "other",
            "results": self.location,
            "benchmark": "split-digits",
            "method": "sgd",
            "repetition": 0,
            "trial_id": name,
            "run_id": name,
            "phase": "search",
            "seeds": [0, 1],
            "hyperparameters": hyperparameters,
            "hyperparameter_columns": dict.fromkeys(hyperparameters, "float"),
            "coordinates": {},
            "coordinate_columns": {},
            **changes,
        }

    def add_trial(
        self,
        hyperparameters: float | dict[str, float],
        objectives: tuple[float, float],
        status: str = "completed",
        **changes: Any,
    ) -> None:
        """Write a trial.

        Args:
            hyperparameters: Its hyper-parameters, or its learning rate.
            objectives: ``avg_acc`` and ``avg_sg``. The accuracy of the seeds is alternately 0.01
                above and below.
            status: Its status.
            **changes: Entries of the config to replace.
        """
        if not isinstance(hyperparameters, dict):
            hyperparameters = {"lr": hyperparameters}
        config = self.trial_config(hyperparameters, **changes)
        rows = [
            {
                **trial_identity(config, seed),
                "avg_acc": objectives[0] + 0.01 * (-1) ** n,
                "avg_sg": objectives[1],
                "status": status,
            }
            for n, seed in enumerate(config["seeds"])
        ]
        write_trial(config, rows, [])
