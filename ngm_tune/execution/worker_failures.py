"""Runs that lose their worker: they go on elsewhere, unless they lose it again and again."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import ray
from ray import tune

from ngm_tune.execution.recording import write_failure
from ngm_tune.execution.stopper import Halt
from ngm_tune.results.directory import Results

MOST_LOSSES = 3
"""How often a run goes on elsewhere, from its checkpoint, after losing its worker in a task."""


class Losses(tune.Callback):
    """Counts lost workers by run, and fails a run that loses its own too often in the same task.

    Tune counts too, but gives a run up at once where a worker is lost that it was about to reuse,
    and where Ray itself is lost around this process, in the moment before Ray ends it. Such a run
    has not failed, and is offered to Tune again (:class:`ngm_tune.execution.searcher.FairSearcher`).
    """

    def __init__(self, halt: Halt) -> None:
        self._halt = halt
        self._losses: Counter[str] = Counter()
        """Since a task was finished, by run."""
        self._tasks: Counter[str] = Counter()

    def is_last(self, run_id: str) -> bool:
        """Whether a run that loses its worker now has lost it too often."""
        return self._losses[run_id] >= MOST_LOSSES and not _ray_is_lost()

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Begin anew when a further task is finished."""
        run_id, tasks = trial.config["run_id"], len(result.get("interim", ()))
        if tasks > self._tasks[run_id]:
            self._tasks[run_id] = tasks
            self._losses[run_id] = trial.run_metadata.num_failures = 0

    def on_trial_recover(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Count a loss after which Tune goes on; Tune's own count follows this one."""
        run_id = trial.config["run_id"]
        self._losses[run_id] += 1
        trial.run_metadata.num_failures = self._losses[run_id]

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Record a failure, if it is one; the searcher was asked :meth:`is_last` before."""
        run_id, results = trial.config["run_id"], Results(trial.config["results"])
        last = self.is_last(run_id)
        self._losses[run_id] += 1
        if not last or results.has_run(run_id):  # else it was lost after its end
            return
        path = Path(trial.error_file) if trial.error_file else None
        report = path.read_text(errors="replace") if path and path.is_file() else "no report\n"
        try:
            write_failure(trial.config, report)
        except OSError as error:
            self._halt.because(f"{trial.config['results']}: {error}")


def _ray_is_lost() -> bool:
    """Whether the node that this process belongs to is gone."""
    own = ray.get_runtime_context().get_node_id()
    return not any(node["NodeID"] == own and node["Alive"] for node in ray.nodes())
