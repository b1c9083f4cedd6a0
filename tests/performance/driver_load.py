"""What the driver costs: its CPU time and memory over many trials, and what Tune adds to each.

One arm searches at random over trials that train for almost no time, so that all there is to
measure is the machinery: asking Optuna, starting a trial in an actor, its reports, its rows in
Parquet, Optuna's record. Workers write their own files, so the driver's load must not grow with the
curves; and it must not grow with the trials that came before.

    python -m tests.performance.driver_load              1,000 trials
    python -m tests.performance.driver_load --trials 200 --method ngm-sgd --sampler tpe
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import psutil

_LOOK_SECONDS = 0.05


class Sample(NamedTuple):
    """The driver once so many trials have ended."""

    trials: int
    seconds: float
    cpu_seconds: float
    megabytes: float


def measure(trials: int, method: str, sampler: str, iterations: int) -> list[Sample]:
    """Run a study and look at its driver after every trial."""
    with tempfile.TemporaryDirectory(prefix="ngm-tune-load-") as folder:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "ngm_tune", "run", "quickstart"),
                *("--set", f'methods=["{method}"]', "--set", f"trials={trials}"),
                *("--set", "seeds=1", "--set", f"iterations_per_task={iterations}"),
                *("--set", f"sampler={sampler}", "--set", "max_concurrent_trials=4"),
                *(
                    "--set",
                    f"eval_every={iterations}",
                    "--set",
                    "confirm={ max_configurations = 0 }",
                ),
                *("--results", f"{folder}/study"),
            ],
            stdout=subprocess.DEVNULL,
        )
        driver = psutil.Process(process.pid)
        started, samples = time.perf_counter(), []
        ended = Path(folder) / "study" / "trials"
        while process.poll() is None:
            count = sum(1 for _ in ended.glob("*.parquet"))
            if count and (not samples or count > samples[-1].trials):
                times, memory = driver.cpu_times(), driver.memory_info().rss
                samples.append(
                    Sample(
                        count,
                        time.perf_counter() - started,
                        times.user + times.system,
                        memory / 2**20,
                    )
                )
            time.sleep(_LOOK_SECONDS)
        assert process.returncode == 0
        return samples


def at(samples: list[Sample], trials: int) -> Sample:
    """The first sample with at least so many trials."""
    return next((sample for sample in samples if sample.trials >= trials), samples[-1])


def per_trial(first: Sample, last: Sample) -> tuple[float, float]:
    """Wall and CPU milliseconds per trial between two samples."""
    trials = max(1, last.trials - first.trials)
    return (
        1000 * (last.seconds - first.seconds) / trials,
        1000 * (last.cpu_seconds - first.cpu_seconds) / trials,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--method", default="sgd")
    parser.add_argument("--sampler", default="random")
    parser.add_argument("--iterations", type=int, default=2, help="per task")
    arguments = parser.parse_args()
    samples = measure(arguments.trials, arguments.method, arguments.sampler, arguments.iterations)
    marks = sorted({1, arguments.trials // 10, arguments.trials // 2, arguments.trials})
    print("trials   wall s   driver CPU s   driver MiB   since the line before, per trial")
    before = samples[0]
    for mark in marks:
        now = at(samples, mark)
        wall, cpu = per_trial(before, now)
        print(
            f"{now.trials:6d} {now.seconds:8.1f} {now.cpu_seconds:14.1f} {now.megabytes:12.0f}   "
            f"{wall:6.0f} ms wall, {cpu:6.0f} ms of the driver's CPU"
        )
        before = now
    tail = [s.megabytes for s in samples[len(samples) // 10 :]]
    print(f"median memory after the first tenth: {statistics.median(tail):.0f} MiB")


if __name__ == "__main__":
    main()
