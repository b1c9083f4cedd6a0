"""Measure the load of the driver: its CPU time and memory over many trials.

The study has one method, random search, and trials that train for almost no time. So the measured
load is overhead: suggestions, starting a trial in an actor, its reports, its rows in Parquet and
the search record. Workers write their own files, so the load of the driver must not grow with the
curves. It must not grow with the number of earlier trials either.

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

_SAMPLE_SECONDS = 0.05


class Sample(NamedTuple):
    """A measurement of the driver.

    Attributes:
        trials: Number of ended trials.
        seconds: Wall time since the start.
        cpu_seconds: CPU time of the driver.
        megabytes: Resident memory of the driver, MiB.
    """

    trials: int
    seconds: float
    cpu_seconds: float
    megabytes: float


def measure(trials: int, method: str, sampler: str, iterations: int) -> list[Sample]:
    """Run a study and measure its driver after every trial."""
    with tempfile.TemporaryDirectory(prefix="ngm-tune-load-") as folder:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "ngm_tune", "run", "quickstart"),
                *("--set", f'methods=["{method}"]', "--set", f"trials={trials}"),
                *("--set", "searches=1", "--set", f"iterations_per_task={iterations}"),
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
            time.sleep(_SAMPLE_SECONDS)
        assert process.returncode == 0
        return samples


def at(samples: list[Sample], trials: int) -> Sample:
    """Return the first sample with at least this number of trials, or else the last sample."""
    return next((sample for sample in samples if sample.trials >= trials), samples[-1])


def per_trial(first: Sample, last: Sample) -> tuple[float, float]:
    """Return the wall and CPU milliseconds per trial between two samples."""
    trials = max(1, last.trials - first.trials)
    return (
        1000 * (last.seconds - first.seconds) / trials,
        1000 * (last.cpu_seconds - first.cpu_seconds) / trials,
    )


def main() -> None:
    """Measure the load and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--method", default="sgd")
    parser.add_argument("--sampler", default="random")
    parser.add_argument("--iterations", type=int, default=2, help="iterations per task")
    arguments = parser.parse_args()
    samples = measure(arguments.trials, arguments.method, arguments.sampler, arguments.iterations)
    marks = sorted({1, arguments.trials // 10, arguments.trials // 2, arguments.trials})
    print("trials   wall s   driver CPU s   driver MiB   per trial since the line above")
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
