"""Disks that are full, read-only or unmounted: no results are lost, and the study resumes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ngm_tune.results.directory import Results
from ngm_tune.workspace.doctor import examine
from ngm_tune.workspace.lock import study_lock
from tests.helpers.commands import Command
from tests.helpers.comparing import assert_same_results
from tests.helpers.processes import start_ngm_tune, wait_for_trial

pytestmark = [pytest.mark.slow, pytest.mark.faults]

STUDY = (
    *("run", "quickstart", "--set", 'methods=["ngm-sgd", "sgd"]', "--set", "searches=1"),
    *("--set", "trials=4", "--set", "seeds=2", "--set", "iterations_per_task=60"),
    *("--set", "confirm={ max_configurations = 1, seeds = 1 }"),
)

Mount = Callable[..., None]


@pytest.fixture
def mount() -> Iterator[Mount]:
    """A function that mounts a file system until the end of the test."""
    targets: list[str] = []

    def mount_until_the_end(*arguments: str | Path) -> None:
        done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, check=False)
        if done.returncode:
            pytest.skip(f"file systems cannot be mounted: {done.stderr.decode().strip()}")
        targets.append(str(arguments[-1]))

    yield mount_until_the_end
    for target in targets:
        subprocess.run(["umount", "-l", target], capture_output=True, check=False)


@pytest.fixture(scope="module")
def whole(ngm_tune: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the study without failures."""
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


def test_a_full_disk_stops_the_study_which_resumes_when_there_is_space(
    tmp_path: Path,
    mount: Mount,
    ngm_tune: Command,
    whole: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # On a slow machine, checkpoints would fill the disk before a trial ends.
    monkeypatch.setenv("NGM_TUNE_CHECKPOINT_SECONDS", "3600")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount("-t", "tmpfs", "-o", "size=400k", "tmpfs", disk)
    answer = ngm_tune(*STUDY, "--results", disk / "study")
    assert_one_sentence(answer, str(disk / "study"), "No space left on device", "can be resumed")
    kept = {path: path.read_bytes() for path in (disk / "study" / "trials").iterdir()}
    assert not [path for path in kept if path.name.startswith(".")]  # partial files are removed
    again = ngm_tune(*STUDY, "--results", disk / "study")
    assert_one_sentence(again, "No space left on device")
    mount("-o", "remount,size=40m", disk)
    assert ngm_tune(*STUDY, "--results", disk / "study").code == 0
    for path, content in kept.items():
        assert path.read_bytes() == content  # no run was repeated
    assert_same_results(disk / "study", whole)
    assert [f for f in examine(str(disk / "study")) if f.kind == "damage"] == []


def test_a_read_only_disk_stops_the_study_which_resumes_when_it_is_writable(
    tmp_path: Path, mount: Mount, ngm_tune: Command, whole: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount("-t", "tmpfs", "-o", "size=40m", "tmpfs", disk)
    process = start_ngm_tune(*STUDY, "--executor", "local", "--results", disk / "study")
    wait_for_trial(disk / "study", process)
    mount("-o", "remount,ro", disk)
    out, err = process.communicate(timeout=100)
    assert_one_sentence((process.returncode, out, err), "Read-only file system")
    assert_one_sentence(ngm_tune(*STUDY, "--results", disk / "study"), "Read-only file system")
    assert (
        ngm_tune("analyze", disk / "study", "--no-images", "--output", tmp_path / "report").code
        == 0
    )
    mount("-o", "remount,rw", disk)
    assert ngm_tune(*STUDY, "--results", disk / "study").code == 0
    assert_same_results(disk / "study", whole)


def test_an_unmounted_disk_stops_the_study_which_resumes_when_it_is_mounted(
    tmp_path: Path, mount: Mount, ngm_tune: Command, whole: Path
) -> None:
    volume, point = tmp_path / "volume", tmp_path / "point"
    volume.mkdir()
    point.mkdir()
    mount("--bind", volume, point)

    process = start_ngm_tune(*STUDY, "--executor", "local", "--results", point / "study")
    wait_for_trial(point / "study", process)
    subprocess.run(["umount", "-l", str(point)], check=True)
    out, err = process.communicate(timeout=100)
    assert_one_sentence((process.returncode, out, err), str(point / "study"))
    assert list(point.iterdir()) == []  # nothing was written to the mount point
    mount("--bind", volume, point)
    assert ngm_tune(*STUDY, "--results", point / "study").code == 0
    assert_same_results(point / "study", whole)


def test_a_results_path_on_a_missing_mount_is_refused(tmp_path: Path, ngm_tune: Command) -> None:
    answer = ngm_tune(*STUDY, "--results", tmp_path / "nfs" / "study")
    assert_one_sentence(answer, f"the parent folder {tmp_path / 'nfs'} does not exist")
    assert not (tmp_path / "nfs").exists()


def test_a_second_driver_is_refused(tmp_path: Path, ngm_tune: Command) -> None:
    results = Results(str(tmp_path / "study"))
    results.create()
    with study_lock(results, print):
        answer = ngm_tune(*STUDY, "--results", tmp_path / "study")
    assert_one_sentence(answer, f"already being run by process {os.getpid()} on ")


def test_a_study_in_which_every_run_fails_exits_with_1(tmp_path: Path, ngm_tune: Command) -> None:
    study = ("run", "quickstart", "--set", 'methods=["raises"]', "--set", "searches=1")
    answer = ngm_tune(*study, "--set", "trials=2", cwd=tmp_path)  # creates results/ too
    assert (answer.code, answer.err) == (1, "")
    assert "All 2 runs failed; see results/quickstart/failures" in answer.out
    report = ngm_tune("analyze", tmp_path / "results" / "quickstart")
    assert_one_sentence(report, "no run completed", "2 failed")
