"""The order of trials, as a scheduler of Ray Tune."""

from __future__ import annotations

from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler


class OrderOfSubmission(FIFOScheduler):
    """Runs trials in the order of submission, and lets every actor finish its start.

    Tune gives the trial that :meth:`choose_trial_to_run` returns an actor that has become free. Its
    own scheduler returns the first pending trial, even if the actor of this trial is starting: Tune
    then stops that actor and starts one for the next trial. Where trials are shorter than the start
    of an actor, this never ends, and all trials run on a single actor.
    """

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Return the first pending trial whose actor is not starting; None without one."""
        controller = tune_controller._tune_controller
        for trial in tune_controller.get_trials():
            if trial.status == Trial.PENDING:
                actor = controller._trial_to_actor.get(trial)
                if actor is None or not controller._actor_manager.is_actor_started(actor):
                    return trial
        return None
