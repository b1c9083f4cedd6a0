"""The signals that end a study."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType

SENT_BY_SCHEDULERS = (signal.SIGTERM, signal.SIGUSR1)


@contextmanager
def graceful_signals() -> Iterator[None]:
    """Treat SIGTERM and SIGUSR1, which schedulers send, as Ctrl-C: Tune stops gracefully on it."""
    with ExitStack() as stack:
        for number in SENT_BY_SCHEDULERS:
            try:
                former = signal.signal(number, _as_ctrl_c)
            except ValueError:  # not the main thread, which alone receives signals
                break
            stack.callback(signal.signal, number, former)
        yield


def _as_ctrl_c(number: int, frame: FrameType | None) -> None:
    """Do what SIGINT does, also where it is ignored, as in what a script runs in the background."""
    handler = signal.getsignal(signal.SIGINT)
    if callable(handler):
        handler(signal.SIGINT, frame)
    else:
        raise KeyboardInterrupt


@contextmanager
def held(*numbers: signal.Signals) -> Iterator[None]:
    """Let signals wait, and be handled afterwards as they were before, whoever took them meanwhile.

    Processes and threads that are started meanwhile inherit it. Where other threads run already,
    one of them may take a signal that came for the process.
    """
    handlers = {number: signal.getsignal(number) for number in numbers}
    former = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        with suppress(ValueError):  # not the main thread, which alone receives signals
            for number, handler in handlers.items():
                if handler is not None:  # else it was not set by Python, and cannot be put back
                    signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def interrupt() -> None:
    """Stop this process as SIGTERM does within :func:`graceful_signals`, from any thread."""
    os.kill(os.getpid(), signal.SIGTERM)
