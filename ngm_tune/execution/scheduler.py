"""Stopping trials early, as a scheduler of Ray Tune."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from ngm_tune.execution.recording import write_trial
from ngm_tune.execution.stopper import Halt
from ngm_tune.search.early_stopping import Values


class DominanceStopping(FIFOScheduler):
    """Stops trials that their peers dominate at the same task.

    It holds no state: who is compared with whom is up to ``judge``, which the arms of a study
    answer from what a trial may know, so that it neither depends on timing nor is lost with the
    driver (:meth:`ngm_tune.search.method_search.Arm.is_hopeless`). A trial that is stopped is written to the
    results with what its last report brought along.

    Args:
        judge: Whether a run with these objectives, after each task so far, should be stopped.
        stopped: Told of those that are.
        halt: Ends the study where the results cannot be written.
    """

    def __init__(
        self,
        judge: Callable[[str, Sequence[Values]], bool],
        stopped: Callable[[str, Sequence[Values]], None],
        halt: Halt,
    ) -> None:
        super().__init__()
        self._judge = judge
        self._stopped = stopped
        self._halt = halt

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Compare a trial that has been trained on one more task, but not on the last one."""
        if "if_stopped/rows" not in result:
            return str(TrialScheduler.CONTINUE)
        run_id, interim = trial.config["run_id"], result["interim"]
        if not self._judge(run_id, interim):
            return str(TrialScheduler.CONTINUE)
        try:
            write_trial(trial.config, result["if_stopped/rows"], result["if_stopped/tasks"])
        except OSError as error:
            self._halt.because(f"{trial.config['results']}: {error}")
            return str(TrialScheduler.CONTINUE)
        self._stopped(run_id, interim)
        return str(TrialScheduler.STOP)
