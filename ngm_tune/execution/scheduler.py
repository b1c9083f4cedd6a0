"""Early stopping as a scheduler of Ray Tune."""

from __future__ import annotations

from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from ngm_tune.execution.recording import write_trial
from ngm_tune.execution.stopper import StudyStopper
from ngm_tune.execution.trial_report import TrialReport
from ngm_tune.search.schedule import Schedule


class EarlyStoppingScheduler(FIFOScheduler):
    """Stops trials that the schedule prunes.

    It holds no state: the schedule decides from the outcomes that a trial may know, so a decision
    neither depends on timing nor is lost with the driver. The rows of a pruned trial come with its
    last report.

    Args:
        schedule: Decides which trials are pruned.
        stopper: Stops the study where results cannot be written.
    """

    def __init__(self, schedule: Schedule, stopper: StudyStopper) -> None:
        super().__init__()
        self._schedule = schedule
        self._stopper = stopper

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Decide on a trial that has finished a task which is not its last."""
        report: TrialReport | None = result.get("report")
        run_id = trial.config["run_id"]
        if (
            report is None
            or report.partial is None
            or not self._schedule.should_prune(run_id, report.interim)
        ):
            return str(TrialScheduler.CONTINUE)
        try:
            write_trial(trial.config, report.partial.runs, report.partial.tasks)
        except OSError as error:
            self._stopper.stop(f"{trial.config['results']}: {error}")
            return str(TrialScheduler.CONTINUE)
        self._schedule.prune(run_id, report.interim)
        return str(TrialScheduler.STOP)
