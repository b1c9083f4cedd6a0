"""Signals and killed drivers and Ray processes: no results are lost, and the study resumes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from optuna.trial import TrialState

from ngm_tune.search.optuna_journal import open_storage
from tests.helpers.commands import Command, in_subprocess
from tests.helpers.comparing import assert_same_results
from tests.helpers.processes import list_ended_trials, start_ngm_tune, wait_for_trial
from tests.helpers.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.faults, pytest.mark.timeout(300)]

STUDY = (
    *("run", "quickstart", "--set", 'methods=["ngm-sgd"]', "--set", "searches=1"),
    *("--set", "trials=12", "--set", "iterations_per_task=200", "--set", "eval_every=20"),
    *("--set", "confirm={ max_configurations = 0 }", "--set", "max_concurrent_trials=1"),
)
"""Trials run one at a time, since each worker takes seconds to start."""


@pytest.fixture(scope="module")
def whole(ngm_tune: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the study without failures."""
    location = tmp_path_factory.mktemp("results") / "whole"
    assert ngm_tune(*STUDY, "--results", location).code == 0
    return location


def test_a_stopped_or_killed_study_resumes_with_the_same_results(
    tmp_path: Path, ngm_tune: Command, whole: Path
) -> None:
    """Signals go to the whole process group, including Ray, as from `timeout` and systemd.

    After the signals, a time budget ends the study.
    """
    seconds_to_first_end = []
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
        before, started = list_ended_trials(tmp_path), time.monotonic()
        process = start_ngm_tune(*STUDY, "--results", tmp_path, start_new_session=True)
        wait_for_trial(tmp_path, process, more_than=len(before))
        seconds_to_first_end.append(time.monotonic() - started)
        kept = list_ended_trials(tmp_path)
        if number == signal.SIGKILL:
            process.kill()
        else:
            os.killpg(process.pid, number)
        out, err = process.communicate(timeout=120)
        assert kept.items() <= list_ended_trials(tmp_path).items()
        assert len(list_ended_trials(tmp_path)) < len(list_ended_trials(whole)), (
            "the study completed before the signal"
        )
        if number == signal.SIGKILL:
            assert process.returncode == -signal.SIGKILL
            continue
        assert (process.returncode, err) == (130, ""), number
        assert f"Stopped with {len(list_ended_trials(tmp_path))} of" in out
        assert "The same command resumes it." in out
        assert TrialState.RUNNING not in optuna_states(tmp_path)
        assert not (tmp_path / "driver.json").exists()
    kept = list_ended_trials(tmp_path)
    # The budget starts when Ray runs. It is long enough for a worker to start, and too short for
    # the remaining trials.
    hours = 0.4 * min(seconds_to_first_end) / 3600
    timed_out = in_subprocess()(*STUDY, "--results", tmp_path, "--time-budget", f"{hours:f}")
    assert (timed_out.code, timed_out.err) == (0, "")
    ended = list_ended_trials(tmp_path)
    assert kept.items() <= ended.items()
    assert f"The time budget ended the study with {len(ended)} of" in timed_out.out
    assert TrialState.RUNNING not in optuna_states(tmp_path)
    assert not (tmp_path / "driver.json").exists()
    kept = ended
    resumed = ngm_tune(*STUDY, "--results", tmp_path)
    assert (resumed.code, resumed.err) == (0, "")
    assert f"{len(kept)} runs already done" in resumed.out
    assert kept.items() <= list_ended_trials(tmp_path).items()
    assert TrialState.RUNNING not in optuna_states(tmp_path)
    assert_same_results(tmp_path, whole)


def optuna_states(location: Path) -> set[TrialState]:
    storage = open_storage(location / "optuna.journal")
    studies = storage.get_all_studies()
    return {trial.state for s in studies for trial in storage.get_all_trials(s._study_id)}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_before_ray_starts_stops_the_study(tmp_path: Path, number: signal.Signals) -> None:
    process = start_ngm_tune(*STUDY, "--results", tmp_path / "study")
    wait_for(lambda: is_handled(process.pid, number))
    process.send_signal(number)
    assert_stopped(process)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_while_ray_starts_stops_the_study(tmp_path: Path, number: signal.Signals) -> None:
    process = start_ngm_tune(*STUDY, "--results", tmp_path / "study")
    driver = psutil.Process(process.pid)
    wait_for(lambda: any("gcs_server" in child.name() for child in driver.children()))
    process.send_signal(number)
    assert_stopped(process)
    assert not (tmp_path / "study" / "driver.json").exists()


def assert_stopped(process: subprocess.Popen[str]) -> None:
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (130, "")
    assert "The same command resumes " in out


def is_handled(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(
        next(line for line in status.splitlines() if line.startswith("SigCgt")).split()[1], 16
    )
    return bool(caught >> (number - 1) & 1)


@pytest.mark.parametrize("part", ["raylet", "gcs_server"])
def test_a_study_resumes_after_a_ray_process_is_killed(
    tmp_path: Path, ngm_tune: Command, whole: Path, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel can kill Ray when memory is short, and the head of a cluster can be lost."""
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "5")  # a minute by default
    process = start_ngm_tune(*STUDY, "--results", tmp_path / "study")
    wait_for_trial(tmp_path / "study", process)
    driver = psutil.Process(process.pid)
    (lost,) = (child for child in driver.children() if child.name() == part)
    workers = [p for p in driver.children(recursive=True) if "Trainable" in "".join(p.cmdline())]
    for worker in workers:  # else the study could end before the driver notices the loss
        worker.suspend()
    lost.kill()
    process.communicate(timeout=120)
    for worker in workers:
        with suppress(psutil.NoSuchProcess):
            worker.kill()
    assert process.returncode == 1  # Ray ends the driver with its own message
    assert ngm_tune(*STUDY, "--results", tmp_path / "study").code == 0
    assert_same_results(tmp_path / "study", whole)


def test_resources_beyond_the_machine_are_refused(tmp_path: Path) -> None:
    needs = ("--set", "resources={ cpu = 1000, gpu = 2 }")
    answer = in_subprocess()(*STUDY, *needs, "--results", tmp_path / "study")
    assert answer.code == 2
    assert answer.err.startswith("ngm-tune: ")
    assert answer.err.count("\n") == 1
    assert "resources = {cpu = 1000, gpu = 2}: a trial needs these on one node" in answer.err
