"""Lost workers: a run that loses its worker continues elsewhere, and fails after several losses."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import ray
from ray import tune

from ngm_tune.execution.recording import write_failure
from ngm_tune.execution.stopper import StudyStopper
from ngm_tune.execution.trial_report import TrialReport
from ngm_tune.results.directory import Results

MAX_LOSSES = 3
"""Number of times that a run continues after losing its worker in the same task."""


class WorkerFailures(tune.Callback):
    """Counts the lost workers of each run, and fails a run that loses too many in one task.

    Tune counts failures too, but it also gives a run up if the lost worker was about to be reused,
    or if Ray stops while this process still runs. Such a run has not failed and is run again
    (:class:`ngm_tune.execution.searcher.ScheduleSearcher`).

    Args:
        stopper: Stops the study if the results cannot be written.
    """

    def __init__(self, stopper: StudyStopper) -> None:
        self._stopper = stopper
        self._losses: Counter[str] = Counter()
        """Number of workers that each run has lost since its last finished task."""
        self._tasks: Counter[str] = Counter()
        """Number of finished tasks of each run."""

    def has_failed(self, run_id: str) -> bool:
        """Whether a run fails if it loses another worker now."""
        return self._losses[run_id] >= MAX_LOSSES and not _ray_is_lost()

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Reset the count of a run when it finishes another task."""
        report: TrialReport | None = result.get("report")
        run_id, tasks = trial.config["run_id"], report.tasks if report else 0
        if tasks > self._tasks[run_id]:
            self._tasks[run_id] = tasks
            self._losses[run_id] = trial.run_metadata.num_failures = 0

    def on_trial_recover(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Count a loss after which Tune continues, and set Tune's count to the same number."""
        run_id = trial.config["run_id"]
        self._losses[run_id] += 1
        trial.run_metadata.num_failures = self._losses[run_id]

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Write the rows of a failed run; the searcher has already called :meth:`has_failed`."""
        run_id, results = trial.config["run_id"], Results(trial.config["results"])
        has_failed = self.has_failed(run_id)
        self._losses[run_id] += 1
        if not has_failed or results.has_run(run_id):  # the worker can be lost after the end
            return
        path = Path(trial.error_file) if trial.error_file else None
        report = path.read_text(errors="replace") if path and path.is_file() else "no report\n"
        try:
            write_failure(trial.config, report)
        except OSError as error:
            self._stopper.stop(f"{trial.config['results']}: {error}")


def _ray_is_lost() -> bool:
    """Whether the Ray node of this process is no longer alive."""
    node_id = ray.get_runtime_context().get_node_id()
    return not any(node["NodeID"] == node_id and node["Alive"] for node in ray.nodes())
