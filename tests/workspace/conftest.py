"""Small studies that the tests of workspaces run once; their results are quick to examine."""

from __future__ import annotations

import shutil
from pathlib import Path
from textwrap import dedent

import pytest

from tests.conftest import Finished
from tests.helpers.commands import Command

SMALL = """
    title = "A small study"
    benchmarks = ["split-digits"]
    methods = ["sgd"]
    searches = 1
    trials = 2
    seeds = [7, 8]
    iterations_per_task = 8
    eval_every = 2
    eval_examples = 20
    reference_point = { avg_acc = 0.1, avg_sg = 1.0 }
    confirm = { max_configurations = 1, seeds = 2 }
"""
EVERY_STATUS = """
    title = "A small study with completed, failed and diverged runs"
    benchmarks = ["split-digits"]
    methods = ["ngm-sgd", "sgd", "raises", "diverges"]
    searches = 1
    trials = 2
    seeds = [7, 8]
    iterations_per_task = 8
    eval_every = 2
    eval_examples = 20
    reference_point = { avg_acc = 0.1, avg_sg = 1.0 }
    confirm = { max_configurations = 0 }
"""


@pytest.fixture(scope="session")
def study_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("study") / "small.toml"
    path.write_text(dedent(SMALL))
    return path


@pytest.fixture(scope="session")
def finished(
    ngm_tune: Command, study_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Finished:
    """Results of the small study; tests must not change them."""
    location = tmp_path_factory.mktemp("results") / "small"
    return Finished(location, ngm_tune("run", study_file, "--results", location))


@pytest.fixture(scope="session")
def study_of_every_status(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("study") / "every_status.toml"
    path.write_text(dedent(EVERY_STATUS))
    return path


@pytest.fixture(scope="session")
def results_of_every_status(
    ngm_tune: Command, study_of_every_status: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    location = tmp_path_factory.mktemp("results") / "every_status"
    assert ngm_tune("run", study_of_every_status, "--results", location).code == 0
    return location


@pytest.fixture
def copy_of_every_status(results_of_every_status: Path, tmp_path: Path) -> Path:
    """A copy of results with completed, diverged and failed runs, which a test may damage."""
    return shutil.copytree(results_of_every_status, tmp_path / "every_status")
