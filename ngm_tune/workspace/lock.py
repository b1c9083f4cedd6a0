"""The lock of a results directory, which admits one driver at a time.

The driver that runs a study writes ``driver.json`` and renews this file until the study ends. A
driver that dies leaves its lock behind, and the next driver replaces it. On the machine of the dead
driver this happens at once, because its process can be looked up. On another machine it happens
after several missed renewals.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import psutil
from pydantic import BaseModel, ConfigDict, PositiveInt

from ngm_tune.command import typed_command
from ngm_tune.errors import UserError
from ngm_tune.results.directory import LOCK, Results

RENEWAL_SECONDS = 10.0
"""Interval at which a driver renews its lock."""
_MISSED_RENEWALS = 2.5
"""Number of missed renewals after which a driver on another machine is considered dead."""
_POLL_SECONDS = 0.5
_START_TOLERANCE_SECONDS = 1.0
_held_tokens: set[str] = set()
"""Tokens of the locks that this process holds."""


class LockHolder(BaseModel):
    """The driver that holds a lock; its fields are the keys of ``driver.json``.

    Attributes:
        token: Unique identifier of this acquisition of the lock.
        host: Host name of the driver's machine.
        pid: Process id of the driver.
        born: Start time of the process, in seconds since the epoch. It distinguishes the driver
            from a later process with the same id.
        since: Time at which the driver acquired the lock, in ISO 8601.
        command: The command that started the driver, as typed.
        namespace: PID namespace of the process id, and boot id of the machine.
        renewals: Number of renewals of the lock.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    token: str
    host: str
    pid: PositiveInt
    born: float
    since: str
    command: str
    namespace: str
    renewals: int = 0

    @classmethod
    def for_this_process(cls) -> LockHolder:
        """Return a holder with a new token that describes this process."""
        return cls(
            token=uuid4().hex,
            host=socket.gethostname(),
            pid=os.getpid(),
            born=psutil.Process().create_time(),
            since=datetime.now(UTC).isoformat(timespec="seconds"),
            command=typed_command(),
            namespace=_process_namespace(),
        )

    @classmethod
    def parse(cls, content: bytes) -> LockHolder | None:
        """Read the content of a lock file; None if it is not valid, as during a write."""
        try:
            return cls.model_validate(json.loads(content))
        except (ValueError, RecursionError):
            return None

    def content(self) -> bytes:
        """Return the content of the lock file."""
        return (json.dumps(self.model_dump(), indent=2) + "\n").encode()

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since} ({self.command})"


def find_lock_holder(results: Results) -> LockHolder | None:
    """Return the live driver that holds the lock of a results directory; None without one.

    The call blocks for several renewal intervals if it must wait for a renewal of the lock, for
    example by a driver on another machine.
    """
    content = results.read_bytes(LOCK)
    if content is None:
        return None
    holder = LockHolder.parse(content)
    this_machine = (socket.gethostname(), _process_namespace())
    if holder is not None and (holder.host, holder.namespace) == this_machine:
        is_alive = _is_alive(holder)
        if is_alive is not None:
            return holder if is_alive else None
    deadline = time.monotonic() + _MISSED_RENEWALS * RENEWAL_SECONDS
    while time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        latest = results.read_bytes(LOCK)
        if latest is None:
            return None
        if latest != content:
            return LockHolder.parse(latest) or holder
    return None


def _is_alive(holder: LockHolder) -> bool | None:
    """Return whether a driver on this machine is alive; None if its process id does not show it.

    A lock file of this process that is not in ``_held_tokens`` is from an earlier study, which
    could not remove it because the results directory was not writable.
    """
    if holder.pid == os.getpid() and holder.token not in _held_tokens:
        return False
    try:
        process = psutil.Process(holder.pid)
        if process.status() == psutil.STATUS_ZOMBIE:  # killed, but not reaped by its parent
            return False
        born = process.create_time()
    except (psutil.Error, OverflowError):
        return False
    # A different start time has two explanations: another process reuses the id, or the clock was
    # set since, which shifts the start time of every process.
    return True if abs(born - holder.born) < _START_TOLERANCE_SECONDS else None


def _process_namespace() -> str:
    """Return the PID namespace of this process and the boot id; empty outside of Linux.

    Each container of a machine has its own PID namespace. The boot id distinguishes machines that
    share a host name.
    """
    with suppress(OSError):
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{os.readlink('/proc/self/ns/pid')} {boot_id}"
    return ""


@contextmanager
def study_lock(results: Results, on_lost: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of a results directory while the context lasts.

    Args:
        results: The results directory.
        on_lost: Called with the reason, in another thread, if another driver takes the lock over.

    Raises:
        UserError: Another driver holds the lock.
    """
    holder = LockHolder.for_this_process()
    while not results.claim(LOCK, holder.content()):
        content = results.read_bytes(LOCK)
        other = find_lock_holder(results)
        if other is not None:
            raise UserError(
                f"{results.location}: this study is already being run by {other}; stop that "
                "process or wait until it ends"
            )
        _remove_stale_lock(results, content)
    _held_tokens.add(holder.token)
    released = threading.Event()
    renewal = threading.Thread(
        target=_renew_lock, args=(results, holder, released, on_lost), daemon=True
    )
    renewal.start()
    try:
        yield
    finally:
        released.set()
        renewal.join()
        _held_tokens.discard(holder.token)
        with suppress(OSError):  # a lock that remains is stale
            if _read_token(results) == holder.token:
                results.remove(LOCK)


def _remove_stale_lock(results: Results, stale: bytes | None) -> None:
    """Remove the lock file if its content is still ``stale``.

    Another driver may replace the stale lock first; its new lock must remain.
    """
    if stale is None or results.read_bytes(LOCK) != stale:
        return
    temporary = f".{LOCK}.{uuid4().hex}"
    with suppress(FileNotFoundError):
        results.rename(LOCK, temporary)
        if results.read_bytes(temporary) != stale and not results.has(LOCK):
            results.rename(temporary, LOCK)
        else:
            results.remove(temporary)


def _renew_lock(
    results: Results,
    holder: LockHolder,
    released: threading.Event,
    on_lost: Callable[[str], None],
) -> None:
    """Renew the lock at regular intervals until it is released or lost."""
    renewals = 0
    while not released.wait(RENEWAL_SECONDS):
        renewals += 1
        with suppress(OSError):  # other drivers cannot read the lock either; retry at the next time
            token = _read_token(results)
            if token not in (None, holder.token):
                on_lost(f"{results.location} was taken over by another driver of this study")
                return
            renewed = holder.model_copy(update={"renewals": renewals})
            results.write_bytes(LOCK, renewed.content())


def _read_token(results: Results) -> str | None:
    """Return the token of the lock file; None without a valid lock."""
    content = results.read_bytes(LOCK)
    holder = None if content is None else LockHolder.parse(content)
    return None if holder is None else holder.token
