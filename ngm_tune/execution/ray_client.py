"""Driving a study from inside a cluster that is reached through Ray Client."""

from __future__ import annotations

import os
from collections.abc import Callable

import ray
from ray.exceptions import RayError, RayTaskError, TaskCancelledError

from ngm_tune.command import COMMAND, typed_command
from ngm_tune.errors import UserError
from ngm_tune.execution.ray_session import ray_session
from ngm_tune.execution.signals import graceful_signals
from ngm_tune.execution.summary import StudySummary


def drive_inside(
    address: str, driving: Callable[[], StudySummary], *, verbose: bool
) -> StudySummary:
    """Drive a study from a task in the cluster; Ray Client would run Tune there anyway.

    Args:
        address: Address of the cluster, ``ray://HOST:PORT``.
        driving: Drives the study; called in the cluster.
        verbose: Show the output of Ray.

    Raises:
        UserError: Something that the user can fix, or the driver in the cluster was lost.
    """
    with graceful_signals(), ray_session(address, verbose=verbose):
        settings = {k: v for k, v in os.environ.items() if k.startswith("NGM_TUNE_")}
        settings[COMMAND] = typed_command()
        inside = ray.remote(_call).options(
            num_cpus=0, max_retries=0, runtime_env={"env_vars": settings}
        )
        task = inside.remote(driving)
        try:
            try:
                return _result(task)
            except KeyboardInterrupt:
                # The driver stops its own trials: cancelled behind its back, they would fail Tune.
                ray.cancel(task, recursive=False)
                return _result(task)
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


def _call(driving: Callable[[], StudySummary]) -> StudySummary:
    return driving()


def _result(task: ray.ObjectRef) -> StudySummary:
    summary: StudySummary = ray.get(task)
    return summary
