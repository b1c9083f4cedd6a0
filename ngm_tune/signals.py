"""The signals that end a study."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType


@contextmanager
def graceful_signals() -> Iterator[None]:
    """Treat SIGTERM and SIGUSR1, which schedulers send, as Ctrl-C: Tune stops gracefully on it."""
    with ExitStack() as stack:
        for number in (signal.SIGTERM, signal.SIGUSR1):
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


def interrupt() -> None:
    """Stop this process as SIGTERM does within :func:`graceful_signals`, from any thread."""
    os.kill(os.getpid(), signal.SIGTERM)
