"""Drive a study: open the results, execute the remaining runs, and summarise."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import timedelta
from functools import partial
from typing import Literal

from ngm_tune.errors import UserError
from ngm_tune.execution import runner
from ngm_tune.execution.runner import Executor
from ngm_tune.execution.signals import graceful_signals, interrupt
from ngm_tune.execution.stopper import StudyStopper
from ngm_tune.execution.summary import StudySummary, summarise
from ngm_tune.execution.trial_config import checkpoint_seconds
from ngm_tune.results.directory import Results
from ngm_tune.search.fixed_runs import RunSource
from ngm_tune.study.plan import StudyPlan
from ngm_tune.study.study import Study
from ngm_tune.workspace.resume import open_study

logger = logging.getLogger(__name__)

ExecutorName = Literal["ray", "local"]
Show = Callable[[Sequence[RunSource]], AbstractContextManager[None]]


def drive(
    study: Study,
    location: str,
    *,
    executor: ExecutorName = "ray",
    address: str | None = None,
    time_budget: timedelta | None = None,
    retry_failed: bool = False,
    verbose: bool = False,
    show: Show = lambda sources: nullcontext(),
    notice: Callable[[str], None] = print,
) -> StudySummary:
    """Run a study, or resume one that was interrupted.

    SIGINT, SIGTERM and SIGUSR1 stop gracefully.

    Args:
        study: What to run.
        location: The results directory: a path or URI that every node reaches under the same name.
        executor: ``"ray"``, or ``"local"`` for this process alone.
        address: Address of a Ray cluster; by default the one that ``RAY_ADDRESS`` names, or else
            Ray is started on this machine. With ``ray://`` the study is driven from inside the
            cluster, and its location must be reachable there.
        time_budget: After this time the study stops as by SIGINT.
        retry_failed: Re-run failed trials.
        verbose: Show the output of Ray.
        show: Returns a context that displays the searches while they run.
        notice: Called with each sentence that a waiting user should read.

    Raises:
        UserError: Something that the user can fix; the study can be resumed afterwards.
    """
    checkpoint_seconds()  # fails here rather than in every trial
    everywhere = location if "://" in location or not location else os.path.abspath(location)
    if executor == "local":
        if address is not None:
            raise UserError(f"--address {address}: --executor local uses no Ray cluster")
        open_executor: AbstractContextManager[Executor] = _local()
    else:
        from ngm_tune.execution.ray_session import CLIENT, require_listener

        cluster = address or os.environ.get("RAY_ADDRESS") or "local"
        if cluster.startswith(CLIENT):
            from ngm_tune.execution.ray_client import drive_inside

            driving = partial(
                drive,
                study,
                everywhere,
                address="auto",
                time_budget=time_budget,
                retry_failed=retry_failed,
                verbose=verbose,
            )
            summary = drive_inside(cluster, driving, verbose=verbose)
            for sentence in summary.notices:
                notice(sentence)
            return summary
    plan = StudyPlan.resolve(study)
    logger.info("running %s in %s with the executor %s", study.name, everywhere, executor)
    results = Results(location)
    results.create()  # a relative path with the folders above it
    notices: list[str] = []

    def note(sentence: str) -> None:
        notices.append(sentence)
        notice(sentence)

    if executor == "ray":
        with suppress(OSError):  # opening the results reports it
            if not results.has_study():
                require_listener(cluster)  # before a study is written that cannot start
        open_executor = _ray(study, cluster, note, verbose=verbose)
    stopper = StudyStopper()

    def lost(reason: str) -> None:
        stopper.stop(reason)
        interrupt()

    with (
        graceful_signals(),
        open_study(plan, everywhere, lost, retry_failed=retry_failed) as sources,
    ):
        already_complete = runner.is_complete(sources) and not runner.owes_costs(
            study, everywhere, sources
        )
        timed_out = False
        if not already_complete:
            with show(sources), open_executor as opened_executor:
                timed_out = runner.run(
                    plan,
                    everywhere,
                    sources,
                    opened_executor,
                    stopper,
                    time_budget=time_budget,
                    notice=note,
                )
        if stopper.discarded_checkpoints:
            discarded = stopper.discarded_checkpoints
            note(
                f"{discarded} checkpoint{'' if discarded == 1 else 's'} damaged or of another "
                "version; the trials started over"
            )
        if stopper.reason is not None:
            raise UserError(f"{stopper.reason}; the study can be resumed once that is fixed")
        return summarise(
            study,
            sources,
            already_complete=already_complete,
            timed_out=timed_out,
            notices=notices,
        )


@contextmanager
def _local() -> Iterator[Executor]:
    from ngm_tune.execution.local_executor import LocalExecutor

    yield LocalExecutor()


@contextmanager
def _ray(
    study: Study, address: str, note: Callable[[str], None], *, verbose: bool
) -> Iterator[Executor]:
    """Join or start Ray, and check that a trial fits on one of its nodes."""
    from ngm_tune.execution.ray_executor import RayExecutor
    from ngm_tune.execution.ray_session import missing_resources, ray_session

    with ray_session(address, verbose=verbose):
        problem = missing_resources(study.resources.cpu, study.resources.gpu)
        if problem is not None and address == "local":
            raise UserError(problem)
        if problem is not None:  # a cluster may grow
            note(f"{problem}. The study waits for a node that has them.")
        yield RayExecutor(verbose=verbose)
