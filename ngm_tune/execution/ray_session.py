"""Start or join a Ray cluster for a study, and leave it afterwards."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import psutil
import ray
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_fixed

from ngm_tune.errors import UserError
from ngm_tune.execution.ray_address import CLIENT, require_listener
from ngm_tune.execution.signals import SENT_BY_SCHEDULERS, deferred

_RAY_SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # Parquet instead of JSON, CSV and TensorBoard
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",  # Tune's state is not needed
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}
_CLIENT_ATTEMPTS = 3
_START_ATTEMPTS = 2
_NEEDED_FOR_SHUTDOWN = ("raylet", "gcs_server")
"""Processes of Ray that a driver communicates with until it has left the cluster."""


@contextmanager
def ray_session(address: str, *, verbose: bool = False) -> Iterator[None]:
    """Start or join a Ray cluster within the context.

    Args:
        address: ``auto``, ``HOST:PORT`` or ``ray://HOST:PORT`` of a cluster, or ``local``, which
            starts one on this machine.
        verbose: Show the output of Ray.

    Raises:
        UserError: The cluster cannot be joined or started.
    """
    for name, value in _RAY_SETTINGS.items():
        os.environ.setdefault(name, value)
    with ExitStack() as stack:
        if address.startswith(CLIENT) and not verbose:
            # Ray Client sets the levels of its loggers when it connects, so disable all of them.
            logging.disable()
            stack.callback(logging.disable, logging.NOTSET)
        if not ray.is_initialized():
            stack.callback(ray.shutdown)
            started = _connect(address, verbose)
            # Kill the other processes first: ray.shutdown would wait a second for each of them,
            # because it sends a signal that they block (see `_start`).
            stack.callback(
                _kill, [p for p in started if _process_name(p) not in _NEEDED_FOR_SHUTDOWN]
            )
        stack.enter_context(warnings.catch_warnings())
        if not verbose:
            warnings.simplefilter("ignore")
        yield


def explain_missing_resources(cpu: int, gpu: float) -> str | None:
    """Return why no node of the cluster can run a trial; None if a node can.

    Args:
        cpu: Number of CPUs of a trial.
        gpu: Number of GPUs of a trial, or the fraction of one.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if any(node.get("CPU", 0) >= cpu and node.get("GPU", 0) >= gpu for node in nodes):
        return None
    sizes = dict.fromkeys(f"{n.get('CPU', 0):g} CPUs, {n.get('GPU', 0):g} GPUs" for n in nodes)
    return (
        f"resources = {{cpu = {cpu}, gpu = {gpu:g}}}: a trial needs these on one node; "
        f"the nodes have {' or '.join(sizes) or 'no resources'}"
    )


def _connect(address: str, verbose: bool) -> set[psutil.Process]:
    """Join a cluster or start one; return the processes that were started."""
    is_local = address == "local"
    require_listener(address)
    try:
        if address.startswith(CLIENT):
            _connect_client(address, verbose)
        elif is_local:
            return _start(verbose)
        else:
            _init(address, verbose)
        return set()
    except SystemExit as stop:  # Ray exits on SIGTERM
        raise KeyboardInterrupt from stop
    except Exception as error:  # Ray raises Exception itself if a node starts too slowly
        if is_local and verbose:
            raise
        failed = (
            "Ray cannot be started on this machine"
            if is_local
            else f"the Ray cluster at {address} cannot be joined"
        )
        raise UserError(
            f"{failed}: {_extract_reason(str(error) or type(error).__name__)}"
        ) from error


def _init(address: str, verbose: bool, **settings: bool) -> None:
    # Threads and processes of Ray inherit the mask, so the signals reach only the driver.
    with deferred(*SENT_BY_SCHEDULERS):
        ray.init(
            address,
            log_to_driver=verbose,
            logging_level=logging.INFO if verbose else logging.CRITICAL,
            **settings,
        )


def _is_startup_timeout(error: BaseException) -> bool:
    """Whether the node did not start within Ray's time limit of 30 seconds."""
    return "timed out during startup" in str(error)


@retry(
    retry=retry_if_exception(_is_startup_timeout),
    stop=stop_after_attempt(_START_ATTEMPTS),
    reraise=True,
)
def _start(verbose: bool) -> set[psutil.Process]:
    """Start a cluster on this machine and return its processes; retry once after a timeout.

    The processes block SIGTERM and SIGUSR1. ``timeout`` and systemd send these to the whole process
    group, which would end Ray before the study can stop.
    """
    others = _children()
    try:
        _init("local", verbose, include_dashboard=False)
    except BaseException:
        _kill(_children() - others)
        raise
    return _children() - others


def _children() -> set[psutil.Process]:
    return set(psutil.Process().children())


def _process_name(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return process.name()
    return ""


def _kill(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.kill()


def _was_refused(error: BaseException) -> bool:
    """Whether the head node started no server for this client; it reports this or disconnects."""
    return isinstance(error, ConnectionAbortedError) or (
        isinstance(error, ConnectionError) and "been disconnected" in str(error)
    )


@retry(
    retry=retry_if_exception(_was_refused),
    stop=stop_after_attempt(_CLIENT_ATTEMPTS),
    wait=wait_fixed(1.0),
    reraise=True,
)
def _connect_client(address: str, verbose: bool) -> None:
    """Join a cluster through Ray Client; retry, since its head node sometimes starts no server."""
    ray.init(address, log_to_driver=verbose)


def _extract_reason(message: str) -> str:
    """Return the last line of a Ray message with a traceback; otherwise the first line."""
    lines = [line.strip() for line in message.splitlines() if line.strip()] or ["no reason given"]
    return lines[-1] if any(line.startswith("Traceback") for line in lines) else lines[0]
