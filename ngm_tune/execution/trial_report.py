"""Reports that the worker of a trial sends to the driver after each task."""

from __future__ import annotations

from dataclasses import dataclass

from ngm_tune.results.outcome import Outcome


@dataclass(frozen=True)
class TrialReport:
    """State of a trial after a task.

    Attributes:
        tasks: Number of tasks that its seeds have finished.
        outcome: Outcome of the trial; None until the trial has ended.
        problem: Why the results directory cannot be used, so that the study must stop; or None.
        discarded_checkpoint: Why a checkpoint was not used, so that the trial restarted; or None.
    """

    tasks: int = 0
    outcome: Outcome | None = None
    problem: str | None = None
    discarded_checkpoint: str | None = None

    @property
    def done(self) -> bool:
        """Whether the trial has nothing left to train."""
        return self.outcome is not None or self.problem is not None
