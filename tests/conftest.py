"""A small study, run once for all tests through the command line, Ray and Optuna."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple
from unittest.mock import patch

import polars as pl
import pytest
import torch
from hypothesis import HealthCheck, settings

from ngm_tune.methods import methods
from ngm_tune.results.directory import Results
from ngm_tune.results.schema import Table

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
    trials = 2
    seeds = [7, 8]
    iterations_per_task = 24
    eval_every = 2
    eval_examples = 20
    eval_precision = "mixed"
    reference_point = { avg_acc = 0.1, avg_sg = 1.0 }
    confirm = { max_configurations = 1, seeds = 2 }
"""


SCHEMA_1 = Path(__file__).parent / "data" / "schema-1"
"""Results as ngm-tune wrote them before there were ``tasks/`` and ``search_`` columns."""


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


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
    return installed(tmp_path_factory.mktemp("site"), PLUGIN, "raises", "diverges")


def installed(site: Path, source: str, *names: str) -> Path:
    """A folder to import from that has a package with methods, by entry points."""
    (site / "own_methods.py").write_text(dedent(source))
    info = site / "own_methods-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-methods\nVersion: 1.0\n")
    entries = "".join(f"{name} = own_methods:{name}\n" for name in names)
    (info / "entry_points.txt").write_text(f"[ngm_tune.methods]\n{entries}")
    return site


@pytest.fixture(scope="session")
def ngm_tune(plugin: Path) -> Command:
    """Run ``ngm-tune`` in a process of its own, with the plugin installed."""
    return command_with(plugin)


def command_with(site: Path) -> Command:
    """``ngm-tune`` in a process of its own, with a package installed."""

    def command(*arguments: str | Path, cwd: Path | None = None) -> Outcome:
        done = subprocess.run(
            [sys.executable, "-m", "ngm_tune", *map(str, arguments)],
            env=environment(site),
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return command


PLAIN = Path(__file__).parent / "plain"
"""On the path of subprocesses, so that Ray is what users have. The agent of Ray's dashboard, which
clusters of tests have for their jobs, would also wait seconds for a port where another one runs."""


def environment(*paths: Path) -> dict[str, str]:
    """The environment of a subprocess: ours, hermetic, with more to import."""
    return {
        **{k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"},
        "PYTHONPATH": os.pathsep.join(map(str, (*paths, PLAIN))),
        "RAY_AUTH_MODE": "disabled",
    }


def wait_for(condition: Callable[[], object], *, seconds: float = 120.0) -> None:
    """Wait until something is true, and fail if it never is."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def assert_the_same(location: str | Path, whole: Path) -> None:
    """Results are those of another run, row for row and iteration for iteration, none twice."""
    tables: tuple[Table, ...] = ("trials", "tasks", "curves", "steps")
    for table in tables:
        found, expected = (
            pl.DataFrame(Results(str(place)).read(table))
            .drop("wall_seconds", "node", strict=False)
            .sort("trial_id", "seed", maintain_order=True)
            for place in (location, whole)
        )
        assert found.equals(expected), table


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
def own_methods(plugin: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Of the small study, in this process too."""
    monkeypatch.syspath_prepend(plugin)
    methods.cache_clear()
    yield
    methods.cache_clear()


@pytest.fixture
def copy(finished: Finished, tmp_path: Path) -> Path:
    """Results of the small study, to be damaged."""
    shutil.copytree(finished.location, tmp_path / "small")
    return tmp_path / "small"
