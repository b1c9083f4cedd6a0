"""What a study needs is full, read-only or gone: nothing is lost, and the study goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from ngm_tune.workspace.doctor import examine
from tests.helpers.commands import Command, environment
from tests.helpers.comparing import assert_the_same
from tests.helpers.waiting import wait_for

STUDY = (
    *("run", "quickstart", "--set", 'methods=["ngm-sgd", "sgd"]', "--set", "trials=4"),
    *("--set", "seeds=2", "--set", "iterations_per_task=60"),
    *("--set", "confirm={ max_configurations = 1, seeds = 1 }"),
)

Mount = Callable[..., None]


@pytest.fixture
def mount() -> Iterator[Mount]:
    """Mount something, until the test is over."""
    places: list[str] = []

    def mounted(*arguments: str | Path) -> None:
        done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, check=False)
        if done.returncode:
            pytest.skip(f"nothing can be mounted here: {done.stderr.decode().strip()}")
        places.append(str(arguments[-1]))

    yield mounted
    for place in places:
        subprocess.run(["umount", "-l", place], capture_output=True, check=False)


@pytest.fixture(scope="module")
def whole(ngm_tune: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a run that was never disturbed."""
    location = tmp_path_factory.mktemp("results") / "whole"
    assert ngm_tune(*STUDY, "--results", location).code == 0
    return location


def assert_one_sentence(answer: tuple[int, str, str], *parts: str) -> None:
    code, _, err = answer
    assert code == 2, answer
    assert err.startswith("ngm-tune: ")
    assert err.count("\n") == 1, err
    for part in parts:
        assert part in err


def test_a_full_disk_ends_the_study_which_goes_on_when_there_is_space(
    tmp_path: Path,
    mount: Mount,
    ngm_tune: Command,
    whole: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # On a slow machine checkpoints would fill the disk before a trial has ended.
    monkeypatch.setenv("NGM_TUNE_CHECKPOINT_SECONDS", "3600")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount("-t", "tmpfs", "-o", "size=400k", "tmpfs", disk)
    answer = ngm_tune(*STUDY, "--results", disk / "study")
    assert_one_sentence(
        answer, str(disk / "study"), "No space left on device", "goes on from there"
    )
    kept = {path: path.read_bytes() for path in (disk / "study" / "trials").iterdir()}
    assert not [path for path in kept if path.name.startswith(".")]  # drafts make room again
    again = ngm_tune(*STUDY, "--results", disk / "study")
    assert_one_sentence(again, "No space left on device")
    mount("-o", "remount,size=40m", disk)
    assert ngm_tune(*STUDY, "--results", disk / "study").code == 0
    for path, content in kept.items():
        assert path.read_bytes() == content  # and none of them was run twice
    assert_the_same(disk / "study", whole)
    assert [f for f in examine(str(disk / "study")) if f.kind == "damage"] == []


def test_a_disk_that_becomes_read_only(
    tmp_path: Path, mount: Mount, ngm_tune: Command, whole: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount("-t", "tmpfs", "-o", "size=40m", "tmpfs", disk)
    process = started(disk / "study")
    wait_for_a_trial(disk / "study")
    mount("-o", "remount,ro", disk)
    out, err = process.communicate(timeout=120)
    assert_one_sentence((process.returncode, out, err), "Read-only file system")
    assert_one_sentence(ngm_tune(*STUDY, "--results", disk / "study"), "Read-only file system")
    assert (
        ngm_tune("analyze", disk / "study", "--no-images", "--output", tmp_path / "report").code
        == 0
    )
    mount("-o", "remount,rw", disk)
    assert ngm_tune(*STUDY, "--results", disk / "study").code == 0
    assert_the_same(disk / "study", whole)


def test_a_disk_that_is_unmounted_while_the_study_runs(
    tmp_path: Path, mount: Mount, ngm_tune: Command, whole: Path
) -> None:
    volume, point = tmp_path / "volume", tmp_path / "point"
    volume.mkdir()
    point.mkdir()
    mount("--bind", volume, point)
    process = started(point / "study")
    wait_for_a_trial(point / "study")
    subprocess.run(["umount", "-l", str(point)], check=True)
    out, err = process.communicate(timeout=120)
    assert_one_sentence((process.returncode, out, err), str(point / "study"))
    assert list(point.iterdir()) == []  # nothing was written beneath the mount point
    mount("--bind", volume, point)
    assert ngm_tune(*STUDY, "--results", point / "study").code == 0
    assert_the_same(point / "study", whole)


def test_a_results_path_on_a_mount_that_is_missing(tmp_path: Path, ngm_tune: Command) -> None:
    answer = ngm_tune(*STUDY, "--results", tmp_path / "nfs" / "study")
    assert_one_sentence(answer, f"there is no folder {tmp_path / 'nfs'} to make it in")
    assert not (tmp_path / "nfs").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_to_the_whole_group_is_a_graceful_stop(
    tmp_path: Path, ngm_tune: Command, whole: Path, number: signal.Signals
) -> None:
    """As `timeout` and systemd send it, to Ray's processes too."""
    process = started(tmp_path / "study", start_new_session=True)
    wait_for_a_trial(tmp_path / "study")
    os.killpg(process.pid, number)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (130, "")
    assert "Stopped with" in out
    if number is signal.SIGTERM:  # once is enough for what takes a study
        assert ngm_tune(*STUDY, "--results", tmp_path / "study").code == 0
        assert_the_same(tmp_path / "study", whole)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_before_ray_is_there_is_heard(tmp_path: Path, number: signal.Signals) -> None:
    process = started(tmp_path / "study")
    wait_for(lambda: is_handled(process.pid, number))
    process.send_signal(number)
    assert_stopped(process)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_while_ray_starts_is_heard(tmp_path: Path, number: signal.Signals) -> None:
    process = started(tmp_path / "study")
    driver = psutil.Process(process.pid)
    wait_for(lambda: any("gcs_server" in child.name() for child in driver.children()))
    process.send_signal(number)
    assert_stopped(process)
    assert not (tmp_path / "study" / "driver.json").exists()


def assert_stopped(process: subprocess.Popen[str]) -> None:
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (130, "")
    assert "The same command goes on." in out


def is_handled(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler of a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(
        next(line for line in status.splitlines() if line.startswith("SigCgt")).split()[1], 16
    )
    return bool(caught >> (number - 1) & 1)


def test_a_second_driver_is_refused(tmp_path: Path, ngm_tune: Command) -> None:
    study = (*STUDY, "--set", "iterations_per_task=2000")  # longer than a second driver starts
    process = started(tmp_path / "study", study)
    wait_for((tmp_path / "study" / "driver.json").exists)
    answer = ngm_tune(*study, "--results", tmp_path / "study")
    assert_one_sentence(answer, f"run already, by process {process.pid} on ")
    process.terminate()
    assert process.wait(timeout=120) == 130


@pytest.mark.parametrize("part", ["raylet", "gcs_server"])
def test_a_study_goes_on_after_ray_was_lost(
    tmp_path: Path, ngm_tune: Command, whole: Path, part: str
) -> None:
    """As when the kernel ends Ray for want of memory, or a cluster's head is gone."""
    process = started(tmp_path / "study")
    wait_for_a_trial(tmp_path / "study")
    (lost,) = (c for c in psutil.Process(process.pid).children() if c.name() == part)
    lost.kill()
    process.communicate(timeout=120)
    assert process.returncode == 1  # Ray ends it, with words of its own
    assert ngm_tune(*STUDY, "--results", tmp_path / "study").code == 0
    assert_the_same(tmp_path / "study", whole)


def test_a_trial_that_needs_more_than_the_machine_has(tmp_path: Path, ngm_tune: Command) -> None:
    needs = ("--set", "resources={ cpu = 1000, gpu = 2 }")
    answer = ngm_tune(*STUDY, *needs, "--results", tmp_path / "study")
    assert_one_sentence(answer, "resources = {cpu = 1000, gpu = 2}: a trial needs that on one node")


def test_a_study_in_which_everything_fails_says_so(tmp_path: Path, ngm_tune: Command) -> None:
    study = ("run", "quickstart", "--set", 'methods=["raises"]', "--set", "trials=2")
    answer = ngm_tune(*study, cwd=tmp_path)  # whose results/ is made, too
    assert (answer.code, answer.err) == (1, "")
    assert "All 2 runs failed; see results/quickstart/failures" in answer.out
    report = ngm_tune("analyze", tmp_path / "results" / "quickstart")
    assert_one_sentence(report, "no run completed", "6 failed")


def started(location: Path, study: Sequence[str] = STUDY, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ngm_tune", *study, "--results", str(location)],
        env=environment() | {"NGM_TUNE_CHECKPOINT_SECONDS": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def wait_for_a_trial(location: Path) -> None:
    wait_for(lambda: any(name.endswith(".parquet") for name in listed(location / "trials")))


def listed(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []
