"""The command line: its output and exit codes."""

from __future__ import annotations

import logging
import shutil
import sys
from pathlib import Path
from typing import NoReturn

import pytest
import ray
from PIL import Image
from typer.testing import CliRunner

from ngm_tune import __version__
from ngm_tune.cli import app, main
from ngm_tune.errors import UserError
from tests.helpers.commands import Command
from tests.helpers.comparing import SCHEMA_1

runner = CliRunner()


@pytest.mark.parametrize(("options", "shown"), [([], ["WARNING"]), (["-v"], ["INFO", "WARNING"])])
def test_verbose_shows_the_log_of_ngm_tune_on_stderr(
    ngm_tune: Command,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    options: list[str],
    shown: list[str],
) -> None:
    logger = logging.getLogger("ngm_tune.execution.driver")

    def drive(*args: object, **settings: object) -> NoReturn:
        logger.info("a record")
        logger.warning("a record")
        raise UserError("stopped by the test")

    monkeypatch.setattr("ngm_tune.execution.driver.drive", drive)
    answer = ngm_tune("run", "quickstart", *options, cwd=tmp_path)
    *records, error = answer.err.splitlines()
    expected = [f"{logger.name} {level}: a record" for level in shown]
    assert [record.split(" ", 2)[2] for record in records] == expected
    assert error == "ngm-tune: stopped by the test"
    assert "a record" not in answer.out


def test_the_library_does_not_configure_logging() -> None:
    """After a command, the logger of the package has only its null handler."""
    (handler,) = logging.getLogger("ngm_tune").handlers
    assert isinstance(handler, logging.NullHandler)
    assert logging.getLogger("ngm_tune").level == logging.NOTSET


def test_version_is_printed() -> None:
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
def test_lists_have_the_registered_names(command: str, words: list[str]) -> None:
    shown = runner.invoke(app, [command])
    assert shown.exit_code == 0
    assert all(word in shown.stdout for word in words)


def test_methods_of_installed_packages_are_listed(ngm_tune: Command) -> None:
    shown = ngm_tune("methods")
    assert shown.code == 0
    assert "raises" in shown.out
    assert "Diverges" in shown.out


def quick(*changes: str) -> tuple[str, ...]:
    """Return the arguments that run the quickstart study with some changes."""
    return ("run", "quickstart", *(word for change in changes for word in ("--set", change)))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("run", "nope"), "nope: neither a file nor a shipped study"),
        (quick("trials=-1"), "trials = -1: input should be greater"),
        (quick("sampler=cmaes"), "sampler = 'cmaes': it supports a single objective only; all"),
        (quick("sampler=tpee"), "sampler = 'tpee': input should be 'tpe', 'nsga2', 'gp' or"),
        (quick('objectives=["speed"]'), "no objective 'speed'; allowed are avg_acc"),
        (quick('constraints=["speed >= 1"]'), "'speed >= 1': must be a finite bound on one of"),
        (quick('constraints=["fast"]'), "'fast' is not a constraint; it must have the form"),
        (
            quick("search_space.sgd.lr=[0.1, 0.1]"),
            "search_space.sgd.lr = [0.1, 0.1]: the range is empty",
        ),
        (
            quick("search_space.sgd.speed=[0, 1]"),
            "search_space.sgd has speed, which is not a search coordinate",
        ),
        (quick("reference_point.avg_acc=1.5"), "reference_point.avg_acc = 1.5: must be a number w"),
        (quick("reference_point={ avg_sg = 1.0 }"), "must give one value for each of the obj"),
        (quick("racing={}"), "racing was removed: at equal compute one seed per trial finds"),
        (quick("early_stopping={}"), "early_stopping was removed: at equal compute it finds no"),
        (
            quick("confirm.max_configurationsp=1"),
            "unknown key 'max_configurationsp' in confirm (did you mean 'max_conf",
        ),
        (quick('points_to_evaluate=["paper"]'), "the paper has no settings for split-digits"),
        (("run", "quickstart", "--results", "/proc/none"), "/proc/none: cannot be created"),
        (("run", "quickstart", "--results", "/mnt/none/a"), "the parent folder /mnt/none does not"),
        (("run", "quickstart", "--results", "s3x://a"), "s3x://a: not a usable results location"),
        (("run", "quickstart", "--warm-start", "nowhere"), "nowhere: no results found"),
        (
            (*quick('methods=["adam"]'), "--warm-start", str(SCHEMA_1)),
            "no completed, feasible trial of adam",
        ),
        (("analyze", "nowhere"), "nowhere: no results found"),
        (("analyze", "s3x://a"), "s3x://a: not a usable results location"),
        (("data", "mnist"), "no benchmark 'mnist'; the benchmarks are split-digits"),
        (("data", "split-mnist", "--data", "nowhere"), "--data nowhere: no such folder"),
        (("defaults", "nowhere"), "nowhere: no results found"),
        (("doctor", "nowhere"), "nowhere: no results found"),
    ],
)
def test_invalid_input_is_one_sentence_and_exit_code_2_before_anything_starts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["ngm-tune", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert ended.value.code == 2
    assert out == ""
    assert err.startswith("ngm-tune: ")
    assert sentence in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
    assert not ray.is_initialized()


@pytest.mark.parametrize("command", ["analyze", "defaults"])
def test_an_unknown_criterion_is_refused(tmp_path: Path, ngm_tune: Command, command: str) -> None:
    copy = shutil.copytree(SCHEMA_1, tmp_path / "copy")
    answer = ngm_tune(command, copy, "--select", "best")
    assert (answer.code, answer.out) == (2, "")
    assert "--select best: allowed are knee, avg_acc, avg_sg, and a bound" in answer.err


def test_unknown_options_exit_with_2(ngm_tune: Command) -> None:
    answer = ngm_tune("run", "quickstart", "--nope")
    assert answer.code == 2
    assert "Traceback" not in answer.err


def test_custom_data_is_described(tmp_path: Path) -> None:
    for name in ("ant", "bee", "cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(10):
            image = Image.new("RGB", (8, 8), (20 * number, 0, 255))
            image.save(tmp_path / "pets" / name / f"{number}.png")
    study = tmp_path / "own.toml"
    study.write_text(
        'title = "Own"\nbenchmarks = ["custom"]\nmethods = ["sgd"]\ntrials = 1\n'
        "reference_point = { avg_acc = 0.1, avg_sg = 1.0 }\n"
        'custom = { path = "pets", tasks = 2, size = 8 }\n'
    )
    shown = runner.invoke(app, ["data", "custom", "--study", str(study), "--data", str(tmp_path)])
    assert shown.exit_code == 0
    words = " ".join(shown.stdout.split())
    assert f"images from {tmp_path / 'pets'}; pixel mean 0." in words
    assert "0.000, 1.000, pixel standard deviation 0." in words
    assert "task 1: ant, bee" in words
    assert "task 2: cat, dog" in words
    ran = runner.invoke(
        app,
        [
            *("run", str(study), "--data", str(tmp_path), "--results", str(tmp_path / "results")),
            *("--executor", "local", "--set", "searches=1", "--set", "iterations_per_task=1"),
            *("--set", "confirm.max_configurations=0", "--set", "seeds=1"),
        ],
    )
    assert "Tasks of custom: ant, bee; cat, dog" in ran.stdout
