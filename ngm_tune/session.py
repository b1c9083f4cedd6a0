"""Ray for the time of a run."""

from __future__ import annotations

import logging
import os
import signal
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from ngm_tune.errors import UserError

_RAY_SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # Parquet instead of JSON, CSV and TensorBoard
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",  # of Tune's state, which nobody reads
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}
_CONNECT_SECONDS = 10.0

CLIENT = "ray://"
"""Of addresses that are reached through Ray Client, from outside of the cluster."""


@contextmanager
def ray_session(address: str | None = None, *, verbose: bool = False) -> Iterator[None]:
    """Ray for the time of a run, quiet unless asked otherwise.

    Args:
        address: ``auto``, ``HOST:PORT`` or ``ray://HOST:PORT`` of a cluster; by default the one
            that ``RAY_ADDRESS`` names, and else this machine.
        verbose: Show what Ray says.

    Raises:
        UserError: There is no cluster at that address.
    """
    for name, value in _RAY_SETTINGS.items():
        os.environ.setdefault(name, value)
    started_here = not ray.is_initialized()
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    silenced = address.startswith(CLIENT) and not verbose
    if silenced:  # Ray Client has loggers of its own, and sets their levels when it connects
        logging.disable()
    if started_here:
        _connect(address, verbose)
    try:
        with warnings.catch_warnings():
            if not verbose:
                warnings.simplefilter("ignore")
            yield
    finally:
        if started_here:
            ray.shutdown()
        if silenced:
            logging.disable(logging.NOTSET)


def _connect(address: str, verbose: bool) -> None:
    here = address == "local"
    where = f"the Ray cluster at {address}"
    if not here and address != "auto":
        _require_listener(address, where)
    try:
        if address.startswith(CLIENT):
            ray.init(address, log_to_driver=verbose)
            return
        with _out_of_reach():
            ray.init(
                address,
                log_to_driver=verbose,
                logging_level=logging.INFO if verbose else logging.CRITICAL,
                **({"include_dashboard": False} if here else {}),
            )
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        if here:
            raise
        reason = str(error).partition("\n")[0]
        raise UserError(f"{where} cannot be joined: {reason}") from error


@contextmanager
def _out_of_reach() -> Iterator[None]:
    """Let what is started here ignore the signals that end a study.

    A signal to a whole group of processes, as `timeout` and systemd send it, would else take Ray
    away from under the study before it could stop. Ray ends its processes without these.
    """
    former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def _require_listener(address: str, where: str) -> None:
    """Raise soon if nobody listens there; Ray itself would try for minutes."""
    host, colon, port = address.removeprefix(CLIENT).rpartition(":")
    if not colon or not port.isdecimal():
        raise UserError(
            f"--address {address}: must be auto, HOST:PORT or ray://HOST:PORT of a Ray cluster"
        )
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, OverflowError, ValueError) as error:
        raise UserError(f"{where} cannot be reached: {error}") from error
