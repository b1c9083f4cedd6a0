"""``--methods``, ``ngm-tune new-method`` and ``ngm-tune check-method``."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.helpers.commands import Command, Outcome, in_process, install_methods

BROKEN = """
    from optuna.distributions import FloatDistribution

    from ngm_tune.methods import Method


    def build(model, lr):
        raise RuntimeError("not today")


    broken = Method(
        name="broken",
        title="Broken",
        source="",
        space={"lr": FloatDistribution(0.01, 0.1, log=True)},
        build=build,
    )
"""
STUDY = (
    *("run", "quickstart", "--set", "searches=1", "--set", "trials=1", "--set", "seeds=1"),
    *("--set", "iterations_per_task=4", "--set", "confirm={ max_configurations = 0 }"),
)


@pytest.fixture
def ngm_tune(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(tmp_path)
    return in_process()


def refused(outcome: Outcome, *sentences: str) -> None:
    assert outcome.code == 2
    assert outcome.err.startswith("ngm-tune: ")
    assert outcome.err.count("\n") == 1
    for sentence in sentences:
        assert sentence in outcome.err


def write(text: str, name: str = "my.py") -> None:
    lines = [line.removeprefix("    ") for line in text.splitlines()]
    Path(name).write_text("\n".join(lines) + "\n")


def test_a_method_of_a_file_is_run_recorded_resumed_and_analyzed(ngm_tune: Command) -> None:
    assert "my-method" in ngm_tune("new-method", "my.py").out
    source = Path("my.py").read_text()
    study = (*STUDY, "--set", 'methods=["my-method", "sgd"]', "--results", "results")
    refused(ngm_tune(*study), "no method 'my-method'", "--methods FILE")
    assert not Path("results").exists()
    done = ngm_tune(*study, "--methods", "my.py")
    assert (done.code, done.err) == (0, "")

    environment = json.loads(Path("results/environment.json").read_text())
    stored = environment["methods"]["my-method"]["file"]
    assert stored["name"] == "my.py"
    assert Path("results", stored["copy"]).read_text() == source
    assert "file" not in environment["methods"]["sgd"]
    assert ngm_tune("analyze", "results", "--no-images").code == 0

    # The file is the same in another folder.
    Path("other").mkdir()
    Path("my.py").rename("other/my.py")
    assert "is complete" in ngm_tune(*study, "--methods", "other/my.py").out
    refused(ngm_tune(*study), "no method 'my-method'", "--methods FILE")
    refused(
        ngm_tune("doctor", "results"),
        "results: its method my-method is in my.py, which must be given with --methods",
        f"results/{stored['copy']} is a copy",
    )
    doctor = ngm_tune("doctor", "results", "--methods", "other/my.py")
    assert (doctor.code, doctor.out) == (0, "results: nothing is damaged\n")

    Path("my.py").write_text(source + "# changed\n")
    for options in ((), ("--dry-run",), ("--retry-failed",), ("--set", "trials=2")):
        refused(
            ngm_tune(*study, *options, "--methods", "my.py"),
            "results: 1 run of my-method used the method in ",
            "results/methods/my.",
            "choose another directory with --results",
        )
    # A method without trials may change, and others may be added.
    assert ngm_tune(*study, "--methods", "other/my.py").code == 0


def test_a_method_that_has_only_failed_can_be_mended(ngm_tune: Command) -> None:
    write(BROKEN)
    study = (*STUDY, "--set", 'methods=["broken", "sgd"]', "--methods", "my.py")
    study += ("--results", "results")
    assert "1 of 2 runs failed" in ngm_tune(*study).out
    (failure,) = Path("results/failures").iterdir()
    assert 'raise RuntimeError("not today")' in failure.read_text()
    write(BROKEN.replace('raise RuntimeError("not today")', "return SGD(model.parameters(), lr)"))
    text = Path("my.py").read_text()
    Path("my.py").write_text("from torch.optim import SGD\n" + text)
    refused(ngm_tune(*study), "1 run of broken used the method in")
    mended = ngm_tune(*study, "--retry-failed")
    assert (mended.code, mended.err) == (0, "")
    assert "failed" not in mended.out
    assert len(list(Path("results/methods").iterdir())) == 2
    environment = json.loads(Path("results/environment.json").read_text())
    copy = environment["methods"]["broken"]["file"]["copy"]
    assert Path("results", copy).read_text() == Path("my.py").read_text()


def test_the_list_names_packages_files_and_broken_entry_points(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    ngm_tune = in_process(install_methods(site, BROKEN, "broken", "missing"))
    assert ngm_tune("new-method", "my.py", cwd=tmp_path).code == 0
    listed = ngm_tune("methods", "--methods", "my.py", cwd=tmp_path)
    assert listed.code == 0
    words = " ".join(listed.out.split())
    assert "own-methods 1.0" in words
    assert (
        "Not usable: missing: the entry point missing = own_methods:missing of own-methods" in words
    )
    assert "my-method" in words
    adagrad = next(line for line in listed.out.splitlines() if line.startswith("torch:Adagrad "))
    assert f"torch {version('torch')}" in adagrad
    assert "pytorch_optimizer:ScheduleFreeAdamW " in listed.out  # not shortened
    # The broken entry point stops the studies that name its method, and no other.
    for name, code in (("missing", 2), ("sgd", 0)):
        study = (*STUDY, "--set", f'methods=["{name}"]', "--results", f"results-{name}")
        done = ngm_tune(*study, cwd=tmp_path)
        assert done.code == code
    refused(ngm_tune(*STUDY, "--set", 'methods=["missing"]', cwd=tmp_path), "AttributeError")


@pytest.mark.parametrize(
    "command", [("check-method",), ("methods", "--methods"), (*STUDY, "--methods")]
)
def test_a_file_that_cannot_be_used_is_one_sentence_and_exit_code_2(
    ngm_tune: Command, command: tuple[str, ...]
) -> None:
    refused(ngm_tune(*command, "my.py"), "my.py: no such file")
    refused(ngm_tune(*command, "."), ".: is a folder")
    write("import os\nos.nothing\n")
    refused(ngm_tune(*command, "my.py"), "my.py: line 2: AttributeError: ")
    assert [path.name for path in Path().iterdir()] == ["my.py"]


def test_check_method_reports_each_check_and_the_line_of_a_failure(ngm_tune: Command) -> None:
    write(BROKEN)
    checked = ngm_tune("check-method", "my.py")
    assert (checked.code, checked.err) == (1, "")
    lines = checked.out.splitlines()
    assert lines[0] == "broken"
    assert "  FAILED  The method has a title and a source, which tables and reports show" in lines
    assert "          line 8: RuntimeError: not today" in lines
    assert any(line.startswith("  ok ") for line in lines)
    assert lines[-1].startswith("my.py: ")
    assert lines[-1].endswith(" failed")


def test_check_method_says_that_pytest_is_missing(
    ngm_tune: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ngm_tune("new-method", "my.py").code == 0
    for name in ("ngm_tune.testing", "ngm_tune.testing.check"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "pytest", None)
    refused(ngm_tune("check-method", "my.py"), "pip install pytest")


def test_new_method_does_not_overwrite(ngm_tune: Command) -> None:
    Path("my.py").write_text("mine\n")
    refused(ngm_tune("new-method", "my.py"), "my.py: exists")
    assert Path("my.py").read_text() == "mine\n"
