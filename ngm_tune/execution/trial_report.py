"""Reports that the worker of a trial sends to the driver after each task."""

from __future__ import annotations

from dataclasses import dataclass

from ngm_tune.results.outcome import Outcome, Row, Values


@dataclass(frozen=True)
class PartialRows:
    """Rows to write if the trial is pruned after the task it has just finished.

    Attributes:
        runs: Rows of ``trials/``, one per seed.
        tasks: Rows of ``tasks/``, one per seed and finished task.
    """

    runs: list[Row]
    tasks: list[Row]


@dataclass(frozen=True)
class TrialReport:
    """State of a trial after a task.

    Attributes:
        interim: Objectives after each finished task, means over seeds.
        outcome: Outcome of the trial; None until the trial has ended.
        problem: Why the results directory cannot be used, so that the study must stop; or None.
        partial: Rows to write if the trial is pruned now; None if it cannot be pruned.
        discarded_checkpoint: Why a checkpoint was not used, so that the trial restarted; or None.
    """

    interim: tuple[Values, ...] = ()
    outcome: Outcome | None = None
    problem: str | None = None
    partial: PartialRows | None = None
    discarded_checkpoint: str | None = None

    @property
    def done(self) -> bool:
        """Whether the trial has nothing left to train."""
        return self.outcome is not None or self.problem is not None
