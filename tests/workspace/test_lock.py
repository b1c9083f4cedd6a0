"""One driver at a time for a results directory."""

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
from ngm_tune.workspace import lock as leases
from ngm_tune.workspace.lock import Holder, holder_of, study_lock
from tests.helpers.waiting import wait_for


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(str(tmp_path))


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "RENEWAL_SECONDS", 0.2)
    monkeypatch.setattr(leases, "_LOOK_SECONDS", 0.02)


def written(**changes: object) -> bytes:
    """The study_lock of this process, with changes."""
    return json.dumps({**Holder.this_process().model_dump(), **changes}).encode()


NO_LEASES = [b"", b"{", b"[]", b'{"pid": 1}', b"\xff\x00", b"[" * 9999]
NO_LEASES += [written(pid="x"), written(pid=-1), written(born=10**400), written(more=1)]


def ignore(reason: str) -> None:
    pass


def leave(results: Results, **changes: object) -> None:
    """What another driver left in the directory."""
    results.write_bytes(LOCK, written(token="x", **changes))


def test_a_second_driver_is_refused_and_told_who_holds_the_directory(results: Results) -> None:
    with study_lock(results, ignore):
        with pytest.raises(UserError) as refused, study_lock(results, ignore):
            pass
        assert f"run already, by process {os.getpid()} on " in str(refused.value)
    with study_lock(results, ignore):  # which the first one has left by now
        assert results.has(LOCK)
    assert not results.has(LOCK)


def test_a_driver_that_was_killed_and_not_waited_for_is_dead(results: Results) -> None:
    """As in a container whose first process reaps nobody."""
    driver = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = psutil.Process(driver.pid)
    leave(results, pid=driver.pid, born=process.create_time())
    assert holder_of(results) is not None
    driver.kill()
    wait_for(lambda: process.status() == psutil.STATUS_ZOMBIE)
    assert holder_of(results) is None
    driver.communicate()


def test_a_driver_that_died_is_replaced_at_once(results: Results) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    leave(results, pid=dead.pid)
    started = time.monotonic()
    with study_lock(results, ignore):
        assert time.monotonic() - started < leases.RENEWAL_SECONDS / 2
        assert holder_of(results) is not None


@pytest.mark.usefixtures("hurried")
def test_a_process_that_has_the_number_of_a_dead_driver_is_not_it(results: Results) -> None:
    leave(results, born=Holder.this_process().born - 3600.0)
    assert holder_of(results) is None
    with study_lock(results, ignore):
        pass


@pytest.mark.usefixtures("hurried")
def test_a_driver_elsewhere_that_does_not_renew_is_taken_for_dead(results: Results) -> None:
    leave(results, host="elsewhere")
    with study_lock(results, ignore):
        pass


ELSEWHERE = "socket.gethostname = lambda: 'elsewhere'"
SET_CLOCK = "lock.psutil.Process.create_time = lambda self: 1.0"


@pytest.mark.parametrize(("other", "host"), [(ELSEWHERE, "elsewhere"), (SET_CLOCK, r"\S+")])
@pytest.mark.usefixtures("hurried")
def test_a_driver_that_renews_holds_the_directory(tmp_path: Path, other: str, host: str) -> None:
    """Also where its process cannot be told by its birth, as the clock was set since."""
    code = (
        "import socket, time\n"
        "from ngm_tune.workspace import lock\n"
        f"{other}\n"
        "from ngm_tune.results.directory import Results\n"
        "lock.RENEWAL_SECONDS = 0.2\n"
        f"with lock.study_lock(Results({str(tmp_path)!r}), print):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    driver = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "held\n"
        results = Results(str(tmp_path))
        with pytest.raises(UserError, match=f"on {host}, since"), study_lock(results, ignore):
            pass
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        with study_lock(results, ignore):  # nobody renews it any longer
            pass
    finally:
        driver.kill()


@pytest.mark.usefixtures("hurried")
def test_a_driver_whose_directory_was_taken_over_is_told(results: Results) -> None:
    told: list[str] = []
    with study_lock(results, told.append):
        leave(results, host="elsewhere")
        deadline = time.monotonic() + 10
        while not told and time.monotonic() < deadline:
            time.sleep(0.02)
    assert "was taken over by another run of this study" in told[0]
    assert results.has(LOCK)  # that of the other one


@pytest.mark.usefixtures("hurried")
def test_a_lease_is_renewed(results: Results) -> None:
    with study_lock(results, ignore):
        first = json.loads(results.read_bytes(LOCK) or b"")
        deadline = time.monotonic() + 10
        while (now := json.loads(results.read_bytes(LOCK) or b"")) == first:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert now["renewals"] > 0
        assert {**now, "renewals": 0} == Holder(**first).model_dump()


@pytest.mark.parametrize("content", NO_LEASES)
@pytest.mark.usefixtures("hurried")
def test_what_is_no_lease_holds_nobody_up(results: Results, content: bytes) -> None:
    results.write_bytes(LOCK, content)
    with study_lock(results, ignore):
        pass


def test_a_stale_lease_is_cleared_and_not_the_one_that_took_its_place(results: Results) -> None:
    leave(results, pid=1)
    fresh = results.read_bytes(LOCK)
    leases._clear(results, b"what was judged dead before another driver was quicker")
    assert results.read_bytes(LOCK) == fresh
    leases._clear(results, fresh)
    assert results.files() == []


@pytest.mark.usefixtures("hurried")
def test_a_directory_that_is_gone_is_not_made_again(tmp_path: Path) -> None:
    """As with a volume that is unmounted: what is written would lie beneath it."""
    location = tmp_path / "study"
    results = Results(str(location))
    results.create()
    with study_lock(results, ignore):
        shutil.rmtree(location)
        time.sleep(1.0)  # several renewals
        assert not location.exists()
