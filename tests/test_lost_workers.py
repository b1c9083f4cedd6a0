"""Trials that lose their worker again and again: they go on while they get on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl

from .conftest import environment, installed

METHODS = """
    import os
    import signal

    from optuna.distributions import FloatDistribution
    from torch.optim import SGD

    from ngm_tune.methods import Method


    class Mortal(SGD):
        # Its process dies in its second task, whichever that is of the trial.
        taken = 0

        def step(self, closure=None):
            self.taken += 1
            if self.taken > 30:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().step(closure)


    class Doomed(SGD):
        def step(self, closure=None):
            os.kill(os.getpid(), signal.SIGKILL)


    def method(name, kind):
        return Method(
            name=name,
            title=name,
            source="tests",
            space={"lr": FloatDistribution(1e-3, 1e-1, log=True)},
            build=lambda model, lr: kind(model.parameters(), lr=lr),
        )


    mortal, doomed = method("mortal", Mortal), method("doomed", Doomed)
"""


def test_losses_are_counted_by_task(tmp_path: Path) -> None:
    """Five tasks of 24 iterations: one dies four times but gets on, the other in its first task."""
    (tmp_path / "site").mkdir()
    site = installed(tmp_path / "site", METHODS, "mortal", "doomed")
    study = ("run", "quickstart", "--set", 'methods=["mortal", "doomed", "sgd"]')
    small = ["trials=1", "seeds=1", "iterations_per_task=24", "confirm={top=0}"]
    changes = [text for change in small for text in ("--set", change)]
    done = subprocess.run(
        [sys.executable, "-m", "ngm_tune", *study, *changes, "--results", tmp_path / "study"],
        env=environment(site) | {"NGM_TUNE_CHECKPOINT_SECONDS": "0"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    trials = pl.read_parquet(tmp_path / "study" / "trials" / "*.parquet").sort("method")
    assert dict(trials.select("method", "status").iter_rows()) == {
        "doomed": "failed",
        "mortal": "completed",
        "sgd": "completed",
    }
    curves = pl.read_parquet(tmp_path / "study" / "curves" / "*mortal*.parquet")
    assert curves["iteration"].max() == 5 * 24
    (report,) = (tmp_path / "study" / "failures").iterdir()
    assert report.name == "split-digits.doomed.0000.txt"
    assert "died" in report.read_text()
