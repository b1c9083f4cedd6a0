"""The local executor and the Ray executor write the same rows, bit for bit."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from textwrap import dedent
from unittest.mock import patch

import numpy as np
import polars as pl
import pytest
from PIL import Image

from ngm_tune.results.directory import Results
from ngm_tune.training import step_cost
from tests.helpers.commands import Command, Outcome, in_process, in_subprocess, install_methods
from tests.helpers.comparing import SCHEMA_1, assert_same_results
from tests.helpers.unreliable import UNRELIABLE

STUDY = (
    *("run", "quickstart", "--set", 'methods=["ngm-sgd", "sgd", "raises", "diverges"]'),
    *("--set", "searches=2", "--set", "trials=3", "--set", "seeds=1"),
    *("--set", "iterations_per_task=12"),
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
    assert set(trials["status"]) == {"completed", "failed", "diverged"}
    assert set(trials["phase"]) == {"search", "confirm"}
    for name in ("trials", "tasks", "curves", "steps", "failures"):
        local_files, ray_files = (
            {path.name for path in (tmp_path / executor / name).iterdir()}
            for executor in ("local", "ray")
        )
        assert local_files == ray_files


LARGER_STUDY = """
    title = "Custom images and Rotated-Digits, with replay, probes and step costs"
    benchmarks = ["custom", "rotated-digits"]
    methods = ["ngm-sgd", "er", "unreliable"]
    searches = 1
    trials = 2
    seeds = 3
    iterations_per_task = 8
    strategy = "replay"
    buffer_size = 10
    max_concurrent_trials = 2
    probes = ["fast-and-slow"]
    cost = true
    reference_point = { avg_acc = 0.1, avg_sg = 1.0 }
    confirm = { max_configurations = 1, seeds = 1 }

    [fixed.er]
    buffer_size = 7

    [custom]
    path = "pets"
    tasks = 2
    size = 8
    channels = 1
    batch_size = 8
"""
ONE_NETWORK = """
    # Step costs of all networks would take minutes.
    from ngm_tune.training import step_cost

    step_cost.NETWORKS = step_cost.NETWORKS[:1]
    step_cost._SECONDS_PER_ROUND = 0.005
"""
"""Added to the module of a method, so that workers import it too."""


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(300)
def test_both_executors_extend_a_study_and_retry_its_failed_runs_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The study is started on the local executor with one trial of each method."""
    for name in ("NETWORKS", "_SECONDS_PER_ROUND"):  # the module changes them in this process too
        monkeypatch.setattr(step_cost, name, getattr(step_cost, name))
    (tmp_path / "site").mkdir()
    source = dedent(UNRELIABLE) + dedent(ONE_NETWORK)
    site = install_methods(tmp_path / "site", source, "unreliable")
    random = np.random.default_rng(0)
    for name in ("ant", "bee", "cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(15):
            pixels = random.integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / name / f"{number}.png")
    study, local, ray = (tmp_path / name for name in ("larger.toml", "local", "ray"))
    study.write_text(dedent(LARGER_STUDY))
    run = ("run", study, "--data", tmp_path, "--warm-start", SCHEMA_1)
    with patch.dict(os.environ, BREAK_METHOD="1"):
        started = in_process(site)(*run, "--set", "trials=1", "--results", local)
    assert (started.code, started.err) == (0, "")
    assert len(list((local / "failures").iterdir())) == 2
    shutil.copytree(local, ray)

    for command, location in ((in_process(site), local), (in_subprocess(site), ray)):
        extended = command(*run, "--retry-failed", "--results", location)
        assert (extended.code, extended.err) == (0, "")
    assert_same_results(ray, local)
    trials = pl.read_parquet(ray / "trials" / "*.parquet")
    assert "failed" not in set(trials["status"])
    assert set(trials["benchmark"]) == {"custom", "rotated-digits"}
    assert set(Results(str(ray)).read("probes")["quantity"].to_pylist()) >= {"fast_norm"}
    costs, expected = (
        pl.read_parquet(folder / "costs" / "larger.parquet").sort("method")
        for folder in (ray, local)
    )
    assert costs["method"].to_list() == ["er", "ngm-sgd", "unreliable"]
    assert costs["time_ratio"].is_finite().all()
    same = ["method", "family", "depth", "width", "parameters", "memory_ratio", "bytes"]
    assert costs.select(same).equals(expected.select(same))


METHODS_FILE = """
    from ngm_tune.methods import Method, get_method

    mine = Method(
        name="mine",
        title="Mine",
        source="tests",
        space=get_method("adam").space,
        build=lambda model, lr: get_method("adam").build(model, lr=lr),
    )
"""


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(300)
def test_both_executors_run_a_method_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file need not exist where the workers run; the cost of its steps is measured too."""
    for name in ("NETWORKS", "_SECONDS_PER_ROUND"):
        monkeypatch.setattr(step_cost, name, getattr(step_cost, name))
    file = tmp_path / "my.py"
    file.write_text(dedent(METHODS_FILE) + dedent(ONE_NETWORK))
    changes = ("searches=1", "trials=2", "seeds=1", "iterations_per_task=8", "cost=true")
    study = ("run", "quickstart", "--methods", "my.py", "--set", 'methods=["mine", "sgd"]')
    study += tuple(word for change in changes for word in ("--set", change))
    for command, name in ((in_process(), "local"), (in_subprocess(), "ray")):
        done = command(*study, "--results", name, cwd=tmp_path)
        assert (done.code, done.err) == (0, "")
    assert_same_results(tmp_path / "ray", tmp_path / "local")
    trials = pl.read_parquet(tmp_path / "ray" / "trials" / "*.parquet")
    assert set(trials["method"]) == {"mine", "sgd"}
    assert set(trials["status"]) == {"completed"}
    costs = pl.read_parquet(tmp_path / "ray" / "costs" / "quickstart.parquet")
    assert "mine" in set(costs["method"])
