"""The lock admits one driver at a time to a results directory."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from ngm_tune.errors import UserError
from ngm_tune.results.directory import LOCK, Results
from ngm_tune.workspace import lock
from ngm_tune.workspace.lock import LockHolder, find_lock_holder, study_lock
from tests.helpers.waiting import wait_for


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(str(tmp_path))


@pytest.fixture
def short_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Renew and poll locks often, so that tests need not wait."""
    monkeypatch.setattr(lock, "RENEWAL_SECONDS", 0.2)
    monkeypatch.setattr(lock, "_POLL_SECONDS", 0.02)


def lock_content(**changes: object) -> bytes:
    """Return the content of a lock file of this process, with some entries replaced."""
    return json.dumps({**LockHolder.for_this_process().model_dump(), **changes}).encode()


INVALID_LOCKS = [b"", b"{", b"[]", b'{"pid": 1}', b"\xff\x00", b"[" * 9999]
INVALID_LOCKS += [
    lock_content(pid="x"),
    lock_content(pid=-1),
    lock_content(born=10**400),
    lock_content(more=1),
]


def ignore(reason: str) -> None:
    pass


def write_lock(results: Results, **changes: object) -> None:
    """Write the lock file of another driver."""
    results.write_bytes(LOCK, lock_content(token="x", **changes))


def test_a_second_driver_is_refused_with_the_holder_of_the_lock(results: Results) -> None:
    with study_lock(results, ignore):
        with pytest.raises(UserError) as refused, study_lock(results, ignore):
            pass
        assert f"already being run by process {os.getpid()} on " in str(refused.value)
    with study_lock(results, ignore):  # the first driver has released it
        assert results.has(LOCK)
    assert not results.has(LOCK)


def test_a_lock_that_could_not_be_released_does_not_block_the_same_process(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk may have become read-only or been unmounted before the study ended."""

    def fail(self: Results, name: str) -> None:
        raise OSError("Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(Results, "remove", fail)
        with study_lock(results, ignore):
            pass
    assert results.has(LOCK)
    with study_lock(results, ignore):
        assert find_lock_holder(results) is not None
    assert not results.has(LOCK)


def test_a_killed_driver_that_is_not_reaped_counts_as_dead(results: Results) -> None:
    """In a container, the first process may not reap its children."""
    driver = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = psutil.Process(driver.pid)
    write_lock(results, pid=driver.pid, born=process.create_time())
    assert find_lock_holder(results) is not None
    driver.kill()
    wait_for(lambda: process.status() == psutil.STATUS_ZOMBIE)
    assert find_lock_holder(results) is None
    driver.communicate()


def test_the_lock_of_a_dead_driver_on_this_machine_is_replaced_at_once(results: Results) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    write_lock(results, pid=dead.pid)
    started = time.monotonic()
    with study_lock(results, ignore):
        assert time.monotonic() - started < lock.RENEWAL_SECONDS / 2
        assert find_lock_holder(results) is not None


@pytest.mark.usefixtures("short_intervals")
def test_a_process_that_reuses_the_id_of_a_dead_driver_does_not_hold_its_lock(
    results: Results,
) -> None:
    write_lock(results, born=LockHolder.for_this_process().born - 3600.0)
    assert find_lock_holder(results) is None
    with study_lock(results, ignore):
        pass


@pytest.mark.usefixtures("short_intervals")
def test_a_remote_driver_that_stops_renewing_its_lock_counts_as_dead(results: Results) -> None:
    write_lock(results, host="elsewhere")
    with study_lock(results, ignore):
        pass


REMOTE_HOST = "socket.gethostname = lambda: 'elsewhere'"
CLOCK_WAS_SET = "lock.psutil.Process.create_time = lambda self: 1.0"


@pytest.mark.parametrize(("patch", "host"), [(REMOTE_HOST, "elsewhere"), (CLOCK_WAS_SET, r"\S+")])
@pytest.mark.usefixtures("short_intervals")
def test_a_driver_that_renews_its_lock_keeps_it(tmp_path: Path, patch: str, host: str) -> None:
    """This includes a driver whose start time differs because the clock was set."""
    code = (
        "import socket, time\n"
        "from ngm_tune.workspace import lock\n"
        f"{patch}\n"
        "from ngm_tune.results.directory import Results\n"
        "lock.RENEWAL_SECONDS = 0.2\n"
        f"with lock.study_lock(Results({str(tmp_path)!r}), print):\n"
        "    print('locked', flush=True)\n"
        "    time.sleep(60)\n"
    )
    driver = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "locked\n"
        results = Results(str(tmp_path))
        with pytest.raises(UserError, match=f"on {host}, since"), study_lock(results, ignore):
            pass
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        with study_lock(results, ignore):  # no longer renewed
            pass
    finally:
        driver.kill()


@pytest.mark.usefixtures("short_intervals")
def test_a_driver_is_notified_when_another_one_takes_its_lock_over(results: Results) -> None:
    reasons: list[str] = []
    with study_lock(results, reasons.append):
        write_lock(results, host="elsewhere")
        deadline = time.monotonic() + 10
        while not reasons and time.monotonic() < deadline:
            time.sleep(0.02)
    assert "was taken over by another driver of this study" in reasons[0]
    assert results.has(LOCK)  # the lock of the other driver


@pytest.mark.usefixtures("short_intervals")
def test_a_lock_is_renewed(results: Results) -> None:
    with study_lock(results, ignore):
        first = json.loads(results.read_bytes(LOCK) or b"")
        deadline = time.monotonic() + 10
        while (renewed := json.loads(results.read_bytes(LOCK) or b"")) == first:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert renewed["renewals"] > 0
        assert {**renewed, "renewals": 0} == LockHolder(**first).model_dump()


@pytest.mark.parametrize("content", INVALID_LOCKS)
@pytest.mark.usefixtures("short_intervals")
def test_an_invalid_lock_file_does_not_block_a_driver(results: Results, content: bytes) -> None:
    results.write_bytes(LOCK, content)
    with study_lock(results, ignore):
        pass


def test_removing_a_stale_lock_keeps_a_newer_lock(results: Results) -> None:
    write_lock(results, pid=1)
    fresh = results.read_bytes(LOCK)
    lock._remove_stale_lock(results, b"a stale lock that another driver already replaced")
    assert results.read_bytes(LOCK) == fresh
    lock._remove_stale_lock(results, fresh)
    assert results.list_files() == []


@pytest.mark.usefixtures("short_intervals")
def test_renewing_a_lock_does_not_recreate_a_removed_directory(tmp_path: Path) -> None:
    """If a volume is unmounted, a new directory would hide beneath its mount point."""
    location = tmp_path / "study"
    results = Results(str(location))
    results.create()
    with study_lock(results, ignore):
        shutil.rmtree(location)
        time.sleep(1.0)  # several renewals
        assert not location.exists()
