"""A small study, run once for all tests through the command line and Optuna, without Ray."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Iterator
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple
from unittest.mock import patch

import pytest
import torch
from hypothesis import HealthCheck, settings

from tests.helpers.commands import Command, Outcome, in_process, install_methods, with_package

# Machines that tests run on can be slow for a moment, which says nothing about the code.
settings.register_profile(
    "ngm-tune",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="CI" in os.environ,
)
settings.load_profile("ngm-tune")

PLUGIN = """
    from optuna.distributions import FloatDistribution
    from torch.optim import SGD

    from ngm_tune.methods import Method

    LR = {"lr": FloatDistribution(0.01, 0.1, log=True)}


    def explode(model, lr):
        raise RuntimeError("<b>no such luck</b>")


    raises = Method(name="raises", title="Raises <i>", source="tests", space=LR, build=explode)
    diverges = Method(
        name="diverges",
        title="Diverges",
        source="tests",
        space=LR,
        build=lambda model, lr: SGD(model.parameters(), lr=1e9 * lr),
    )
"""

STUDY = """
    title = "A small study </script><script>alert(1)</script>"
    benchmarks = ["split-digits", "rotated-digits"]
    methods = ["ngm-sgd", "sgd", "raises", "diverges"]
    searches = 1
    trials = 2
    seeds = [7, 8]
    iterations_per_task = 24
    eval_every = 2
    eval_examples = 20
    eval_precision = "mixed"
    reference_point = { avg_acc = 0.1, avg_sg = 1.0 }
    confirm = { max_configurations = 1, seeds = 2 }
"""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """What a test does to the environment ends with it: commands that run in this process set some.

    Else one with ``--data`` makes those skip that want real data.
    """
    with patch.dict(os.environ):
        return (yield)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package of someone's own with two methods, found through its entry points."""
    return install_methods(tmp_path_factory.mktemp("site"), PLUGIN, "raises", "diverges")


@pytest.fixture(scope="session")
def ngm_tune(plugin: Path) -> Command:
    """``ngm-tune`` in this process, with the plugin installed; studies run without Ray."""
    return in_process(plugin)


@pytest.fixture(scope="session")
def study_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("study") / "small.toml"
    path.write_text(dedent(STUDY))
    return path


class Finished(NamedTuple):
    location: Path
    outcome: Outcome


@pytest.fixture(scope="session")
def finished(
    ngm_tune: Command, study_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Finished:
    """The results of the small study; tests leave them as they are."""
    location = tmp_path_factory.mktemp("results") / "small"
    return Finished(location, ngm_tune("run", study_file, "--results", location))


@pytest.fixture
def own_methods(plugin: Path) -> Iterator[None]:
    """Of the small study, in this process too."""
    with with_package(plugin):
        yield


@pytest.fixture
def copy(finished: Finished, tmp_path: Path) -> Path:
    """Results of the small study, to be damaged."""
    shutil.copytree(finished.location, tmp_path / "small")
    return tmp_path / "small"
