"""The signals that end a study."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType

SENT_BY_SCHEDULERS = (signal.SIGTERM, signal.SIGUSR1)
"""Signals with which schedulers such as Slurm stop a job."""


@contextmanager
def graceful_signals() -> Iterator[None]:
    """Handle SIGTERM and SIGUSR1 like SIGINT, on which Tune stops gracefully."""
    with ExitStack() as stack:
        for number in SENT_BY_SCHEDULERS:
            try:
                former = signal.signal(number, _handle_as_sigint)
            except ValueError:  # only the main thread can set handlers
                break
            stack.callback(signal.signal, number, former)
        yield


def _handle_as_sigint(number: int, frame: FrameType | None) -> None:
    """Call the handler of SIGINT; raise KeyboardInterrupt if SIGINT is ignored.

    Background jobs of a shell script ignore SIGINT.
    """
    handler = signal.getsignal(signal.SIGINT)
    if callable(handler):
        handler(signal.SIGINT, frame)
    else:
        raise KeyboardInterrupt


@contextmanager
def deferred(*numbers: signal.Signals) -> Iterator[None]:
    """Block signals within the context, and restore their handlers afterwards.

    Signals that arrive within the context are handled when it ends. Handlers that are set within it
    are replaced. Processes and threads that start within it inherit the blocked signals. Other
    threads that already run can still receive a signal sent to the process.
    """
    handlers = {number: signal.getsignal(number) for number in numbers}
    former_mask = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        with suppress(ValueError):  # only the main thread can set handlers
            for number, handler in handlers.items():
                if handler is not None:  # None if it was not set by Python
                    signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, former_mask)


def interrupt() -> None:
    """Send SIGTERM to this process, from any thread; :func:`graceful_signals` handles it."""
    os.kill(os.getpid(), signal.SIGTERM)
