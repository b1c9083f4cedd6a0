"""Fuzzing: no study file, results directory or argument leads to a traceback."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import string
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from ngm_tune.cli import main
from ngm_tune.errors import UserError
from ngm_tune.results.directory import Results
from ngm_tune.results.outcome import Outcome
from ngm_tune.search.optuna_journal import open_storage
from ngm_tune.study.files import load_study
from ngm_tune.study.plan import StudyPlan
from ngm_tune.study.study import Study
from ngm_tune.workspace.manifest import load_stored_study
from ngm_tune.workspace.resume import open_study
from tests.helpers.comparing import SCHEMA_1

COMMANDS = ("analyze", "doctor", "defaults")

text = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)
words = st.one_of(
    text,
    st.sampled_from(["split-digits", "sgd", "ngm-sgd", "avg_acc", "avg_sg", "tpe", "paper", "all"]),
)
numbers = st.one_of(
    st.integers(-(2**63), 2**63 - 1), st.floats(), st.sampled_from([0, 1, 2, 5, 0.5, 1.0])
)
scalars = st.one_of(st.booleans(), numbers, words)
keys = st.one_of(
    st.sampled_from(sorted(Study.model_fields)),
    st.sampled_from(["lr", "max_configurations", "seeds", "cpu"]),
    text,
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3)),
    max_leaves=6,
)
VALID_STUDY: dict[str, Any] = {
    "title": "x",
    "benchmarks": ["split-digits"],
    "methods": ["ngm-sgd", "sgd"],
    "trials": 2,
    "seeds": 2,
    "reference_point": {"avg_acc": 0.1, "avg_sg": 1.0},
}


def run_command(arguments: Sequence[str]) -> tuple[int, str, str]:
    """Run a command in this process; return its exit code and output.

    Exceptions other than SystemExit propagate.
    """
    out, err = io.StringIO(), io.StringIO()
    argv = sys.argv
    sys.argv = ["ngm-tune", *arguments]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
        code: Any = 0
    except SystemExit as ended:
        code = ended.code or 0
    finally:
        sys.argv = argv
    return int(code), out.getvalue(), err.getvalue()


def load(path: Path) -> Study | None:
    """Load a study, or return None if it is refused in one sentence."""
    try:
        return load_study(str(path))
    except UserError as error:
        assert "\n" not in str(error)
        assert str(error).startswith(f"{path}: ")
        return None


@given(st.dictionaries(keys, values, max_size=4))
def test_any_study_is_accepted_or_refused_in_one_sentence(
    changes: dict[str, Any],
) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "study.toml"
        path.write_text(tomli_w.dumps({**VALID_STUDY, **changes}), encoding="utf-8")
        study = load(path)
        if study is not None:  # study.toml can then store it
            path.write_text(study.to_toml(), encoding="utf-8")
            assert load(path) == study


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_as_a_study_in_one_sentence(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "study.toml"
        path.write_bytes(content)
        assert load(path) is None


@given(keys, st.one_of(text, values.map(lambda value: tomli_w.dumps({"x": value})[4:].strip())))
def test_any_override_is_accepted_or_refused_in_one_sentence(key: str, value: str) -> None:
    try:
        load_study("quickstart", [f"{key}={value}"])
    except UserError as error:
        assert "\n" not in str(error)


@given(
    st.sampled_from(["run", "analyze", "doctor", "defaults", "data", "studies", "methods", ""]),
    st.lists(
        st.one_of(
            st.sampled_from(
                ["--set", "--results", "--select", "--output", "--look", "--help", "-v"]
            ),
            st.text(string.ascii_letters + string.digits + "-=./:{}[]\"'", max_size=12),
        ),
        max_size=4,
    ),
)
def test_any_arguments_are_accepted_or_refused_without_a_traceback(
    command: str, arguments: list[str]
) -> None:
    if command == "run":  # this study does not exist, so no run starts
        arguments = ["no-such-study", *arguments]
    with TemporaryDirectory() as folder, contextlib.chdir(folder):
        code, _, err = run_command([command, *arguments] if command else arguments)
    assert code in (0, 2)
    assert "Traceback" not in err


@pytest.mark.slow
@pytest.mark.timeout(600)
@given(data=st.data())
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@pytest.mark.parametrize("command", COMMANDS)
def test_any_damage_to_results_is_reported_without_a_traceback(
    command: str, data: st.DataObject
) -> None:
    with TemporaryDirectory() as folder:
        location = Path(folder) / "results"
        shutil.copytree(SCHEMA_1, location)
        files = sorted(path for path in location.rglob("*") if path.is_file())
        for path in data.draw(st.lists(st.sampled_from(files), min_size=1, max_size=3)):
            damage_file(path, data)
        assert_accepted_or_refused(command, location)


@pytest.mark.slow
@pytest.mark.timeout(600)
@given(data=st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@pytest.mark.parametrize("command", COMMANDS)
def test_any_change_to_the_manifest_is_reported_without_a_traceback(
    command: str, data: st.DataObject
) -> None:
    with TemporaryDirectory() as folder:
        location = Path(folder) / "results"
        shutil.copytree(SCHEMA_1, location)
        for name, read, write in (
            ("study.toml", tomllib.loads, tomli_w.dumps),
            ("environment.json", json.loads, json.dumps),
        ):
            path = location / name
            content = read(path.read_text())
            replace_entry(content, data)
            path.write_text(write(content), encoding="utf-8")
        assert_accepted_or_refused(command, location)


@given(data=st.data())
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
def test_doctor_repairs_any_change_to_the_journal(
    data: st.DataObject,
) -> None:
    """Outcomes do not depend on Optuna's journal: a changed one is refused or has no effect."""
    with TemporaryDirectory() as folder:
        location = Path(folder) / "results"
        shutil.copytree(SCHEMA_1, location)
        study = load_stored_study(Results(str(location)), "study")
        assert study is not None
        expected = read_outcomes_of_study(study, location)
        journal = location / "optuna.journal"
        lines = [json.loads(line) for line in journal.read_text().splitlines()]
        for _ in range(data.draw(st.integers(1, 3))):
            index = data.draw(st.integers(0, len(lines) - 1))
            kind = data.draw(st.sampled_from(["change", "remove", "duplicate", "replace"]))
            if kind == "change" and isinstance(lines[index], dict):
                replace_entry(lines[index], data)
            elif kind == "remove" and len(lines) > 1:
                del lines[index]
            elif kind == "duplicate":
                lines.insert(index, lines[index])
            else:
                lines[index] = data.draw(values)
        journal.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
        try:
            assert read_outcomes_of_study(study, location) == expected
        except UserError as error:
            assert "ngm-tune doctor" in str(error)
        assert_accepted_or_refused("doctor", location)
        assert read_outcomes_of_study(study, location) == expected


def read_outcomes_of_study(study: Study, location: Path) -> list[list[Outcome]]:
    """Resume a study; return the outcomes of each search and group of fixed runs.

    Assert that no trial is left running in Optuna's journal.
    """
    with open_study(StudyPlan.resolve(study), str(location)) as sources:
        outcomes = [source.outcomes for source in sources]
    storage = open_storage(location / "optuna.journal")
    for source in sources:
        if source.phase == "search":
            search = storage.get_study_id_from_name(f"{source.benchmark}/{source.method.name}")
            states = {trial.state for trial in storage.get_all_trials(search)}
            assert TrialState.RUNNING not in states
    return outcomes


def assert_accepted_or_refused(command: str, location: Path) -> None:
    """Assert that a command accepts the results or refuses them in one sentence."""
    flags = ["--no-images"] if command == "analyze" else []
    code, out, err = run_command([command, str(location), *flags])
    assert code in ((0, 1) if command == "doctor" else (0, 2)), (code, out, err)
    assert "Traceback" not in err
    assert err.count("\n") == (code == 2), err
    if code == 2:
        assert err.startswith("ngm-tune: ")


def replace_entry(content: dict[str, Any], data: st.DataObject) -> None:
    """Replace one value, at any depth."""
    key = data.draw(st.sampled_from(sorted(content)) if content else keys)
    inner = content.get(key)
    if isinstance(inner, dict) and data.draw(st.booleans()):
        replace_entry(inner, data)
    else:
        content[key] = data.draw(values)


def damage_file(path: Path, data: st.DataObject) -> None:
    """Remove, truncate, patch or replace a file."""
    if not path.exists():
        return
    content = path.read_bytes()
    kind = data.draw(st.sampled_from(["remove", "truncate", "patch", "replace"]))
    if kind == "remove":
        path.unlink()
    elif kind == "truncate":
        path.write_bytes(content[: data.draw(st.integers(0, max(0, len(content) - 1)))])
    elif kind == "patch":
        start = data.draw(st.integers(0, max(0, len(content) - 1)))
        patch = data.draw(st.binary(min_size=1, max_size=8))
        path.write_bytes(content[:start] + patch + content[start + len(patch) :])
    else:
        path.write_bytes(data.draw(st.binary(max_size=100)))
