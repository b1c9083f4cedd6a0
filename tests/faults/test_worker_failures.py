"""Lost workers: a run continues while it makes progress between losses, and fails otherwise."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from tests.helpers.commands import environment, install_methods

pytestmark = [
    pytest.mark.slow,
    pytest.mark.ray,
    pytest.mark.faults,
    pytest.mark.timeout(300),
]

METHODS = """
    import os
    import signal
    from pathlib import Path

    from optuna.distributions import FloatDistribution
    from torch.optim import SGD

    from ngm_tune.methods import Method


    def die():
        os.kill(os.getpid(), signal.SIGKILL)


    class Mortal(SGD):
        # The process dies in the second task that it trains.
        taken = 0

        def step(self, closure=None):
            self.taken += 1
            if self.taken > 30:
                die()
            return super().step(closure)


    class Doomed(SGD):
        def step(self, closure=None):
            die()


    class Late(SGD):
        # A reused process dies when it builds its second trial, once in a study.
        built = 0

        def __init__(self, parameters, lr):
            died = Path(os.environ["DIED"])
            if Late.built and not died.exists():
                died.touch()
                die()
            Late.built += 1
            super().__init__(parameters, lr=lr)


    def method(name, kind):
        return Method(
            name=name,
            title=name,
            source="tests",
            space={"lr": FloatDistribution(1e-3, 1e-1, log=True)},
            build=lambda model, lr: kind(model.parameters(), lr=lr),
        )


    mortal, doomed, late = method("mortal", Mortal), method("doomed", Doomed), method("late", Late)
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "site").mkdir()
    return install_methods(tmp_path / "site", METHODS, "mortal", "doomed", "late")


def trials_of(site: Path, location: Path, *changes: str) -> dict[str, str]:
    """Run a small study to its end and return the status of each trial."""
    small = ["searches=1", "seeds=1", "iterations_per_task=24", "eval_every=12", *changes]
    small += ["confirm={max_configurations=0}"]
    sets = [text for change in small for text in ("--set", change)]
    done = subprocess.run(
        [sys.executable, "-m", "ngm_tune", "run", "quickstart", *sets, "--results", str(location)],
        env=environment(site)
        | {"NGM_TUNE_CHECKPOINT_SECONDS": "0", "DIED": str(location.with_name("died"))},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    trials = pl.read_parquet(location / "trials" / "*.parquet")
    return dict(trials.select("trial_id", "status").iter_rows())


def test_a_run_that_finishes_a_task_between_worker_losses_continues(
    site: Path, tmp_path: Path
) -> None:
    """One trial loses a worker in four of its five tasks, the other one always in the first."""
    location = tmp_path / "study"
    ended = trials_of(site, location, 'methods=["mortal", "doomed"]', "trials=1")
    assert ended == {
        "split-digits.doomed.0000": "failed",
        "split-digits.mortal.0000": "completed",
    }
    curves = pl.read_parquet(location / "curves" / "*mortal*.parquet")
    assert curves["iteration"].max() == 5 * 24
    (report,) = (location / "failures").iterdir()
    assert report.name == "split-digits.doomed.0000.txt"
    assert "died" in report.read_text()


def test_a_run_that_loses_a_reused_worker_continues(site: Path, tmp_path: Path) -> None:
    """Tune abandons a trial at once if the reused worker dies before the trial starts."""
    ended = trials_of(
        site, tmp_path / "study", 'methods=["late"]', "trials=3", "max_concurrent_trials=1"
    )
    assert ended == {f"split-digits.late.{n:04d}": "completed" for n in range(3)}
    assert (tmp_path / "died").exists()
