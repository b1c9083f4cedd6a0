"""Test of fault tolerance: kill and resume a study at random moments, and check its results.

Each round runs a small study on a Ray cluster on this machine, with a head and two nodes for one
trial each. In each round, two or three processes are killed: the driver, a worker in the middle of
its trial, or all processes of a node, after which a new node joins. The seed of the round
determines the victims and the times. A killed driver is started again. At the end of the round, the
results are compared with those of an undisturbed study:

- every run that was finished before a kill is kept, byte for byte, so it was not repeated;
- every method has the requested number of trials, and every row is as in the undisturbed study;
- no Optuna trial is running, no checkpoint or lock is left, and the doctor finds no damage.

    python -m tests.performance.chaos                 20 rounds
    python -m tests.performance.chaos --rounds 3 --seed 7
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import polars as pl
import psutil
from optuna.trial import TrialState
from ray.cluster_utils import Cluster

from ngm_tune.search.optuna_journal import open_storage
from ngm_tune.workspace.doctor import examine

STUDY = (
    *("run", "quickstart", "--set", 'methods=["ngm-sgd", "adam"]', "--set", "searches=1"),
    *("--set", "trials=3", "--set", "seeds=2", "--set", "iterations_per_task=200"),
    *("--set", "eval_every=2"),
    *("--set", "confirm={ max_configurations = 1, seeds = 2 }"),
)
TABLES = ("trials", "tasks", "curves", "steps")
ROUND_SECONDS = 600.0
"""Time limit of a round."""

Victim = Literal["driver", "worker", "node"]


class Round(NamedTuple):
    """Result of a round: what was killed, and what was wrong with the results."""

    seed: int
    killed: list[Victim]
    seconds: float
    wrong: list[str]


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Start a cluster with a head that runs no trials and two nodes."""
    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        for _ in range(2):
            started.add_node(num_cpus=1)
        yield started
    finally:
        started.shutdown()


def start(location: Path, address: str | None = None) -> subprocess.Popen[str]:
    """Start a driver, on a cluster or with the local executor."""
    where = ("--executor", "local") if address is None else ("--address", address)
    return subprocess.Popen(
        [sys.executable, "-m", "ngm_tune", *STUDY, "--results", str(location), *where],
        env={k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
        | {"NGM_TUNE_CHECKPOINT_SECONDS": "0", "RAY_AUTH_MODE": "disabled"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def undisturbed(location: Path) -> None:
    """Run the study without any kill, as the reference."""
    process = start(location)
    _, err = process.communicate(timeout=ROUND_SECONDS)
    assert process.returncode == 0, err


def workers(nodes: Cluster) -> list[psutil.Process]:
    """Return the processes of a cluster that train trials."""
    training = []
    for node in nodes.worker_nodes:
        with suppress(psutil.Error):
            raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
            for process in raylet.children():
                with suppress(psutil.Error, IndexError):
                    if process.cmdline()[0].startswith("ray::ResourceTrainable"):
                        training.append(process)
    return training


def kill(
    victim: Victim, nodes: Cluster, driver: subprocess.Popen[str], dice: random.Random
) -> bool:
    """Kill a victim. Return whether it was running."""
    if victim == "driver":
        driver.send_signal(signal.SIGKILL)
        driver.communicate()
        return True
    if victim == "worker":
        training = workers(nodes)
        if not training:
            return False
        with suppress(psutil.NoSuchProcess):
            dice.choice(training).kill()
        return True
    node = dice.choice(sorted(nodes.worker_nodes, key=lambda node: node.unique_id))
    nodes.remove_node(node, allow_graceful=False)
    nodes.add_node(num_cpus=1)
    return True


def play(seed: int, whole: Path, location: Path, kills: Sequence[int] = (2, 3)) -> Round:
    """Play a round.

    Args:
        seed: Seed of the victims and the times.
        whole: Results of the undisturbed study.
        location: Results directory of the round.
        kills: Smallest and largest number of kills.
    """
    dice = random.Random(seed)
    plan = [dice.choice(get_args(Victim)) for _ in range(dice.randint(*kills))]
    killed: list[Victim] = []
    kept: dict[str, tuple[int, bytes]] = {}
    wrong: list[str] = []
    started = time.monotonic()
    with cluster() as nodes:
        driver = start(location, nodes.address)
        for victim in plan:
            # The kill comes after new files, so it is during the study on machines of any speed.
            await_activity(driver, location)
            time.sleep(dice.uniform(0.0, 3.0))
            if driver.poll() is not None:
                break
            if kill(victim, nodes, driver, dice):
                killed.append(victim)
            wrong += lost(kept, location)
            kept = finished(location)
            if victim == "driver":
                driver = start(location, nodes.address)
        try:
            out, err = driver.communicate(timeout=ROUND_SECONDS)
        except subprocess.TimeoutExpired:
            driver.kill()
            driver.communicate()
            return Round(seed, killed, time.monotonic() - started, [*wrong, "hung"])
    if driver.returncode != 0 or err:
        wrong.append(f"exit code {driver.returncode}: {out[-300:]} {err[-300:]}")
    wrong += lost(kept, location) + differences(location, whole)
    return Round(seed, killed, time.monotonic() - started, wrong)


def await_activity(driver: subprocess.Popen[str], location: Path) -> None:
    """Wait until a file is written, the driver ends or the time limit is reached."""
    before = activity(location)
    deadline = time.monotonic() + ROUND_SECONDS
    while driver.poll() is None and activity(location) == before and time.monotonic() < deadline:
        time.sleep(0.02)


def activity(location: Path) -> list[tuple[str, int]]:
    """Return the names and modification times of the checkpoints and the files of ended trials."""
    files = []
    for path in (*location.glob("checkpoints/*.pt"), *location.glob("trials/*.parquet")):
        with suppress(FileNotFoundError):
            files.append((path.name, path.stat().st_mtime_ns))
    return files


def finished(location: Path) -> dict[str, tuple[int, bytes]]:
    """Return the modification time and content of the file of each ended run."""
    paths = location.glob("trials/*.parquet")
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


def lost(kept: dict[str, tuple[int, bytes]], location: Path) -> list[str]:
    """Return a message for each finished run that was lost or repeated."""
    current = finished(location)
    return [f"{name} was lost or repeated" for name in kept if current.get(name) != kept[name]]


def differences(location: Path, whole: Path) -> list[str]:
    """Return a message for each difference between a finished study and the undisturbed one."""
    wrong = []
    for table in TABLES:
        rows, expected = (
            pl.read_parquet(folder / table / "*.parquet")
            .drop("wall_seconds", "node", strict=False)
            .sort("trial_id", "seed", maintain_order=True)
            for folder in (location, whole)
        )
        if not rows.equals(expected):
            wrong.append(f"{table}/ has {rows.height} rows, {expected.height} undisturbed")
    storage = open_storage(location / "optuna.journal")
    for study in storage.get_all_studies():
        trials = storage.get_all_trials(study._study_id)
        states = Counter(trial.state for trial in trials if trial.state != TrialState.FAIL)
        if states[TrialState.RUNNING] or states.total() != 3:
            wrong.append(f"Optuna's {study.study_name}: {dict(states)}")
    for name in ("driver.json", "checkpoints/*"):
        wrong += [f"{path.name} is left" for path in location.glob(name)]
    wrong += [f"{f.name}: {f.description}" for f in examine(str(location)) if f.kind == "damage"]
    return wrong


def main() -> int:
    """Play rounds and print the result of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="seed of the first round")
    arguments = parser.parse_args()
    survived = 0
    kills: Counter[Victim] = Counter()
    with tempfile.TemporaryDirectory(prefix="ngm-tune-chaos-") as folder:
        whole = Path(folder) / "whole"
        undisturbed(whole)
        for seed in range(arguments.seed, arguments.seed + arguments.rounds):
            result = play(seed, whole, Path(folder) / f"round-{seed}")
            survived += not result.wrong
            kills.update(result.killed)
            message = "; ".join(result.wrong) or "nothing lost"
            print(
                f"{seed:4d} {result.seconds:6.1f} s  {', '.join(result.killed):28s} {message}",
                flush=True,
            )
    summary = ", ".join(f"{count} {victim}s" for victim, count in kills.most_common())
    print(f"{survived} of {arguments.rounds} rounds survived with nothing lost; killed: {summary}")
    return 0 if survived == arguments.rounds else 1


if __name__ == "__main__":
    sys.exit(main())
