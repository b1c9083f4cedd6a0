"""Pruning of a trial after a task."""

from __future__ import annotations

from ngm_tune.execution.recording import write_trial
from ngm_tune.execution.stopper import StudyStopper
from ngm_tune.execution.trial_config import TrialConfig
from ngm_tune.execution.trial_report import TrialReport
from ngm_tune.search.schedule import Schedule


def prune_trial(
    config: TrialConfig, report: TrialReport, schedule: Schedule, stopper: StudyStopper
) -> bool:
    """Prune a trial and write its rows, if the schedule decides so.

    Args:
        config: The config of the trial.
        report: Report of the trial after a task; it contains the rows to write.
        schedule: Decides whether the trial is pruned.
        stopper: Stops the study if the rows cannot be written.

    Returns:
        Whether the trial was pruned.
    """
    run_id = config["run_id"]
    if report.partial is None or not schedule.should_prune(run_id, report.interim):
        return False
    try:
        write_trial(config, report.partial.runs, report.partial.tasks)
    except OSError as error:
        stopper.stop(f"{config['results']}: {error}")
        return False
    schedule.prune(run_id, report.interim)
    return True
