"""One driver at a time for a results directory.

The driver that runs a study has its name in the directory's ``driver.json`` and renews the file
while it lives. One that died left the file behind, and the next one takes its place: at once on the
same machine, where processes can be looked up, and elsewhere after a while without a renewal.
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
_WITHOUT_RENEWAL = 2.5
"""Renewals that a driver on another machine must miss to be taken for dead."""
_LOOK_SECONDS = 0.5
_BORN_TOLERANCE = 1.0


class Holder(BaseModel):
    """Who runs a study.

    Attributes:
        token: Of this one run.
        host: Its machine.
        pid: Its process.
        born: When that process started, in seconds since the epoch: a process number alone may be
            another's by now.
        since: When the study was started or went on.
        command: As it was typed.
        namespace: The machine's boot and the PID namespace that its process number is of.
        renewals: How often the lease was renewed.
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
    def this_process(cls) -> Holder:
        """This process, for a new run."""
        return cls(
            token=uuid4().hex,
            host=socket.gethostname(),
            pid=os.getpid(),
            born=psutil.Process().create_time(),
            since=datetime.now(UTC).isoformat(timespec="seconds"),
            command=typed_command(),
            namespace=_namespace(),
        )

    @classmethod
    def parse(cls, content: bytes) -> Holder | None:
        """The holder that a lease names; None if it names none, as when it is being written."""
        try:
            return cls.model_validate(json.loads(content))
        except (ValueError, RecursionError):
            return None

    def content(self) -> bytes:
        """The lease that names it."""
        return (json.dumps(self.model_dump(), indent=2) + "\n").encode()

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since} ({self.command})"


def holder_of(results: Results) -> Holder | None:
    """The living driver of a results directory; None if there is none.

    Takes a while only where a driver on another machine holds it and may be dead.
    """
    content = results.read_bytes(LOCK)
    if content is None:
        return None
    holder = Holder.parse(content)
    place = (socket.gethostname(), _namespace())
    if holder is not None and (holder.host, holder.namespace) == place:
        alive = _is_alive(holder)
        if alive is not None:
            return holder if alive else None
    deadline = time.monotonic() + _WITHOUT_RENEWAL * RENEWAL_SECONDS
    while time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
        now = results.read_bytes(LOCK)
        if now is None:
            return None
        if now != content:
            return Holder.parse(now) or holder
    return None


def _is_alive(holder: Holder) -> bool | None:
    """Whether a process of this machine lives; None if that cannot be told by its number."""
    try:
        process = psutil.Process(holder.pid)
        if process.status() == psutil.STATUS_ZOMBIE:  # killed, and nobody has asked how it ended
            return False
        born = process.create_time()
    except (psutil.Error, OverflowError):
        return False
    # Another process may have the number by now; or the clock was set since, which moves its birth.
    return True if abs(born - holder.born) < _BORN_TOLERANCE else None


def _namespace() -> str:
    """Of process numbers: containers on one machine have one each.

    Machines are told apart by when they started: several may have the same name.
    """
    with suppress(OSError):
        start = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{os.readlink('/proc/self/ns/pid')} {start}"
    return ""


@contextmanager
def study_lock(results: Results, lost: Callable[[str], None]) -> Iterator[None]:
    """Be the only driver of a results directory for as long as the context lasts.

    Args:
        results: The directory.
        lost: Told, in another thread, if somebody else took the directory over.

    Raises:
        UserError: Another driver holds it.
    """
    mine = Holder.this_process()
    while not results.claim(LOCK, mine.content()):
        before = results.read_bytes(LOCK)
        other = holder_of(results)
        if other is not None:
            raise UserError(
                f"{results.location}: this study is being run already, by {other}; stop that first "
                "or wait for its end"
            )
        _clear(results, before)
    over = threading.Event()
    renewing = threading.Thread(target=_renew, args=(results, mine, over, lost), daemon=True)
    renewing.start()
    try:
        yield
    finally:
        over.set()
        renewing.join()
        with suppress(OSError):  # it is stale at once, as this process ends
            if _token(results) == mine.token:
                results.remove(LOCK)


def _clear(results: Results, stale: bytes | None) -> None:
    """Take a stale lease away, and only that one: another driver may have been quicker."""
    if stale is None or results.read_bytes(LOCK) != stale:
        return
    aside = f".{LOCK}.{uuid4().hex}"
    with suppress(FileNotFoundError):
        results.rename(LOCK, aside)
        if results.read_bytes(aside) != stale and not results.has(LOCK):
            results.rename(aside, LOCK)
        else:
            results.remove(aside)


def _renew(
    results: Results, mine: Holder, over: threading.Event, lost: Callable[[str], None]
) -> None:
    renewals = 0
    while not over.wait(RENEWAL_SECONDS):
        renewals += 1
        with suppress(OSError):  # what stops others from reading it, too; there is a next time
            token = _token(results)
            if token not in (None, mine.token):
                lost(f"{results.location} was taken over by another run of this study")
                return
            renewed = mine.model_copy(update={"renewals": renewals})
            results.write_bytes(LOCK, renewed.content())


def _token(results: Results) -> str | None:
    content = results.read_bytes(LOCK)
    holder = None if content is None else Holder.parse(content)
    return None if holder is None else holder.token
