"""Waiting for a condition that another process or thread fulfils."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_for(condition: Callable[[], object], *, seconds: float = 120.0) -> None:
    """Wait until a condition is true; fail after a time limit."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"the condition was not fulfilled within {seconds} s"
        time.sleep(0.02)
