"""The manifest of a results directory: lost, damaged, or replaced by a different study."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent

import pytest

from ngm_tune.analysis.loading import load
from ngm_tune.results.directory import Results
from ngm_tune.workspace.manifest import record_data_checksum
from tests.helpers.commands import Command
from tests.helpers.damage import (
    TRIAL,
    count_contents,
    find_notes,
    keep_last_seed,
    repair_damage,
    truncate,
)
from tests.helpers.report_text import fact_texts

pytestmark = pytest.mark.usefixtures("own_methods")


def remove_study_copy(location: Path) -> None:
    """Remove the copy of the study in ``environment.json``, which old versions did not write."""
    environment = json.loads((location / "environment.json").read_text())
    del environment["study"]
    (location / "environment.json").write_text(json.dumps(environment))


def replace_in_study(location: Path, before: str, after: str) -> str:
    """Replace a text in ``study.toml``; return the previous content of the file."""
    path = location / "study.toml"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    return text


MISSING = "missing; restore the original study file under this name"


def test_doctor_restores_a_missing_study_file(copy: Path) -> None:
    text = (copy / "study.toml").read_text()
    (copy / "study.toml").unlink()
    description, repair = repair_damage(copy)["study.toml"]
    assert description == "missing"
    assert repair == "rewritten to match trials/"
    assert (copy / "study.toml").read_text() == text
    assert repair_damage(copy) == {}


def test_run_refuses_a_different_study_if_the_study_file_is_missing(
    copy: Path, study_file: Path, ngm_tune: Command
) -> None:
    (copy / "study.toml").unlink()
    answer = ngm_tune("run", study_file, "--set", "seed=9", "--results", copy)
    assert answer.code == 2
    assert "holds a different study: seed is 0 instead of 9" in answer.err
    remove_study_copy(copy)
    assert repair_damage(copy)["study.toml"] == (MISSING, None)
    answer = ngm_tune("run", study_file, "--set", "seed=9", "--results", copy)
    assert answer.code == 2
    assert "trials/ contains results but study.toml is missing" in answer.err
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize("content", ["", "title = ", 'title = "x"'])
@pytest.mark.parametrize("has_copy", [True, False])
def test_doctor_replaces_a_damaged_study_file_if_a_copy_of_the_study_exists(
    copy: Path, content: str, has_copy: bool
) -> None:
    text = replace_in_study(copy, "title", "title")
    (copy / "study.toml").write_text(content)
    truncate(copy / "trials" / f"{TRIAL}.parquet")
    if not has_copy:
        remove_study_copy(copy)
    damage = repair_damage(copy)
    assert damage[f"trials/{TRIAL}.parquet"][1] is not None
    assert (damage["study.toml"][1] is not None) is has_copy
    assert (copy / "study.toml").read_text() == (text if has_copy else content)
    if has_copy:
        assert (copy / "damaged" / "study.toml").read_text() == content


SEEDS = ("seeds = [\n    7,\n    8,\n]", "seeds = 3")
TRIALS = ("trials = 2", "trials = 1")
NAME = ('name = "small"', 'name = "large"')
ITERATIONS = ("iterations_per_task = 8", "iterations_per_task = 9")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (SEEDS, "a different study than in trials/: seeds is 3 instead of [7, 8]"),
        (NAME, "a different study than in trials/: name is 'large' instead of 'small'"),
        (ITERATIONS, "a different study than in trials/: iterations_per_task is 9 instead of"),
        (TRIALS, "trials = 1, but trials/ contains a search with 2 trials"),
    ],
)
def test_doctor_replaces_a_study_file_that_does_not_match_the_trials(
    copy: Path, change: tuple[str, str], reason: str
) -> None:
    text = replace_in_study(copy, *change)
    mismatched = (copy / "study.toml").read_text()
    trials = sorted(path.name for path in (copy / "trials").iterdir())
    description, repair = repair_damage(copy)["study.toml"]
    assert description.startswith(reason)
    assert repair is not None
    if change != TRIALS:  # a file of the same study is overwritten
        assert (copy / "damaged" / "study.toml").read_text() == mismatched
    assert (copy / "study.toml").read_text() == text
    assert sorted(path.name for path in (copy / "trials").iterdir()) == trials
    assert repair_damage(copy) == {}


def test_run_refuses_a_different_study_that_matches_the_changed_study_file(
    copy: Path, study_file: Path, ngm_tune: Command
) -> None:
    replace_in_study(copy, *ITERATIONS)
    answer = ngm_tune("run", study_file, "--set", "iterations_per_task=9", "--results", copy)
    assert answer.code == 2
    assert "holds a different study: iterations_per_task is 8 instead of 9" in answer.err


@pytest.mark.parametrize("has_copy", [True, False])
def test_doctor_updates_a_study_from_before_its_extension(copy: Path, has_copy: bool) -> None:
    text = replace_in_study(copy, *TRIALS)
    if has_copy:  # the copy is outdated and the file is missing
        environment = json.loads((copy / "environment.json").read_text())
        environment["study"]["trials"] = 1
        (copy / "environment.json").write_text(json.dumps(environment))
        (copy / "study.toml").unlink()
    else:
        remove_study_copy(copy)
    trials = sorted(path.name for path in (copy / "trials").iterdir())
    assert repair_damage(copy)["study.toml"][1] is not None
    assert (copy / "study.toml").read_text() == text
    assert sorted(path.name for path in (copy / "trials").iterdir()) == trials


def test_doctor_quarantines_an_environment_file_with_a_different_study(copy: Path) -> None:
    environment = json.loads((copy / "environment.json").read_text())
    environment["study"]["seeds"] = 3
    (copy / "environment.json").write_text(json.dumps(environment))
    text = (copy / "study.toml").read_text()
    description, repair = repair_damage(copy)["environment.json"]
    assert description == "contains a different study than trials/"
    assert repair is not None
    assert (copy / "study.toml").read_text() == text
    assert repair_damage(copy) == {}


def test_doctor_quarantines_mismatched_trials_if_study_file_and_copy_agree(copy: Path) -> None:
    for path in (copy / "trials").iterdir():
        keep_last_seed(path)
    damage = repair_damage(copy)
    assert "study.toml" not in damage
    assert all(repair is not None for name, (_, repair) in damage.items() if "trials/" in name)
    assert list((copy / "trials").iterdir()) == []


def test_doctor_moves_nothing_if_no_known_study_matches_most_trials(copy: Path) -> None:
    remove_study_copy(copy)
    replace_in_study(copy, *SEEDS)
    before = count_contents(copy)
    description, repair = repair_damage(copy)["study.toml"]
    assert description.startswith("does not match ")
    assert description.endswith(
        "instead of 0, 1, 2; restore the original study file under this name"
    )
    assert repair is None
    assert count_contents(copy) == before


def test_doctor_does_not_restore_a_study_that_does_not_match_the_trials(copy: Path) -> None:
    path = copy / "environment.json"
    environment = json.loads(path.read_text())
    environment["study"]["seeds"] = 3
    path.write_text(json.dumps(environment))
    (copy / "study.toml").unlink()
    before = count_contents(copy)
    assert repair_damage(copy)["study.toml"] == (MISSING, None)
    assert count_contents(copy) == before


def test_a_study_file_restored_by_hand_may_lack_the_name(
    copy: Path, study_file: Path, ngm_tune: Command
) -> None:
    remove_study_copy(copy)
    (copy / "study.toml").write_text(study_file.read_text())
    assert find_notes(copy)["study.toml"] == "the key 'name' is missing"
    assert Results(str(copy)).read_study()["name"] == "small"
    assert (copy / "damaged" / "study.toml").read_text() == study_file.read_text()
    (copy / "study.toml").write_text(study_file.read_text())
    answer = ngm_tune("run", study_file, "--results", copy)
    assert (answer.code, answer.err) == (0, "")
    assert Results(str(copy)).read_study()["name"] == "small"
    assert Results(str(copy)).read_environment()["study"] == Results(str(copy)).read_study()


ODD_TYPES = [
    '{"versions": []}',
    '{"methods": {"sgd": {"space": {"lr": {}}}}}',
    '{"methods": {"sgd": {"space": {"lr": {"low": 1, "high": 0}}}}}',
    '{"methods": {"sgd": {"space": {"lr": {"low": 0, "high": 1, "log": true}}}}}',
]


@pytest.mark.parametrize("content", ["{", "[]", "nothing", *ODD_TYPES])
def test_doctor_quarantines_a_damaged_environment_file(copy: Path, content: str) -> None:
    (copy / "environment.json").write_text(content)
    assert repair_damage(copy)["environment.json"][1] is not None
    assert (copy / "damaged" / "environment.json").read_text() == content
    assert not (copy / "environment.json").exists()


def test_resume_writes_a_new_environment_file_once_a_damaged_one_is_quarantined(
    copy: Path, study_file: Path, ngm_tune: Command
) -> None:
    (copy / "environment.json").write_text("{")
    loaded = load(str(copy))
    assert loaded.results.left_out["environment.json"].startswith("not valid JSON")
    answer = ngm_tune("run", study_file, "--results", copy)
    assert answer.code == 2
    assert "environment.json: not valid JSON" in answer.err
    assert "`ngm-tune doctor" in answer.err
    repair_damage(copy)
    assert ngm_tune("run", study_file, "--results", copy).code == 0
    environment = load(str(copy)).environment
    assert environment.methods["sgd"].title == "SGD"
    assert environment.resumed
    assert not environment.started  # lost with the damaged file


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


def test_data_checksums_are_recorded_and_differences_reported(
    tmp_path: Path, ngm_tune: Command
) -> None:
    study, location = tmp_path / "two.toml", tmp_path / "two"
    study.write_text(dedent(TWO_BENCHMARKS))
    assert ngm_tune("run", study, "--results", location).code == 0
    results = Results(str(location))
    (checksum,) = results.read_environment()["data"]["split-digits"]
    assert f"split-digits {checksum[:16]}" in ngm_tune("data", "split-digits").out
    assert f"split-digits {checksum[:16]};" in describe_data(location)

    environment = results.read_environment()
    environment["data"]["split-digits"] = ["0" * 64]
    results.write_environment(environment)
    extend = ("--set", "trials=2")
    answer = ngm_tune("run", study, *extend, "--results", location)
    assert answer.code == 0
    assert answer.out.count("split-digits: not all runs use the same data") == 1
    assert "rotated-digits: not all" not in answer.out
    assert results.read_environment()["data"]["split-digits"] == ["0" * 64, checksum]
    assert f"{'0' * 16} and {checksum[:16]} (runs used different data)" in describe_data(location)


def describe_data(location: Path) -> str:
    """Return the fact about data in the report."""
    return fact_texts(load(str(location)))["Data"]


def test_checksums_of_data_that_no_run_uses_are_not_kept(tmp_path: Path) -> None:
    results = Results(str(tmp_path))
    results.write_environment({"platform": "here"})
    assert not record_data_checksum(
        results, "split-digits", "a", has_runs=True
    )  # of unrecorded data
    assert results.read_environment() == {"platform": "here"}
    for checksum in ("a", "b"):  # the study was stopped before its first run
        assert not record_data_checksum(results, "split-digits", checksum, has_runs=False)
    assert not record_data_checksum(results, "split-digits", "b", has_runs=True)
    assert results.read_environment()["data"] == {"split-digits": ["b"]}
    assert record_data_checksum(results, "split-digits", "a", has_runs=True)
    assert record_data_checksum(results, "split-digits", "b", has_runs=True)
    assert results.read_environment()["data"] == {"split-digits": ["b", "a"]}
