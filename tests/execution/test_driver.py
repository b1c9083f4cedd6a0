"""Driving a study: addresses of Ray clusters, and complete studies."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import pytest

from ngm_tune.errors import UserError
from ngm_tune.execution.driver import drive
from ngm_tune.study.files import load_study
from tests.helpers.commands import environment


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("127.0.0.1:1", "the Ray cluster at 127.0.0.1:1 cannot be reached: "),
        ("ray://127.0.0.1:1", "the Ray cluster at ray://127.0.0.1:1 cannot be reached: "),
        ("ray://nowhere.invalid:1", "cannot be reached: "),
        ("somewhere", "--address somewhere: must be auto, HOST:PORT or ray://HOST:PORT"),
    ],
)
@pytest.mark.parametrize("by_environment", [False, True])
def test_a_cluster_that_does_not_exist_is_reported_at_once(
    tmp_path: Path,
    address: str,
    sentence: str,
    by_environment: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if by_environment:
        monkeypatch.setenv("RAY_ADDRESS", address)
    started_at = time.monotonic()
    with pytest.raises(UserError) as refused:
        drive(
            load_study("quickstart"),
            str(tmp_path / "study"),
            address=None if by_environment else address,
        )
    assert time.monotonic() - started_at < 60
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "study" / "study.toml").exists()


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_a_complete_study_answers_without_importing_torch_or_ray(
    complete: Path, options: tuple[str, ...]
) -> None:
    command = ["ngm-tune", "run", str(complete / "study.toml"), "--results", str(complete)]
    program = f"""
        import sys
        from ngm_tune.cli import main
        sys.argv = {[*command, *options]}
        try:
            main()
        finally:
            assert not {{"torch", "ray", "sklearn"}} & sys.modules.keys()
    """
    done = subprocess.run(
        [sys.executable, "-c", dedent(program)],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "quickstart is complete: " in done.stdout


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a study whose file gives hyper-parameters, which are checked by building."""
    location = tmp_path_factory.mktemp("results") / "complete"
    changes = ("searches=1", "trials=1", "seeds=1", "confirm={}", "iterations_per_task=2")
    settings = "settings={ sgd = { lr = 0.1 } }"
    study = load_study("quickstart", ['methods=["sgd"]', *changes, settings])
    assert drive(study, str(location), executor="local").complete
    return location
