"""Lost workers: their runs continue elsewhere, unless they lose their worker again and again."""

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
"""How often a run continues from its checkpoint after losing its worker in the same task."""


class WorkerFailures(tune.Callback):
    """Counts lost workers by run, and fails a run that loses its worker too often in one task.

    Tune counts too, but gives a run up at once if the lost worker was about to be reused, or if Ray
    itself is lost around this process, in the moment before Ray ends it. Such a run has not failed;
    it is offered again (:class:`ngm_tune.execution.searcher.ScheduleSearcher`).

    Args:
        stopper: Stops the study where results cannot be written.
    """

    def __init__(self, stopper: StudyStopper) -> None:
        self._stopper = stopper
        self._losses: Counter[str] = Counter()
        """Lost workers by run, since its last finished task."""
        self._tasks: Counter[str] = Counter()

    def is_last(self, run_id: str) -> bool:
        """Whether a run that loses its worker now has lost it too often."""
        return self._losses[run_id] >= MAX_LOSSES and not _ray_is_lost()

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Reset the count when a further task is finished."""
        report: TrialReport | None = result.get("report")
        run_id, tasks = trial.config["run_id"], len(report.interim) if report else 0
        if tasks > self._tasks[run_id]:
            self._tasks[run_id] = tasks
            self._losses[run_id] = trial.run_metadata.num_failures = 0

    def on_trial_recover(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Count a loss after which Tune continues, and set Tune's count to this one."""
        run_id = trial.config["run_id"]
        self._losses[run_id] += 1
        trial.run_metadata.num_failures = self._losses[run_id]

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Record a failure, if it is one; the searcher called :meth:`is_last` before."""
        run_id, results = trial.config["run_id"], Results(trial.config["results"])
        last = self.is_last(run_id)
        self._losses[run_id] += 1
        if not last or results.has_run(run_id):  # otherwise the worker was lost after the end
            return
        path = Path(trial.error_file) if trial.error_file else None
        report = path.read_text(errors="replace") if path and path.is_file() else "no report\n"
        try:
            write_failure(trial.config, report)
        except OSError as error:
            self._stopper.stop(f"{trial.config['results']}: {error}")


def _ray_is_lost() -> bool:
    """Whether the node of this process is gone."""
    node_id = ray.get_runtime_context().get_node_id()
    return not any(node["NodeID"] == node_id and node["Alive"] for node in ray.nodes())
