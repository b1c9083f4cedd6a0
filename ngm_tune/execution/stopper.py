"""Ending a study for a reason that the user can mend, with nothing lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray import tune


class Halt(tune.Stopper):
    """Stops all trials of a study once something makes it useless to go on.

    Trials that it cuts off have no end and are run when the study goes on.
    """

    def __init__(self) -> None:
        self.reason: str | None = None

    def because(self, reason: str) -> None:
        """Stop, for the first reason that there is."""
        self.reason = self.reason or reason

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """No trial is stopped by itself; what a trial reports as a problem stops the study."""
        if "problem" in result:
            self.because(result["problem"])
        return False

    def stop_all(self) -> bool:
        """Whether to stop."""
        return self.reason is not None
