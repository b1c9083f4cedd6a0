"""What a results directory says of its study: lost, damaged, or another's."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent

import pytest

from ngm_tune.analysis.loading import load
from ngm_tune.results.directory import Results
from ngm_tune.workspace.manifest import record_data
from tests.helpers.commands import Command
from tests.helpers.damage import TRIAL, contents, damage, notes, one_seed, truncated
from tests.helpers.report_text import fact_texts

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
    assert mended == "written again as the study was run"
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


SEEDS = ("seeds = [\n    7,\n    8,\n]", "seeds = 3")
TRIALS = ("trials = 2", "trials = 1")
NAME = ('name = "small"', 'name = "large"')
SAME_SHAPE = ("iterations_per_task = 8", "iterations_per_task = 9")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (SEEDS, "another study than the trials are of: seeds is 3 there and [7, 8] here"),
        (NAME, "another study than the trials are of: name is 'large' there and 'small' here"),
        (SAME_SHAPE, "another study than the trials are of: iterations_per_task is 9 there and"),
        (TRIALS, "trials = 1, and there are runs of 2"),
    ],
)
def test_a_study_that_is_not_that_of_the_trials_is_replaced_and_no_trial_moved(
    copy: Path, change: tuple[str, str], reason: str
) -> None:
    text = changed(copy, *change)
    other = (copy / "study.toml").read_text()
    trials = sorted(path.name for path in (copy / "trials").iterdir())
    what, mended = damage(copy)["study.toml"]
    assert what.startswith(reason)
    assert mended is not None
    if change != TRIALS:  # which is the same study, and nothing of it lost
        assert (copy / "damaged" / "study.toml").read_text() == other
    assert (copy / "study.toml").read_text() == text
    assert sorted(path.name for path in (copy / "trials").iterdir()) == trials
    assert damage(copy) == {}


def test_a_study_of_the_same_shape_does_not_go_on_where_another_was(
    copy: Path, study_file: Path, ngm_tune: Command
) -> None:
    changed(copy, *SAME_SHAPE)
    answer = ngm_tune("run", study_file, "--set", "iterations_per_task=9", "--results", copy)
    assert answer.code == 2
    assert "holds another study: iterations_per_task is 8 there and 9 here" in answer.err


@pytest.mark.parametrize("kept", [True, False])
def test_a_file_from_before_the_study_was_extended_is_brought_up_to_date(
    copy: Path, kept: bool
) -> None:
    text = changed(copy, *TRIALS)
    if kept:  # gone, and the copy is the one from before
        environment = json.loads((copy / "environment.json").read_text())
        environment["study"]["trials"] = 1
        (copy / "environment.json").write_text(json.dumps(environment))
        (copy / "study.toml").unlink()
    else:
        forget_study(copy)
    trials = sorted(path.name for path in (copy / "trials").iterdir())
    assert damage(copy)["study.toml"][1] is not None
    assert (copy / "study.toml").read_text() == text
    assert sorted(path.name for path in (copy / "trials").iterdir()) == trials


def test_a_copy_that_is_of_no_trials_is_set_aside(copy: Path) -> None:
    environment = json.loads((copy / "environment.json").read_text())
    environment["study"]["seeds"] = 3
    (copy / "environment.json").write_text(json.dumps(environment))
    text = (copy / "study.toml").read_text()
    what, mended = damage(copy)["environment.json"]
    assert what == "has another study than the trials are of"
    assert mended is not None
    assert (copy / "study.toml").read_text() == text
    assert damage(copy) == {}


def test_where_file_and_copy_agree_trials_are_what_is_damaged(copy: Path) -> None:
    for path in (copy / "trials").iterdir():
        one_seed(path)
    found = damage(copy)
    assert "study.toml" not in found
    assert all(mended is not None for name, (_, mended) in found.items() if "trials/" in name)
    assert list((copy / "trials").iterdir()) == []


def test_a_study_that_most_trials_are_not_of_is_named_and_nothing_moved(copy: Path) -> None:
    forget_study(copy)
    changed(copy, *SEEDS)
    before = contents(copy)
    what, mended = damage(copy)["study.toml"]
    assert what.startswith("not the study of ")
    assert what.endswith("instead of 0, 1, 2; put the study's file there as it was run")
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
    assert (copy / "damaged" / "study.toml").read_text() == study_file.read_text()
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
    assert environment.methods["sgd"].title == "SGD"
    assert environment.resumed
    assert not environment.started  # which nobody knows any longer


TWO_BENCHMARKS = """
    title = "A small study of two benchmarks"
    benchmarks = ["split-digits", "rotated-digits"]
    methods = ["sgd"]
    trials = 1
    seeds = 1
    iterations_per_task = 6
    eval_examples = 20
    reference_point = { avg_acc = 0.1, avg_sg = 1.0 }
    confirm = { max_configurations = 0 }
"""


def test_the_checksums_of_the_data_are_recorded(tmp_path: Path, ngm_tune: Command) -> None:
    study, location = tmp_path / "two.toml", tmp_path / "two"
    study.write_text(dedent(TWO_BENCHMARKS))
    assert ngm_tune("run", study, "--results", location).code == 0
    results = Results(str(location))
    (checksum,) = results.environment()["data"]["split-digits"]
    assert f"split-digits {checksum[:16]}" in ngm_tune("data", "split-digits").out
    assert f"split-digits {checksum[:16]};" in data_fact(location)

    environment = results.environment()
    environment["data"]["split-digits"] = ["0" * 64]
    results.write_environment(environment)
    extend = ("--set", "trials=2")
    answer = ngm_tune("run", study, *extend, "--results", location)
    assert answer.code == 0
    assert answer.out.count("split-digits: not all runs use the same data") == 1
    assert "rotated-digits: not all" not in answer.out
    assert results.environment()["data"]["split-digits"] == ["0" * 64, checksum]
    assert f"{'0' * 16} and {checksum[:16]} (runs used different data)" in data_fact(location)


def data_fact(location: Path) -> str:
    """Return what a report says about the data of the runs."""
    return fact_texts(load(str(location)))["Data"]


def test_data_that_no_run_is_of_leave_no_trace(tmp_path: Path) -> None:
    results = Results(str(tmp_path))
    results.write_environment({"platform": "here"})
    assert not record_data(results, "split-digits", "a", begun=True)  # nobody knows of what it is
    assert results.environment() == {"platform": "here"}
    for checksum in ("a", "b"):  # and the study was stopped before a run had begun
        assert not record_data(results, "split-digits", checksum, begun=False)
    assert not record_data(results, "split-digits", "b", begun=True)
    assert results.environment()["data"] == {"split-digits": ["b"]}
    assert record_data(results, "split-digits", "a", begun=True)
    assert record_data(results, "split-digits", "b", begun=True)
    assert results.environment()["data"] == {"split-digits": ["b", "a"]}
