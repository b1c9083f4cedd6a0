"""The local executor and the Ray executor write the same rows, bit for bit."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tests.helpers.commands import Command, Outcome, in_process, in_subprocess
from tests.helpers.comparing import assert_same_results

STUDY = (
    *("run", "quickstart", "--set", 'methods=["ngm-sgd", "sgd", "raises", "diverges"]'),
    *("--set", "trials=4", "--set", "seeds=2", "--set", "iterations_per_task=12"),
    *("--set", "early_stopping.min_peers=2"),
    *("--set", "confirm={ max_configurations = 1, seeds = 2 }"),
)


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_both_executors_write_the_same_rows(plugin: Path, tmp_path: Path) -> None:
    def run(command: Command, name: str) -> Outcome:
        return command(*STUDY, "--results", tmp_path / name)

    local = run(in_process(plugin), "local")
    on_ray = run(in_subprocess(plugin), "ray")
    assert (local.code, local.err) == (on_ray.code, on_ray.err) == (0, "")
    assert_same_results(tmp_path / "ray", tmp_path / "local")
    trials = pl.read_parquet(tmp_path / "ray" / "trials" / "*.parquet")
    statuses = {"completed", "stopped", "failed", "diverged"}
    assert set(trials["status"]) == statuses  # the comparison covers every status
    assert set(trials["phase"]) == {"search", "confirm"}
    for name in ("trials", "tasks", "curves", "steps", "failures"):
        local_files, ray_files = (
            {path.name for path in (tmp_path / executor / name).iterdir()}
            for executor in ("local", "ray")
        )
        assert local_files == ray_files
