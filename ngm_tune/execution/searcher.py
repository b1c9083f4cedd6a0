"""The schedule of a study as a search algorithm of Ray Tune."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray.tune.search import Searcher

from ngm_tune.execution.trial_config import TrialConfig
from ngm_tune.execution.trial_report import TrialReport
from ngm_tune.results.outcome import Outcome
from ngm_tune.results.schema import Status
from ngm_tune.search.run_spec import RunSpec
from ngm_tune.search.schedule import Schedule


class ScheduleSearcher(Searcher):
    """A :class:`~ngm_tune.search.schedule.Schedule` as a search algorithm of Ray Tune.

    It has no state to save: the results and Optuna's storage contain all outcomes.

    Args:
        schedule: Decides which run comes next.
        make_config: Returns the config of a run.
        read_outcome: Reads the outcome of a run from the results; None if it is not in them.
        has_failed: Returns whether a run that Tune gives up has failed; otherwise it is run again.
    """

    def __init__(
        self,
        schedule: Schedule,
        make_config: Callable[[RunSpec], TrialConfig],
        read_outcome: Callable[[str], Outcome | None],
        has_failed: Callable[[str], bool],
    ) -> None:
        super().__init__()
        self._schedule = schedule
        self._make_config = make_config
        self._read_outcome = read_outcome
        self._has_failed = has_failed
        self._run_ids: dict[str, str] = {}
        """Id of the run of each Tune trial that has not ended, by Tune's trial id."""

    def suggest(self, trial_id: str) -> Any:
        """Return the config of the next run.

        Return None while every source waits for outcomes, and ``Searcher.FINISHED`` once all runs
        have ended.
        """
        spec = self._schedule.ask()
        if spec is not None:
            self._run_ids[trial_id] = spec.run_id
            return self._make_config(spec)
        return Searcher.FINISHED if self._schedule.complete else None

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Record how a trial ended; a trial that was interrupted is run again.

        If the worker wrote the rows of the trial, these determine its outcome.
        """
        run_id = self._run_ids.pop(trial_id, None)
        if run_id is None:
            return  # already recorded
        report: TrialReport | None = (result or {}).get("report")
        outcome = report.outcome if report is not None else None
        outcome = outcome or self._read_outcome(run_id)
        if outcome is not None:
            self._schedule.tell(run_id, outcome)
        elif error and self._has_failed(run_id):
            self._schedule.tell(run_id, Outcome(Status.FAILED, None))
        else:
            self._schedule.reopen(run_id)

    def record_remaining(self) -> None:
        """Record the trials for which Tune did not call this searcher, as after an interrupt."""
        for trial_id in list(self._run_ids):
            self.on_trial_complete(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Do nothing; the searcher has no state to save."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing; the searcher has no state to restore."""
