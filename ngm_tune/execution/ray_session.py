"""Ray for the time of a run."""

from __future__ import annotations

import logging
import os
import socket
import warnings
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import psutil
import ray
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_fixed

from ngm_tune.errors import UserError
from ngm_tune.execution.signals import SENT_BY_SCHEDULERS, held

_RAY_SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # Parquet instead of JSON, CSV and TensorBoard
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",  # of Tune's state, which nobody reads
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}
_CONNECT_SECONDS = 10.0
_CLIENT_ATTEMPTS = 3
_START_ATTEMPTS = 2
_LIFELINES = ("raylet", "gcs_server")
"""Processes of Ray that a driver talks to until it has left."""

CLIENT = "ray://"
"""Of addresses that are reached through Ray Client, from outside of the cluster."""


@contextmanager
def ray_session(address: str, *, verbose: bool = False) -> Iterator[None]:
    """Ray for the time of a run, quiet unless asked otherwise.

    Args:
        address: ``auto``, ``HOST:PORT`` or ``ray://HOST:PORT`` of a cluster, or ``local``, which
            starts one on this machine.
        verbose: Show what Ray says.

    Raises:
        UserError: There is no cluster at that address, or none can be started.
    """
    for name, value in _RAY_SETTINGS.items():
        os.environ.setdefault(name, value)
    with ExitStack() as stack:
        if address.startswith(CLIENT) and not verbose:
            # Ray Client has loggers of its own, and sets their levels when it connects.
            logging.disable()
            stack.callback(logging.disable, logging.NOTSET)
        if not ray.is_initialized():
            stack.callback(ray.shutdown)
            started = _connect(address, verbose)
            # Of what was started, the rest is ended before: Ray asks each process to end by a
            # signal that is kept from it (see `_start`), and waits a second for that.
            stack.callback(_kill, [p for p in started if _name(p) not in _LIFELINES])
        stack.enter_context(warnings.catch_warnings())
        if not verbose:
            warnings.simplefilter("ignore")
        yield


def problem_of_room(cpu: int, gpu: float) -> str | None:
    """Why no node of the Ray that was joined can run such a trial; None if one can."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if any(node.get("CPU", 0) >= cpu and node.get("GPU", 0) >= gpu for node in nodes):
        return None
    sizes = dict.fromkeys(f"{n.get('CPU', 0):g} CPUs, {n.get('GPU', 0):g} GPUs" for n in nodes)
    return (
        f"resources = {{cpu = {cpu}, gpu = {gpu:g}}}: a trial needs that on one node, and what "
        f"nodes have is {' or '.join(sizes) or 'nothing'}"
    )


def _connect(address: str, verbose: bool) -> set[psutil.Process]:
    """Join a cluster, or start one; the processes that were started for it."""
    here = address == "local"
    require_listener(address)
    try:
        if address.startswith(CLIENT):
            _connect_client(address, verbose)
        elif here:
            return _start(verbose)
        else:
            _init(address, verbose)
        return set()
    except SystemExit as stop:  # what Ray makes of SIGTERM
        raise KeyboardInterrupt from stop
    except Exception as error:  # which is what Ray itself raises where a node takes too long
        if here and verbose:
            raise
        failed = (
            "Ray cannot be started on this machine"
            if here
            else f"the Ray cluster at {address} cannot be joined"
        )
        raise UserError(f"{failed}: {_reason(str(error) or type(error).__name__)}") from error


def _init(address: str, verbose: bool, **settings: bool) -> None:
    # What Ray starts inherits this: none of its threads takes a signal that is for the study.
    with held(*SENT_BY_SCHEDULERS):
        ray.init(
            address,
            log_to_driver=verbose,
            logging_level=logging.INFO if verbose else logging.CRITICAL,
            **settings,
        )


def _took_too_long(error: BaseException) -> bool:
    """Whether Ray has given its node up, for which it waits half a minute."""
    return "timed out during startup" in str(error)


@retry(
    retry=retry_if_exception(_took_too_long),
    stop=stop_after_attempt(_START_ATTEMPTS),
    reraise=True,
)
def _start(verbose: bool) -> set[psutil.Process]:
    """Start a cluster on this machine, once more if that takes too long; its processes.

    They inherit that SIGTERM and SIGUSR1 are kept from them. Sent to a whole group of processes, as
    ``timeout`` and systemd do it, these would else take Ray away from under a study before it could
    stop.
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


def _name(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return process.name()
    return ""


def _kill(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.kill()


def _was_refused(error: BaseException) -> bool:
    """Whether the head did not start a server, as it says or, when that is too late, hangs up."""
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
    """Join a cluster from outside; its head now and then fails to start the server for a client."""
    ray.init(address, log_to_driver=verbose)


def _reason(message: str) -> str:
    """What a message of Ray comes down to: the last line of a traceback, or else its first line."""
    lines = [line.strip() for line in message.splitlines() if line.strip()] or ["no reason given"]
    return lines[-1] if any(line.startswith("Traceback") for line in lines) else lines[0]


def require_listener(address: str) -> None:
    """Raise soon if nobody listens there; Ray itself would try for minutes.

    Args:
        address: As for :func:`ray_session`.

    Raises:
        UserError: It is no address, or nobody listens.
    """
    if address in ("local", "auto"):
        return
    host, colon, port = address.removeprefix(CLIENT).rpartition(":")
    if not colon or not port.isdecimal():
        raise UserError(
            f"--address {address}: must be auto, HOST:PORT or ray://HOST:PORT of a Ray cluster"
        )
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, OverflowError, ValueError) as error:
        raise UserError(f"the Ray cluster at {address} cannot be reached: {error}") from error
