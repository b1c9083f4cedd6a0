"""Stop a study for a reason that the user can fix, without losing results."""

from __future__ import annotations

from ngm_tune.execution.trial_report import TrialReport


class StudyStopper:
    """Holds the reason why a study must stop.

    Interrupted trials have no outcome and are run again when the study is resumed.

    Attributes:
        reason: The first reason passed to :meth:`stop`; None while the study may continue.
        discarded_checkpoints: Number of checkpoints that could not be used.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self.discarded_checkpoints = 0

    def stop(self, reason: str) -> None:
        """Stop the study; later reasons are ignored."""
        self.reason = self.reason or reason

    def observe(self, report: TrialReport) -> None:
        """Process the report of a trial; a problem stops the study."""
        if report.discarded_checkpoint is not None:
            self.discarded_checkpoints += 1
        if report.problem is not None:
            self.stop(report.problem)
