"""What a results directory says of its study: lost, damaged, or another's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ngm_tune.analysis.loading import load
from ngm_tune.results import Results

from .conftest import Command
from .damage import TRIAL, contents, damage, notes, truncated

pytestmark = pytest.mark.usefixtures("own_methods")


def forget_study(location: Path) -> None:
    """Leave no copy of the study beside ``study.toml``, as before there was one."""
    environment = json.loads((location / "environment.json").read_text())
    del environment["study"]
    (location / "environment.json").write_text(json.dumps(environment))


def changed(location: Path, before: str, after: str) -> str:
    """Change a line of ``study.toml``; the whole of it as it was."""
    path = location / "study.toml"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    return text


def test_a_study_that_is_gone_is_put_back(copy: Path) -> None:
    text = (copy / "study.toml").read_text()
    (copy / "study.toml").unlink()
    what, mended = damage(copy)["study.toml"]
    assert what == "gone"
    assert mended == "written again from environment.json, as the study was run"
    assert (copy / "study.toml").read_text() == text
    assert damage(copy) == {}


def test_a_study_that_is_gone_is_not_replaced_by_another_one(
    copy: Path, study_file: Path, ngm_tune: Command
) -> None:
    (copy / "study.toml").unlink()
    answer = ngm_tune("run", study_file, "--set", "seed=9", "--results", copy)
    assert answer.code == 2
    assert "holds another study: seed is 0 there and 9 here" in answer.err
    forget_study(copy)
    assert damage(copy)["study.toml"] == ("gone; put the study's file there as it was run", None)
    answer = ngm_tune("run", study_file, "--set", "seed=9", "--results", copy)
    assert answer.code == 2
    assert "there are trials, but the study.toml that they are of is gone" in answer.err
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize("content", ["", "title = ", 'title = "x"'])
@pytest.mark.parametrize("kept", [True, False])
def test_a_damaged_study_is_replaced_if_it_is_known_and_the_rest_is_looked_at(
    copy: Path, content: str, kept: bool
) -> None:
    text = changed(copy, "title", "title")
    (copy / "study.toml").write_text(content)
    truncated(copy / "trials" / f"{TRIAL}.parquet")
    if not kept:
        forget_study(copy)
    found = damage(copy)
    assert found[f"trials/{TRIAL}.parquet"][1] is not None
    assert (found["study.toml"][1] is not None) is kept
    assert (copy / "study.toml").read_text() == (text if kept else content)
    if kept:
        assert (copy / "damaged" / "study.toml").read_text() == content


OTHERS = [
    ("seeds = [\n    7,\n    8,\n]", "seeds = 3", "seeds 7, 8 instead of 0, 1, 2"),
    ("trials = 2", "trials = 1", "configuration 1 of a study that has 1"),
]


@pytest.mark.parametrize(("line", "instead", "reason"), OTHERS)
def test_trials_are_not_held_against_a_study_that_is_not_theirs(
    copy: Path, line: str, instead: str, reason: str
) -> None:
    text = changed(copy, line, instead)
    trials = sorted(path.name for path in (copy / "trials").iterdir())
    what, mended = damage(copy)["study.toml"]
    assert what.startswith("not the study of ")
    assert what.endswith(reason)
    assert mended is not None
    assert (copy / "study.toml").read_text() == text
    assert sorted(path.name for path in (copy / "trials").iterdir()) == trials
    assert damage(copy) == {}


def test_a_study_that_most_trials_are_not_of_is_named_and_nothing_moved(copy: Path) -> None:
    forget_study(copy)
    line, instead, reason = OTHERS[0]
    changed(copy, line, instead)
    before = contents(copy)
    what, mended = damage(copy)["study.toml"]
    assert f"{reason}; put the study's file there as it was run" in what
    assert mended is None
    assert contents(copy) == before


def test_a_copy_that_is_of_other_trials_is_not_put_back(copy: Path) -> None:
    path = copy / "environment.json"
    environment = json.loads(path.read_text())
    environment["study"]["seeds"] = 3
    path.write_text(json.dumps(environment))
    (copy / "study.toml").unlink()
    before = contents(copy)
    assert damage(copy)["study.toml"] == ("gone; put the study's file there as it was run", None)
    assert contents(copy) == before


def test_a_study_that_is_put_there_by_hand_needs_no_name(
    copy: Path, study_file: Path, ngm_tune: Command
) -> None:
    forget_study(copy)
    (copy / "study.toml").write_text(study_file.read_text())
    assert notes(copy)["study.toml"] == "says no name of the study"
    assert Results(str(copy)).study()["name"] == "small"
    (copy / "study.toml").write_text(study_file.read_text())
    answer = ngm_tune("run", study_file, "--results", copy)
    assert (answer.code, answer.err) == (0, "")
    assert Results(str(copy)).study()["name"] == "small"
    assert Results(str(copy)).environment()["study"] == Results(str(copy)).study()


ODD_TYPES = [
    '{"versions": []}',
    '{"methods": {"sgd": {"space": {"lr": {}}}}}',
    '{"methods": {"sgd": {"space": {"lr": {"low": 1, "high": 0}}}}}',
    '{"methods": {"sgd": {"space": {"lr": {"low": 0, "high": 1, "log": true}}}}}',
]


@pytest.mark.parametrize("content", ["{", "[]", "nothing", *ODD_TYPES])
def test_a_damaged_environment_is_set_aside(copy: Path, content: str) -> None:
    (copy / "environment.json").write_text(content)
    assert damage(copy)["environment.json"][1] is not None
    assert (copy / "damaged" / "environment.json").read_text() == content
    assert not (copy / "environment.json").exists()


def test_a_damaged_environment_is_left_out_named_and_written_again(
    copy: Path, study_file: Path, ngm_tune: Command
) -> None:
    (copy / "environment.json").write_text("{")
    loaded = load(str(copy))
    assert loaded.results.left_out["environment.json"].startswith("not JSON")
    answer = ngm_tune("run", study_file, "--results", copy)
    assert answer.code == 2
    assert "environment.json: not JSON" in answer.err
    assert "`ngm-tune doctor" in answer.err
    damage(copy)
    assert ngm_tune("run", study_file, "--results", copy).code == 0
    environment = load(str(copy)).environment
    assert environment["methods"]["sgd"]["title"] == "SGD"
    assert "resumed" in environment
    assert "started" not in environment  # which nobody knows any longer
