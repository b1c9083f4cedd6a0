"""The driver of a study: it opens the results, executes the remaining runs and summarises.

Importing this module loads neither torch nor Ray, which take seconds. They are imported once runs
remain to be trained, so a complete study answers from its results at once.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import timedelta
from functools import partial
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING, Literal

from ngm_tune.errors import UserError
from ngm_tune.execution.ray_address import CLIENT, require_listener
from ngm_tune.execution.signals import SENT_BY_SCHEDULERS, deferred, graceful_signals, interrupt
from ngm_tune.execution.stopper import StudyStopper
from ngm_tune.execution.summary import StudySummary, summarise
from ngm_tune.execution.trial_config import read_checkpoint_seconds
from ngm_tune.messages import counted
from ngm_tune.results.directory import Results
from ngm_tune.search.fixed_runs import RunSource
from ngm_tune.study.plan import StudyPlan
from ngm_tune.study.study import Study
from ngm_tune.workspace.remaining import is_complete, needs_costs
from ngm_tune.workspace.resume import open_study

if TYPE_CHECKING:
    from ngm_tune.execution.runner import Executor

logger = logging.getLogger(__name__)

_SLOW_IMPORTS = ("ngm_tune.execution.ray_executor", "sklearn.model_selection")
"""What training needs besides Ray itself: torch, Ray Tune, and scikit-learn to split data."""
ExecutorName = Literal["ray", "local"]
Show = Callable[[Sequence[RunSource]], AbstractContextManager[None]]
"""Returns a context that displays the searches and fixed runs of a study while they run."""


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
        study: The study.
        location: Path or URI of the results directory, the same on every node.
        executor: ``"ray"``, or ``"local"`` to train in this process.
        address: Address of a Ray cluster; by default that of the environment variable
            ``RAY_ADDRESS``. Without an address, Ray is started on this machine. With ``ray://`` the
            driver runs inside the cluster, and the location must be reachable there.
        time_budget: Time after which the study stops as after SIGINT.
        retry_failed: Re-run failed trials.
        verbose: Show the output of Ray.
        show: Returns a context that displays the searches while they run.
        notice: Called with each message for the user.

    Raises:
        UserError: A problem that the user can fix; the study can be resumed afterwards.
    """
    read_checkpoint_seconds()  # raises here rather than in every trial
    shared_location = location if "://" in location or not location else os.path.abspath(location)
    if executor == "local":
        if address is not None:
            raise UserError(f"--address {address}: --executor local uses no Ray cluster")
        open_executor: AbstractContextManager[Executor] = _open_local_executor()
    else:
        cluster = address or os.environ.get("RAY_ADDRESS") or "local"
        if cluster.startswith(CLIENT):
            from ngm_tune.execution.ray_client import drive_in_cluster

            drive_study = partial(
                drive,
                study,
                shared_location,
                address="auto",
                time_budget=time_budget,
                retry_failed=retry_failed,
                verbose=verbose,
            )
            summary = drive_in_cluster(cluster, drive_study, verbose=verbose)
            for message in summary.notices:
                notice(message)
            return summary
    plan = StudyPlan.resolve(study)
    logger.info("running %s in %s with the executor %s", study.name, shared_location, executor)
    results = Results(location)
    results.create()  # with the parent folders of a relative path
    notices: list[str] = []

    def record_notice(message: str) -> None:
        notices.append(message)
        notice(message)

    if executor == "ray":
        with suppress(OSError):  # open_study reports it
            if not results.has_study():
                require_listener(cluster)  # raises before the study is written
        open_executor = _open_ray_executor(study, cluster, record_notice, verbose=verbose)
    stopper = StudyStopper()

    def stop_study(reason: str) -> None:
        stopper.stop(reason)
        interrupt()

    with (
        graceful_signals(),
        open_study(plan, shared_location, stop_study, retry_failed=retry_failed) as sources,
    ):
        already_complete = is_complete(sources) and not needs_costs(study, shared_location, sources)
        timed_out = False
        if not already_complete:
            with show(sources), open_executor as opened_executor:
                from ngm_tune.execution import runner

                timed_out = runner.run(
                    plan,
                    shared_location,
                    sources,
                    opened_executor,
                    stopper,
                    time_budget=time_budget,
                    notice=record_notice,
                )
        if stopper.discarded_checkpoints:
            discarded = stopper.discarded_checkpoints
            record_notice(
                f"{counted(discarded, 'checkpoint')} could not be used (damaged or of another "
                "version); the trials restarted from their first task"
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
def _open_local_executor() -> Iterator[Executor]:
    from ngm_tune.execution.local_executor import LocalExecutor

    yield LocalExecutor()


@contextmanager
def _open_ray_executor(
    study: Study, address: str, notice: Callable[[str], None], *, verbose: bool
) -> Iterator[Executor]:
    """Join or start Ray, and check that a trial fits on one of its nodes."""
    from ngm_tune.execution.ray_session import explain_missing_resources, ray_session

    imports = _import_in_background(*_SLOW_IMPORTS)
    with ray_session(address, verbose=verbose):
        imports.join()
        from ngm_tune.execution.ray_executor import RayExecutor

        problem = explain_missing_resources(study.resources.cpu, study.resources.gpu)
        if problem is not None and address == "local":
            raise UserError(problem)
        if problem is not None:  # nodes may join the cluster later
            notice(f"{problem}. The study waits for a node that has them.")
        yield RayExecutor(verbose=verbose)


def _import_in_background(*modules: str) -> Thread:
    """Import modules in a thread, while the caller waits for the processes of Ray.

    The thread handles no signals. An import that fails is repeated where the module is needed, and
    raises there.
    """

    def import_all() -> None:
        for module in modules:
            with suppress(Exception):
                import_module(module)

    thread = Thread(target=import_all, name="imports")
    with deferred(signal.SIGINT, *SENT_BY_SCHEDULERS):  # the thread inherits the mask
        thread.start()
    return thread
