"""The arms of a study behind Ray Tune, drawn from fairly.

:class:`FairSearcher` hands Tune the next trial of whichever arm has started fewest, so one Tune run
serves all methods and each ends with the same number of trials.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ray.tune.search import Searcher

from ngm_tune.arms import Arm, FixedArm, Outcome, Proposal


class FairSearcher(Searcher):
    """The arms of a study as a search algorithm of Ray Tune.

    It keeps no state of its own that would need saving: what is known is in Optuna's storage and in
    the results.

    Args:
        arms: All arms of the study.
        config_of: Makes the config of Tune's trial for a proposal.
    """

    def __init__(
        self, arms: Sequence[Arm | FixedArm], config_of: Callable[[Proposal], dict[str, Any]]
    ) -> None:
        super().__init__()
        self._arms = arms
        self._config_of = config_of
        self._running: dict[str, tuple[Arm | FixedArm, str]] = {}

    def suggest(self, trial_id: str) -> Any:
        """The config of the next trial, of the arm that has started fewest.

        None while every arm waits for results, ``Searcher.FINISHED`` when all trials are started.
        """
        if all(arm.started == arm.trials for arm in self._arms):
            return Searcher.FINISHED
        for arm in sorted(self._arms, key=lambda arm: arm.started):
            proposal = arm.ask()
            if proposal is not None:
                self._running[trial_id] = (arm, proposal.trial_id)
                return self._config_of(proposal)
        return None

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Pass on how a trial ended; one that was cut off before it ran is offered again."""
        arm, own_id = self._running.pop(trial_id)
        if error:
            arm.finish(own_id, Outcome("failed", None))
        elif result is not None:
            values = result["values"]
            arm.finish(own_id, Outcome(result["status"], values))
        else:
            arm.reopen(own_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""
