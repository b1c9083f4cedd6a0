"""Studies on Ray clusters of several nodes, with killed workers and nodes and new nodes."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest
import ray
from ray._common.utils import get_default_ray_temp_dir
from ray.cluster_utils import Cluster

from ngm_tune.training.checkpoints import unpack
from tests.helpers.commands import Command, environment, in_subprocess
from tests.helpers.comparing import assert_same_results
from tests.helpers.processes import start_ngm_tune
from tests.helpers.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(300)]

STUDY = (
    *("run", "quickstart", "--set", 'methods=["ngm-sgd", "adam"]', "--set", "searches=1"),
    *("--set", "trials=2", "--set", "iterations_per_task=600", "--set", "eval_every=20"),
    *("--set", "confirm={ max_configurations = 0 }"),
)
SHORT = (
    *("run", "quickstart", "--set", 'methods=["sgd"]', "--set", "searches=1"),
    *("--set", "trials=1", "--set", "iterations_per_task=10"),
    *("--set", "confirm={ max_configurations = 0 }"),
)


class Head:
    """A cluster, its ports and its worker nodes."""

    def __init__(self, temporary: Path) -> None:
        self.client, self.dashboard = free_port(), free_port()
        self.temporary = str(temporary)
        # Cluster writes its address to this folder, and does not create it.
        os.makedirs(get_default_ray_temp_dir(), exist_ok=True)
        self.cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "temp_dir": self.temporary,
                "num_cpus": 0,
                "ray_client_server_port": self.client,
                "include_dashboard": True,
                "dashboard_port": self.dashboard,
                "dashboard_agent_listen_port": free_port(),
            },
        )
        # Jobs read the address from this file, as `ray start` writes it. Cluster writes it to
        # /tmp/ray only, where a cluster of another test may have overwritten it.
        (temporary / "ray_current_cluster").write_text(self.cluster.address)
        self.nodes: list[ray.cluster_utils.Node] = []
        self.add()
        self.add()

    def trials_on(self, node: ray.cluster_utils.Node) -> list[psutil.Process]:
        """Return the processes on a node that train trials."""
        raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
        training = []
        for process in raylet.children():
            try:
                if process.cmdline()[0].startswith("ray::ResourceTrainable"):
                    training.append(process)
            except (psutil.Error, IndexError):
                continue
        return training

    def add(self) -> None:
        """Add a node with one CPU."""
        self.nodes.append(self.cluster.add_node(num_cpus=1, temp_dir=self.temporary))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """A cluster of three nodes: a head that runs no trials, and two nodes for one trial each."""
    # The temporary folder has the sockets of Ray, whose paths must be short.
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory(prefix="ray-") as temporary:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        started = Head(Path(temporary))
        yield started
        started.cluster.shutdown()


@pytest.fixture(scope="module")
def on_ray() -> Command:
    """A command that runs ``ngm-tune`` in a subprocess, on Ray."""
    return in_subprocess()


@pytest.fixture(scope="module")
def whole(ngm_tune: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the study without failures."""
    location = tmp_path_factory.mktemp("results") / "whole"
    done = ngm_tune(*STUDY, "--results", location)
    assert (done.code, done.err) == (0, "")
    return location


@pytest.fixture(scope="module")
def short(ngm_tune: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    location = tmp_path_factory.mktemp("results") / "short"
    assert ngm_tune(*SHORT, "--results", location).code == 0
    return location


def count_trained_tasks(location: Path) -> dict[str, int]:
    """Return the number of trained tasks of every unfinished trial, summed over its seeds."""
    tasks = {}
    for path in location.glob("checkpoints/*.pt"):
        try:
            states = unpack(path.read_bytes()).states
        except FileNotFoundError:
            continue  # the trial has just ended
        tasks[path.stem] = sum(len(state["records"]) for state in states)
    return tasks


@pytest.mark.faults
def test_trials_of_a_killed_worker_and_a_killed_node_continue_elsewhere(
    head: Head, tmp_path: Path, whole: Path
) -> None:
    location = tmp_path / "study"
    process = start_ngm_tune(*STUDY, "--results", location, "--address", head.cluster.address)
    try:
        # Kill a worker in the middle of a trial that has a checkpoint.
        wait_for(lambda: count_trained_tasks(location) and head.trials_on(head.nodes[0]))
        before = count_trained_tasks(location)
        os.kill(head.trials_on(head.nodes[0])[0].pid, signal.SIGKILL)
        wait_for(
            lambda: any(count_trained_tasks(location).get(run, 99) > n for run, n in before.items())
        )
        # Kill a node: its raylet and every process on it.
        wait_for(lambda: count_trained_tasks(location) and head.trials_on(head.nodes[1]))
        kept = count_trained_tasks(location)
        node = head.nodes.pop(1)
        head.cluster.remove_node(node, allow_graceful=False)
        assert kept
        # Add another node.
        head.add()
        wait_for(lambda: process.poll() is not None or head.trials_on(head.nodes[-1]))
        least = dict(kept)
        while process.poll() is None:
            for run, tasks in count_trained_tasks(location).items():
                assert tasks >= least.get(run, 0), run  # no trial starts over
                least[run] = tasks
            time.sleep(0.05)
    finally:
        process.kill()
        out, err = process.communicate()
    assert (process.returncode, err) == (0, ""), out
    assert_same_results(location, whole)
    assert list(location.glob("checkpoints/*.pt")) == []


def test_a_user_error_inside_the_cluster_is_one_sentence(
    head: Head, tmp_path: Path, on_ray: Command, short: Path
) -> None:
    location, address = tmp_path / "study", f"ray://127.0.0.1:{head.client}"
    shutil.copytree(short, location)
    refused = on_ray(*SHORT, "--set", "seed=5", "--results", location, "--address", address)
    assert refused.code == 2
    assert refused.err.count("\n") == 1
    assert "seed is 0 instead of 5" in refused.err


def test_a_study_is_interrupted_and_resumed_through_ray_client(
    head: Head, tmp_path: Path, on_ray: Command, whole: Path
) -> None:
    location, address = tmp_path / "study", f"ray://127.0.0.1:{head.client}"
    process = start_ngm_tune(*STUDY, "--results", location, "--address", address)
    wait_for(lambda: count_trained_tasks(location))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (130, "")
    assert "The same command resumes " in out
    assert not (location / "driver.json").exists()
    done = on_ray(*STUDY, "--results", location, "--address", address)
    assert (done.code, done.err) == (0, "")
    assert "ngm-tune analyze" in done.out
    assert_same_results(location, whole)


def test_results_that_a_worker_cannot_write_stop_the_study_with_one_sentence(
    head: Head, tmp_path: Path, ngm_tune: Command, on_ray: Command, short: Path
) -> None:
    location = tmp_path / "study"
    location.mkdir()
    (location / "curves").write_text("a file where a folder should be")
    stopped = on_ray(*SHORT, "--results", location, "--address", head.cluster.address)
    assert stopped.code == 2
    assert stopped.err.startswith(f"ngm-tune: {location} on ")
    assert stopped.err.count("\n") == 1
    assert "the study can be resumed once that is fixed" in stopped.err
    (location / "curves").unlink()
    assert ngm_tune(*SHORT, "--results", location).code == 0
    assert_same_results(location, short)


@pytest.mark.parametrize("outside", [False, True])
def test_a_study_waits_for_a_cluster_to_grow(
    head: Head, tmp_path: Path, on_ray: Command, outside: bool
) -> None:
    needs = ("--set", "resources.cpu=50", "--time-budget", "0.001")
    address = f"ray://127.0.0.1:{head.client}" if outside else head.cluster.address
    where = ("--results", tmp_path / "study", "--address", address)
    waited = on_ray(*SHORT, *needs, *where)
    assert (waited.code, waited.err) == (0, "")
    assert "a trial needs these on one node" in waited.out
    assert "The study waits for a node that has them." in waited.out
    assert "The time budget ended the study with 0 of" in waited.out


def test_a_study_is_submitted_as_a_job(head: Head, tmp_path: Path, short: Path) -> None:
    location = tmp_path / "study"
    submit = [Path(sys.executable).with_name("ray"), "job", "submit", "--address"]
    study = [sys.executable, "-m", "ngm_tune", *SHORT, "--results", location]
    done = subprocess.run(
        [*map(str, submit), f"http://127.0.0.1:{head.dashboard}", "--", *map(str, study)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "`ngm-tune analyze" in done.stdout
    assert_same_results(location, short)
