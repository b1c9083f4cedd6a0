"""Driving a study: from this process, or from inside of the cluster where that is the only way."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple

import ray
from ray.exceptions import RayError, RayTaskError, TaskCancelledError

from ngm_tune.cli.progress import standing
from ngm_tune.errors import UserError
from ngm_tune.execution import runner
from ngm_tune.execution.ray_session import CLIENT, problem_of_room, ray_session, require_listener
from ngm_tune.execution.signals import graceful_signals, interrupt
from ngm_tune.execution.stopper import Halt
from ngm_tune.results.directory import Results
from ngm_tune.search.fixed_runs import AnyArm
from ngm_tune.study.study import Study
from ngm_tune.workspace.provenance import COMMAND, typed_command
from ngm_tune.workspace.resume import opened

Show = Callable[[Sequence[AnyArm]], AbstractContextManager[None]]


class Ended(NamedTuple):
    """What a study has come to.

    Attributes:
        done: Runs that have ended.
        total: Runs there are to be, as far as can be told.
        failed: Those that ended as failures.
        complete: Whether nothing is left.
        already: Whether nothing was left from the start.
        timed_out: Whether the time budget ended it.
        standing: A table of the methods.
        noticed: What a person should know, and where the study was driven inside of a cluster was
            not told.
    """

    done: int
    total: int
    failed: int
    complete: bool
    already: bool
    timed_out: bool
    standing: Any
    noticed: Sequence[str] = ()


def drive(
    study: Study,
    location: str,
    *,
    address: str | None = None,
    time_budget: timedelta | None = None,
    retry_failed: bool = False,
    verbose: bool = False,
    show: Show = lambda arms: nullcontext(),
    notice: Callable[[str], None] = print,
) -> Ended:
    """Run a study, or go on with one that was interrupted.

    SIGINT, SIGTERM and SIGUSR1 stop gracefully.

    Args:
        study: What to run.
        location: The results directory: a path or URI that every node reaches under the same name.
        address: Of a Ray cluster; by default the one that ``RAY_ADDRESS`` names, and else Ray is
            started on this machine. With ``ray://`` the study is driven from inside the cluster,
            and its location must be reachable there.
        time_budget: After this time it stops as by SIGINT.
        retry_failed: Run those again that failed.
        verbose: Show what Ray says.
        show: Shows the arms while they are run.
        notice: Told what a person should know who waits.

    Raises:
        UserError: Something that the user can mend; the study goes on from there afterwards.
    """
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    runner.checkpoint_seconds()  # which says now, and not in every trial, what is wrong with it
    everywhere = location if "://" in location or not location else os.path.abspath(location)
    noticed: list[str] = []
    if address.startswith(CLIENT):
        ended = _drive_inside(
            address,
            partial(
                drive,
                study,
                everywhere,
                address="auto",
                time_budget=time_budget,
                retry_failed=retry_failed,
                verbose=verbose,
            ),
            verbose=verbose,
        )
        for said in ended.noticed:
            notice(said)
        return ended
    results = Results(location)
    results.create()  # of a relative path with the folders above it
    with suppress(OSError):  # which opening the results reports
        if not results.exists():
            require_listener(address)  # else a study is written that cannot start
    location = everywhere
    halt = Halt()

    def note(said: str) -> None:
        noticed.append(said)
        notice(said)

    def lost(reason: str) -> None:
        halt.because(reason)
        interrupt()

    with graceful_signals(), opened(study, location, lost, retry_failed=retry_failed) as arms:
        already = runner.is_complete(arms) and not runner.owes_costs(study, location, arms)
        timed_out = False
        if not already:
            with show(arms), ray_session(address, verbose=verbose):
                problem = problem_of_room(study.resources.cpu, study.resources.gpu)
                if problem is not None and address == "local":
                    raise UserError(problem)
                if problem is not None:  # a cluster may grow
                    note(f"{problem}. The study waits for one that has it.")
                timed_out = runner.run(
                    study,
                    location,
                    arms,
                    halt,
                    time_budget=time_budget,
                    verbose=verbose,
                    notice=note,
                )
        if halt.reason is not None:
            raise UserError(f"{halt.reason}; the study goes on from there once that is mended")
        outcomes = [outcome for arm in arms for outcome in arm.outcomes]
        return Ended(
            done=len(outcomes),
            total=sum(arm.total for arm in arms),
            failed=sum(outcome.status == "failed" for outcome in outcomes),
            complete=runner.is_complete(arms),
            already=already,
            timed_out=timed_out,
            standing=standing(study, arms),
            noticed=noticed,
        )


def _drive_inside(address: str, driving: Callable[[], Ended], *, verbose: bool) -> Ended:
    """Drive a study from a task in the cluster: Ray Client would run Tune there anyway."""
    with graceful_signals(), ray_session(address, verbose=verbose):
        settings = {k: v for k, v in os.environ.items() if k.startswith("NGM_TUNE_")}
        settings[COMMAND] = typed_command()
        inside = ray.remote(_called).options(
            num_cpus=0, max_retries=0, runtime_env={"env_vars": settings}
        )
        task = inside.remote(driving)
        try:
            try:
                return _result(task)
            except KeyboardInterrupt:
                ray.cancel(task)
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
                "same command goes on"
            ) from error


def _called(driving: Callable[[], Ended]) -> Ended:
    return driving()


def _result(task: ray.ObjectRef) -> Ended:
    ended: Ended = ray.get(task)
    return ended
