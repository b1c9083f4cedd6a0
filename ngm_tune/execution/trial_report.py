"""Reports: what the worker of a trial tells the driver after each task."""

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
        outcome: How the trial ended; None while it has not.
        problem: Why the results directory cannot be used; the study must stop. None otherwise.
        partial: Rows to write if the trial is pruned now, where the study prunes trials.
        discarded_checkpoint: Why a checkpoint was not used; the trial started over. None otherwise.
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
