"""Early stopping as a scheduler of Ray Tune."""

from __future__ import annotations

from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from ngm_tune.execution.pruning import prune_trial
from ngm_tune.execution.stopper import StudyStopper
from ngm_tune.execution.trial_report import TrialReport
from ngm_tune.search.schedule import Schedule


class EarlyStoppingScheduler(FIFOScheduler):
    """Stops trials that the schedule prunes.

    It has no state. The decisions of the schedule are functions of outcomes, so they do not depend
    on timing, and a new driver makes them again.

    Args:
        schedule: Decides which trials are pruned.
        stopper: Stops the study if the results cannot be written.
    """

    def __init__(self, schedule: Schedule, stopper: StudyStopper) -> None:
        super().__init__()
        self._schedule = schedule
        self._stopper = stopper

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Decide whether a trial continues after a task."""
        report: TrialReport | None = result.get("report")
        is_pruned = report is not None and prune_trial(
            trial.config, report, self._schedule, self._stopper
        )
        return str(TrialScheduler.STOP if is_pruned else TrialScheduler.CONTINUE)
