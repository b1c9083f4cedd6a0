"""All runs in this process, one after the other: for debugging, and without Ray."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch

from ngm_tune.execution.recording import write_trial
from ngm_tune.execution.runner import Data
from ngm_tune.execution.split_cache import SplitCache
from ngm_tune.execution.stopper import StudyStopper
from ngm_tune.execution.trial_config import device_of, trial_config
from ngm_tune.execution.trial_report import TrialReport
from ngm_tune.execution.trial_training import TrialTraining
from ngm_tune.search.schedule import Schedule
from ngm_tune.study.plan import StudyPlan
from ngm_tune.study.study import Study
from ngm_tune.training.seeding import use_deterministic_algorithms


class LocalExecutor:
    """Trains the runs of a study in this process.

    The rows it writes equal those of the Ray executor bit for bit, so a method can be stepped
    through in a debugger and the results used. As with Tune, an interrupt ends the study without an
    exception; it loses what was trained since the last checkpoint.
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
        """Train until the schedule is complete, the time is up, or the stopper has a reason."""
        study = plan.study
        deadline = None if time_budget is None else time.monotonic() + time_budget.total_seconds()
        splits = SplitCache(lambda phase, benchmark: data[phase, benchmark], device_of(study))
        with _resources(study), suppress(KeyboardInterrupt):
            while stopper.reason is None and (spec := schedule.ask()) is not None:
                training = TrialTraining(trial_config(plan, location, spec), splits)
                try:
                    finished = self._train(training, schedule, stopper, deadline)
                finally:
                    if schedule.is_running(spec.run_id):
                        schedule.reopen(spec.run_id)
                if not finished:
                    training.save_unsaved()
                    return stopper.reason is None
        return False

    def _train(
        self,
        training: TrialTraining,
        schedule: Schedule,
        stopper: StudyStopper,
        deadline: float | None,
    ) -> bool:
        """Train a run to its end; False if it was cut off."""
        run_id = training.config["run_id"]
        while stopper.reason is None and (deadline is None or time.monotonic() < deadline):
            report = training.train_next_task()
            stopper.observe(report)
            if report.outcome is not None:
                schedule.tell(run_id, report.outcome)
                return True
            if report.problem is None and _prune(training, report, schedule, stopper):
                return True
        return False

    def call(self, study: Study, function: Callable[[], list[dict[str, Any]]]) -> Any:
        """Call a function with the threads of one trial and return its result."""
        with _resources(study):
            return function()


def _prune(
    training: TrialTraining, report: TrialReport, schedule: Schedule, stopper: StudyStopper
) -> bool:
    """Prune a run if the schedule decides so; whether it did."""
    run_id = training.config["run_id"]
    if report.partial is None or not schedule.should_prune(run_id, report.interim):
        return False
    try:
        write_trial(training.config, report.partial.runs, report.partial.tasks)
    except OSError as error:
        stopper.stop(f"{training.config['results']}: {error}")
        return False
    schedule.prune(run_id, report.interim)
    return True


@contextmanager
def _resources(study: Study) -> Iterator[None]:
    """Give this process the threads of one trial, and deterministic algorithms on a GPU."""
    threads = torch.get_num_threads()
    torch.set_num_threads(study.resources.cpu)
    if study.resources.gpu:
        use_deterministic_algorithms()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
