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
        config_of: Returns the config of a run.
        read_outcome: Returns the outcome of a run from the results; None if it has none there.
        has_failed: Whether a run that Tune gives up has failed; if not, it is offered again.
    """

    def __init__(
        self,
        schedule: Schedule,
        config_of: Callable[[RunSpec], TrialConfig],
        read_outcome: Callable[[str], Outcome | None],
        has_failed: Callable[[str], bool],
    ) -> None:
        super().__init__()
        self._schedule = schedule
        self._config_of = config_of
        self._read_outcome = read_outcome
        self._has_failed = has_failed
        self._run_of: dict[str, str] = {}
        """Run ids by Tune's trial ids, of trials that Tune has not ended."""

    def suggest(self, trial_id: str) -> Any:
        """Return the config of the next run.

        None while every source waits for outcomes; ``Searcher.FINISHED`` when all runs have ended.
        """
        spec = self._schedule.ask()
        if spec is not None:
            self._run_of[trial_id] = spec.run_id
            return self._config_of(spec)
        return Searcher.FINISHED if self._schedule.complete else None

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Record how a trial ended; one that was cut off before its end is offered again.

        Whatever Tune reports, the rows that its worker wrote count.
        """
        run_id = self._run_of.pop(trial_id, None)
        if run_id is None or not self._schedule.is_running(run_id):
            return  # pruned and already recorded
        report: TrialReport | None = (result or {}).get("report")
        outcome = report.outcome if report is not None else None
        outcome = outcome or self._read_outcome(run_id)
        if outcome is not None:
            self._schedule.tell(run_id, outcome)
        elif error and self._has_failed(run_id):
            self._schedule.tell(run_id, Outcome(Status.FAILED, None))
        else:
            self._schedule.reopen(run_id)

    def settle(self) -> None:
        """Record the ends of trials that Tune left without a call, as after an interrupt."""
        for trial_id in list(self._run_of):
            self.on_trial_complete(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Do nothing; the searcher has no state to save."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing; the searcher has no state to restore."""
