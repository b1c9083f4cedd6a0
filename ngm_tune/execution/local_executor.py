"""An executor that trains all runs in this process, one after the other, without Ray."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch

from ngm_tune.execution.runner import Data
from ngm_tune.execution.split_cache import SplitCache
from ngm_tune.execution.stopper import StudyStopper
from ngm_tune.execution.trial_config import build_trial_config, device_of
from ngm_tune.execution.trial_training import TrialTraining
from ngm_tune.search.schedule import Schedule
from ngm_tune.study.plan import StudyPlan
from ngm_tune.study.study import Study
from ngm_tune.training.seeding import use_deterministic_algorithms


class LocalExecutor:
    """Trains the runs of a study in this process.

    It writes the same rows as the Ray executor, bit for bit, so the results of a debugging session
    are valid. As with Tune, an interrupt ends the study without an exception; progress since the
    last checkpoint is lost.
    """

    def run_trials(
        self,
        plan: StudyPlan,
        location: str,
        schedule: Schedule,
        data: Data,
        stopper: StudyStopper,
        time_budget: timedelta | None,
    ) -> bool:
        """Train until the schedule is complete, the time is up, or the study must stop."""
        study = plan.study
        deadline = None if time_budget is None else time.monotonic() + time_budget.total_seconds()
        splits = SplitCache(data.__getitem__, device_of(study))
        with _trial_resources(study), suppress(KeyboardInterrupt):
            while stopper.reason is None and (spec := schedule.ask()) is not None:
                training = TrialTraining(build_trial_config(plan, location, spec), splits)
                try:
                    finished = self._train(training, schedule, stopper, deadline)
                finally:
                    if schedule.is_running(spec.run_id):
                        schedule.reopen(spec.run_id)
                if not finished:
                    training.save_progress()
                    return stopper.reason is None
        return False

    def _train(
        self,
        training: TrialTraining,
        schedule: Schedule,
        stopper: StudyStopper,
        deadline: float | None,
    ) -> bool:
        """Train a run; return False if it was interrupted before its end."""
        run_id = training.config["run_id"]
        while stopper.reason is None and (deadline is None or time.monotonic() < deadline):
            report = training.train_next_task()
            stopper.observe(report)
            if report.outcome is not None:
                schedule.tell(run_id, report.outcome)
                return True
        return False

    def call(self, study: Study, function: Callable[[], list[dict[str, Any]]]) -> Any:
        """Call a function with the threads of one trial and return its result."""
        with _trial_resources(study):
            return function()


@contextmanager
def _trial_resources(study: Study) -> Iterator[None]:
    """Give this process the threads of one trial, and deterministic algorithms on a GPU."""
    threads = torch.get_num_threads()
    torch.set_num_threads(study.resources.cpu)
    if study.resources.gpu:
        use_deterministic_algorithms()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
