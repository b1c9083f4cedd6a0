"""The command line: what it says, and its exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from ngm_tune import __version__
from ngm_tune.cli import app

from .conftest import Command, Finished

runner = CliRunner()


def test_version() -> None:
    assert runner.invoke(app, ["--version"]).stdout == f"ngm-tune {__version__}\n"


@pytest.mark.parametrize("command", ["run", "analyze", "defaults"])
def test_help_has_examples(command: str) -> None:
    shown = runner.invoke(app, [command, "--help"])
    assert shown.exit_code == 0
    assert f"ngm-tune {command}" in shown.stdout
    assert "Example" in shown.stdout


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("studies", ["quickstart", "digits", "split-digits"]),
        ("benchmarks", ["split-digits", "class-incremental", "rotated-digits"]),
        ("methods", ["ngm-sgd", "momentum-sgd", "adam", "ngm-sgd-frozen-gain", "dc_gain"]),
    ],
)
def test_listings(command: str, words: list[str]) -> None:
    shown = runner.invoke(app, [command])
    assert shown.exit_code == 0
    assert all(word in shown.stdout for word in words)


def test_methods_of_installed_packages_are_listed(ngm_tune: Command) -> None:
    shown = ngm_tune("methods")
    assert shown.code == 0
    assert "raises" in shown.out
    assert "Diverges" in shown.out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("run", "nope"), "nope: neither a file nor a study of ngm-tune"),
        (("run", "quickstart", "--set", "trials=-1"), "trials = -1: input should be greater"),
        (("run", "quickstart", "--results", "/proc/none"), "/proc/none: cannot be written to"),
        (("run", "quickstart", "--results", "s3x://a"), "s3x://a: a study is run into a folder"),
        (("analyze", "nowhere"), "nowhere: no results there"),
        (("analyze", "s3x://a"), "s3x://a: no usable results location"),
        (("data", "mnist"), "no benchmark 'mnist'; there are split-digits"),
        (("data", "split-mnist", "--data", "nowhere"), "--data nowhere: no such folder"),
        (("defaults", "nowhere"), "nowhere: no results there"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    ngm_tune: Command, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    answer = ngm_tune(*arguments, cwd=tmp_path)
    assert answer.code == 2
    assert answer.out == ""
    assert answer.err.startswith("ngm-tune: ")
    assert sentence in answer.err
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize("command", ["analyze", "defaults"])
def test_an_unknown_pick(finished: Finished, ngm_tune: Command, command: str) -> None:
    answer = ngm_tune(command, finished.location, "--pick", "best")
    assert (answer.code, answer.out) == (2, "")
    assert "--pick best: allowed are knee, avg_acc, avg_sg" in answer.err


def test_unknown_options_exit_with_2(ngm_tune: Command) -> None:
    answer = ngm_tune("run", "quickstart", "--nope")
    assert answer.code == 2
    assert "Traceback" not in answer.err
