"""An executor that trains runs with Ray Tune, on this machine or on a cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

import ray
from ray import tune

from ngm_tune.execution.runner import Data
from ngm_tune.execution.scheduler import OrderOfSubmission
from ngm_tune.execution.searcher import ScheduleSearcher
from ngm_tune.execution.stopper import StudyStopper
from ngm_tune.execution.trainable import ContinualTrainable
from ngm_tune.execution.trial_config import build_trial_config
from ngm_tune.execution.worker_failures import MAX_LOSSES, WorkerFailures
from ngm_tune.methods.files import MethodsFile
from ngm_tune.methods.registry import current_registry
from ngm_tune.results.directory import Results
from ngm_tune.results.outcome import Outcome, read_outcome
from ngm_tune.search.schedule import Schedule
from ngm_tune.study.plan import StudyPlan
from ngm_tune.study.study import Study


class RayExecutor:
    """Trains the runs of a study on the Ray cluster that this process has joined.

    Args:
        verbose: Show the output of Ray.
    """

    def __init__(self, *, verbose: bool = False) -> None:
        self._verbose = verbose

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
        references = {key: ray.put(arrays) for key, arrays in data.items()}
        trainable = tune.with_resources(
            tune.with_parameters(ContinualTrainable, data=references), study.resources.model_dump()
        )
        failures = WorkerFailures(stopper)
        searcher = ScheduleSearcher(
            schedule,
            partial(build_trial_config, plan, location),
            partial(_read_outcome, Results(location), study),
            failures.has_failed,
        )
        # Tune's state is not needed: a study resumes from its results.
        with TemporaryDirectory(prefix="ngm-tune-", ignore_cleanup_errors=True) as scratch:
            tuner = tune.Tuner(
                trainable,
                tune_config=tune.TuneConfig(
                    search_alg=searcher,
                    scheduler=OrderOfSubmission(),
                    num_samples=-1,  # until the searcher is finished
                    time_budget_s=time_budget,
                    max_concurrent_trials=len(schedule) * study.max_concurrent_trials,
                    reuse_actors=True,
                    trial_name_creator=_trial_name,
                    trial_dirname_creator=_trial_name,
                ),
                run_config=tune.RunConfig(
                    name="tune",
                    storage_path=scratch,
                    stop=_TuneStopper(stopper),
                    callbacks=[failures],
                    # The trainable writes checkpoints itself; Tune would request one at the end.
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                    failure_config=tune.FailureConfig(max_failures=MAX_LOSSES),
                    verbose=3 if self._verbose else 0,
                ),
            )
            started = time.monotonic()
            try:
                tuner.fit()
            finally:
                searcher.record_remaining()
        elapsed = timedelta(seconds=time.monotonic() - started)
        return time_budget is not None and elapsed >= time_budget and not schedule.complete

    def call(self, study: Study, function: Callable[[], list[dict[str, Any]]]) -> Any:
        """Call a function in a worker with the resources of one trial and return its result."""
        resources = {"num_cpus": study.resources.cpu, "num_gpus": study.resources.gpu}
        task = ray.remote(_call).options(**resources, max_retries=MAX_LOSSES)
        return ray.get(task.remote(function, current_registry().files))


def _call(
    function: Callable[[], list[dict[str, Any]]], files: Sequence[MethodsFile]
) -> list[dict[str, Any]]:
    for file in files:
        current_registry().add_file(file)
    return function()


class _TuneStopper(tune.Stopper):
    """A :class:`StudyStopper` with the interface of Tune. It never stops a single trial."""

    def __init__(self, stopper: StudyStopper) -> None:
        self._stopper = stopper

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        if "report" in result:
            self._stopper.observe(result["report"])
        return False

    def stop_all(self) -> bool:
        return self._stopper.reason is not None


def _trial_name(trial: Any) -> str:
    return str(trial.config["run_id"])


def _read_outcome(results: Results, study: Study, run_id: str) -> Outcome | None:
    """Return the outcome of a run; None if it has not ended or its rows cannot be read."""
    with suppress(OSError):
        return read_outcome(results, run_id, study.objectives, study.constraints)
    return None
