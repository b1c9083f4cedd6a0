"""The arms of a study behind Ray Tune, drawn from fairly.

:class:`FairSearcher` hands Tune the next trial of whichever arm has started fewest, so one Tune run
serves all methods and each ends with the same number of trials.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ray.tune.search import Searcher

from ngm_tune.execution.trial_config import TrialConfig
from ngm_tune.results.outcome import Outcome
from ngm_tune.search.fixed_runs import AnyArm
from ngm_tune.search.run_spec import Proposal


class FairSearcher(Searcher):
    """The arms of a study as a search algorithm of Ray Tune.

    It keeps no state of its own that would need saving: what is known is in Optuna's storage and in
    the results.

    Args:
        arms: All arms of the study.
        config_of: Makes the config of Tune's trial for a proposal.
        written: How a run ended as the results have it, by its id; None if they do not.
        given_up: Whether a run that Tune gives up now, by its id, has failed; else it is offered
            again.
    """

    def __init__(
        self,
        arms: Sequence[AnyArm],
        config_of: Callable[[Proposal], TrialConfig],
        written: Callable[[str], Outcome | None],
        given_up: Callable[[str], bool],
    ) -> None:
        super().__init__()
        self._arms = arms
        self._config_of = config_of
        self._written = written
        self._given_up = given_up
        self._running: dict[str, tuple[AnyArm, str]] = {}
        self._stopped: set[str] = set()

    def suggest(self, trial_id: str) -> Any:
        """The config of the next trial, of the arm that has started fewest.

        None while every arm waits for results, ``Searcher.FINISHED`` when all trials have ended.
        """
        for arm in sorted(self._arms, key=lambda arm: arm.started):
            proposal = arm.ask()
            if proposal is not None:
                self._running[trial_id] = (arm, proposal.run_id)
                return self._config_of(proposal)
        if all(arm.complete for arm in self._arms):
            return Searcher.FINISHED
        return None

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Pass on how a trial ended; one that was cut off before its end is offered again.

        Whatever Tune says of it, what its worker wrote counts.
        """
        if trial_id not in self._running:
            return  # stopped early, which is known already
        arm, run_id = self._running.pop(trial_id)
        told = (result or {}).get("outcome")
        outcome = self._written(run_id) if told is None else Outcome(*told)
        if outcome is not None:
            arm.finish(run_id, outcome)
        elif error and self._given_up(run_id):
            arm.finish(run_id, Outcome("failed", None))
        else:
            arm.reopen(run_id)

    def settle(self) -> None:
        """Take note of the trials that Tune has left without a word, as when it is interrupted."""
        for trial_id in list(self._running):
            self.on_trial_complete(trial_id)

    def is_hopeless(self, run_id: str, interim: Sequence[tuple[float, ...]]) -> bool:
        """Whether a run should be stopped; for :class:`~ngm_tune.execution.scheduler.DominanceStopping`."""
        if run_id in self._stopped:
            return True  # its worker was lost before Tune could stop it
        arm = next(arm for arm, running in self._running.values() if running == run_id)
        return arm.is_hopeless(run_id, interim)

    def stopped(self, run_id: str, interim: Sequence[tuple[float, ...]]) -> None:
        """Take note that a run is stopped early."""
        if run_id in self._stopped:
            return
        self._stopped.add(run_id)
        trial_id = next(t for t, (_, running) in self._running.items() if running == run_id)
        arm, _ = self._running.pop(trial_id)
        arm.finish(run_id, Outcome("stopped", None, interim=tuple(map(tuple, interim))))

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""
