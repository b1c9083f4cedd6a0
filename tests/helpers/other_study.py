"""Results of another study, to start searches from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ngm_tune.execution.recording import trial_identity, write_trial
from ngm_tune.results.directory import Results
from tests.helpers.searches import a_study


class Other:
    """The results of another study, of which every trial is a learning rate and its end."""

    def __init__(self, location: Path) -> None:
        self.location = str(location)
        self._trials = 0
        results = Results(self.location)
        results.create()
        results.write_text("study.toml", a_study(name="other").to_toml())

    def config(self, settings: dict[str, float], **changes: Any) -> dict[str, Any]:
        self._trials += 1
        arm = [changes.get("benchmark", "split-digits"), changes.get("method", "sgd")]
        name = ".".join([*arm, f"{self._trials:04d}"])
        return {
            "study": "other",
            "results": self.location,
            "benchmark": "split-digits",
            "method": "sgd",
            "trial_id": name,
            "run_id": name,
            "phase": "search",
            "seeds": [0, 1],
            "hyperparameters": settings,
            "hyperparameter_columns": dict.fromkeys(settings, "float"),
            "coordinates": {},
            "coordinate_columns": {},
            **changes,
        }

    def ran(
        self,
        settings: float | dict[str, float],
        values: tuple[float, float],
        status: str = "completed",
        **changes: Any,
    ) -> None:
        """One trial, whose seeds are beside its values by as much to either side."""
        searched = settings if isinstance(settings, dict) else {"lr": settings}
        config = self.config(searched, **changes)
        rows = [
            {
                **trial_identity(config, seed),
                "avg_acc": values[0] + 0.01 * (-1) ** n,
                "avg_sg": values[1],
                "status": status,
            }
            for n, seed in enumerate(config["seeds"])
        ]
        write_trial(config, rows, [])
