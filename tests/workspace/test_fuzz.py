"""Whatever is in study files, results directories and arguments, no traceback reaches the user."""

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
from ngm_tune.workspace.manifest import stored_study
from ngm_tune.workspace.resume import opened
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
GOOD: dict[str, Any] = {
    "title": "x",
    "benchmarks": ["split-digits"],
    "methods": ["ngm-sgd", "sgd"],
    "trials": 2,
    "seeds": 2,
    "reference_point": {"avg_acc": 0.1, "avg_sg": 1.0},
}


def said_of(arguments: Sequence[str]) -> tuple[int, str, str]:
    """What a command answers, run in this process; anything but an exit code is raised."""
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
    """The study in a file, or None with one sentence about it."""
    try:
        return load_study(str(path))
    except UserError as error:
        assert "\n" not in str(error)
        assert str(error).startswith(f"{path}: ")
        return None


@given(st.dictionaries(keys, values, max_size=4))
def test_any_entries_of_a_study_are_taken_or_refused_in_a_sentence(
    changes: dict[str, Any],
) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "study.toml"
        path.write_text(tomli_w.dumps({**GOOD, **changes}), encoding="utf-8")
        study = load(path)
        if study is not None:  # and then it can be kept with the results, and read again
            path.write_text(study.to_toml(), encoding="utf-8")
            assert load(path) == study


@given(st.binary(max_size=200))
def test_any_bytes_as_a_study_are_refused_in_a_sentence(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "study.toml"
        path.write_bytes(content)
        assert load(path) is None


@given(keys, st.one_of(text, values.map(lambda value: tomli_w.dumps({"x": value})[4:].strip())))
def test_any_override_is_taken_or_refused_in_a_sentence(key: str, value: str) -> None:
    try:
        load_study("quickstart", [f"{key}={value}"])
    except UserError as error:
        assert "\n" not in str(error)


@given(
    st.sampled_from(["run", "analyze", "doctor", "defaults", "data", "studies", "methods", ""]),
    st.lists(
        st.one_of(
            st.sampled_from(["--set", "--results", "--pick", "--output", "--look", "--help", "-v"]),
            st.text(string.ascii_letters + string.digits + "-=./:{}[]\"'", max_size=12),
        ),
        max_size=4,
    ),
)
def test_any_arguments_are_taken_or_refused_without_a_traceback(
    command: str, arguments: list[str]
) -> None:
    if command == "run":  # of no study that there is, so that none is started
        arguments = ["no-such-study", *arguments]
    with TemporaryDirectory() as folder, contextlib.chdir(folder):
        code, _, err = said_of([command, *arguments] if command else arguments)
    assert code in (0, 2)
    assert "Traceback" not in err


@pytest.mark.slow
@pytest.mark.timeout(600)
@given(data=st.data())
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@pytest.mark.parametrize("command", COMMANDS)
def test_any_damage_to_results_is_said_without_a_traceback(
    command: str, data: st.DataObject
) -> None:
    with TemporaryDirectory() as folder:
        location = Path(folder) / "results"
        shutil.copytree(SCHEMA_1, location)
        files = sorted(path for path in location.rglob("*") if path.is_file())
        for path in data.draw(st.lists(st.sampled_from(files), min_size=1, max_size=3)):
            harm(path, data)
        assert_taken_or_said(command, location)


@pytest.mark.slow
@pytest.mark.timeout(600)
@given(data=st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@pytest.mark.parametrize("command", COMMANDS)
def test_any_other_entry_of_what_results_say_of_themselves_is_said(
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
        assert_taken_or_said(command, location)


@given(data=st.data())
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
def test_any_other_journal_is_refused_or_does_no_harm_and_the_doctor_mends_it(
    data: st.DataObject,
) -> None:
    """What is run does not depend on Optuna's record, whatever that says."""
    with TemporaryDirectory() as folder:
        location = Path(folder) / "results"
        shutil.copytree(SCHEMA_1, location)
        study = stored_study(Results(str(location)), "study")
        assert study is not None
        expected = ends_of(study, location)
        journal = location / "optuna.journal"
        lines = [json.loads(line) for line in journal.read_text().splitlines()]
        for _ in range(data.draw(st.integers(1, 3))):
            place = data.draw(st.integers(0, len(lines) - 1))
            kind = data.draw(st.sampled_from(["entry", "gone", "twice", "other"]))
            if kind == "entry" and isinstance(lines[place], dict):
                replace_entry(lines[place], data)
            elif kind == "gone" and len(lines) > 1:
                del lines[place]
            elif kind == "twice":
                lines.insert(place, lines[place])
            else:
                lines[place] = data.draw(values)
        journal.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
        try:
            assert ends_of(study, location) == expected
        except UserError as error:
            assert "ngm-tune doctor" in str(error)
        assert_taken_or_said("doctor", location)
        assert ends_of(study, location) == expected


def ends_of(study: Study, location: Path) -> list[list[Outcome]]:
    """How the runs of each arm ended, as a driver finds it; Optuna is left with none running."""
    with opened(StudyPlan.resolve(study), str(location)) as arms:
        found = [arm.outcomes for arm in arms]
    storage = open_storage(location / "optuna.journal")
    for arm in arms:
        if arm.phase == "search":
            search = storage.get_study_id_from_name(f"{arm.benchmark}/{arm.method.name}")
            states = {trial.state for trial in storage.get_all_trials(search)}
            assert TrialState.RUNNING not in states
    return found


def assert_taken_or_said(command: str, location: Path) -> None:
    """A command does what it can with results, or refuses them in one sentence."""
    flags = ["--no-images"] if command == "analyze" else []
    code, out, err = said_of([command, str(location), *flags])
    assert code in ((0, 1) if command == "doctor" else (0, 2)), (code, out, err)
    assert "Traceback" not in err
    assert err.count("\n") == (code == 2), err
    if code == 2:
        assert err.startswith("ngm-tune: ")


def replace_entry(content: dict[str, Any], data: st.DataObject) -> None:
    """Put something else in the place of one value, however deep."""
    key = data.draw(st.sampled_from(sorted(content)) if content else keys)
    inner = content.get(key)
    if isinstance(inner, dict) and data.draw(st.booleans()):
        replace_entry(inner, data)
    else:
        content[key] = data.draw(values)


def harm(path: Path, data: st.DataObject) -> None:
    """Cut a file off, put other bytes into it, or make another one of it."""
    if not path.exists():
        return
    content = path.read_bytes()
    kind = data.draw(st.sampled_from(["cut", "bytes", "other", "gone"]))
    if kind == "gone":
        path.unlink()
    elif kind == "cut":
        path.write_bytes(content[: data.draw(st.integers(0, max(0, len(content) - 1)))])
    elif kind == "bytes":
        place = data.draw(st.integers(0, max(0, len(content) - 1)))
        more = data.draw(st.binary(min_size=1, max_size=8))
        path.write_bytes(content[:place] + more + content[place + len(more) :])
    else:
        path.write_bytes(data.draw(st.binary(max_size=100)))
