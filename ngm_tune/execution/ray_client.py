"""Drive a study from inside a cluster that is joined through Ray Client."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import ray
from ray.exceptions import RayError, RayTaskError, TaskCancelledError

from ngm_tune.command import COMMAND, typed_command
from ngm_tune.errors import UserError
from ngm_tune.execution.ray_session import ray_session
from ngm_tune.execution.signals import graceful_signals
from ngm_tune.execution.summary import StudySummary
from ngm_tune.methods.files import MethodsFile
from ngm_tune.methods.registry import current_registry


def drive_in_cluster(
    address: str, drive_study: Callable[[], StudySummary], *, verbose: bool
) -> StudySummary:
    """Run the driver of a study as a task in the cluster, where Ray Client would run Tune anyway.

    Args:
        address: Address of the cluster, ``ray://HOST:PORT``.
        drive_study: Drives the study; called in the cluster.
        verbose: Show the output of Ray.

    Raises:
        UserError: The study has a problem that the user can fix, or the driver was lost.
    """
    with graceful_signals(), ray_session(address, verbose=verbose):
        variables = {k: v for k, v in os.environ.items() if k.startswith("NGM_TUNE_")}
        variables[COMMAND] = typed_command()
        remote_call = ray.remote(_call).options(
            num_cpus=0, max_retries=0, runtime_env={"env_vars": variables}
        )
        task = remote_call.remote(drive_study, current_registry().files)
        try:
            try:
                return _wait_for(task)
            except KeyboardInterrupt:
                # Cancel the driver only, which stops its trials. Cancelled trials would fail Tune.
                ray.cancel(task, recursive=False)
                return _wait_for(task)
        except TaskCancelledError:
            raise KeyboardInterrupt from None
        except RayTaskError as error:
            if isinstance(error.cause, UserError):
                raise error.cause from None
            raise
        except (RayError, ConnectionError) as error:
            raise UserError(
                f"the driver inside the cluster at {address} was lost: {type(error).__name__}; the "
                "same command resumes the study"
            ) from error


def _call(drive_study: Callable[[], StudySummary], files: Sequence[MethodsFile]) -> StudySummary:
    for file in files:
        current_registry().add_file(file)
    return drive_study()


def _wait_for(task: ray.ObjectRef) -> StudySummary:
    summary: StudySummary = ray.get(task)
    return summary
