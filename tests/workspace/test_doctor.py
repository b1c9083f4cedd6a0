"""The doctor finds and repairs damage in a results directory, and deletes nothing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from ngm_tune.errors import UserError
from ngm_tune.results.directory import Results
from ngm_tune.training.checkpoints import pack
from ngm_tune.workspace.doctor import examine
from ngm_tune.workspace.lock import study_lock
from tests.conftest import Finished
from tests.helpers.commands import Command
from tests.helpers.damage import TRIAL, count_contents, find_notes, repair_damage, truncate

FOLDER = "a folder instead of a file"

pytestmark = pytest.mark.usefixtures("own_methods")


def test_undamaged_results_are_left_unchanged(finished: Finished, ngm_tune: Command) -> None:
    before = count_contents(finished.location)
    answer = ngm_tune("doctor", finished.location)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == f"{finished.location}: nothing is damaged\n"
    assert count_contents(finished.location) == before


def test_failed_and_diverged_runs_are_not_damage(results_of_every_status: Path) -> None:
    failures = list((results_of_every_status / "failures").iterdir())
    assert len(failures) == 2  # of the method that raises
    assert list(examine(str(results_of_every_status))) == []


def test_look_reports_problems_without_changing_anything(copy: Path, ngm_tune: Command) -> None:
    truncate(copy / "trials" / f"{TRIAL}.parquet")
    with (copy / "optuna.journal").open("a") as file:
        file.write('{"op_code": 4, "wor')
    before = count_contents(copy)
    answer = ngm_tune("doctor", copy, "--look")
    assert (answer.code, answer.err) == (1, "")
    assert f"trials/{TRIAL}.parquet: not readable as Parquet" in answer.out
    assert "2 problems, 0 repaired" in answer.out
    assert count_contents(copy) == before


def test_nothing_is_deleted(copy: Path) -> None:
    for path in (
        *sorted(copy.glob("*/*.parquet"))[::3],
        copy / "environment.json",
        copy / "optuna.journal",
    ):
        truncate(path)
    (copy / "checkpoints").mkdir(exist_ok=True)
    (copy / "checkpoints" / "x.pt").write_bytes(b"nothing")
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    journal = before.pop(copy / "optuna.journal")
    for _ in range(2):  # the second time, the names in quarantine are taken
        examine(str(copy))
    after = count_contents(copy)
    for path, content in before.items():
        assert content in after, path
    tail = (copy / "damaged" / "optuna.journal.tail").read_bytes()
    assert (copy / "optuna.journal").read_bytes().startswith(journal.removesuffix(tail))


@pytest.mark.parametrize(
    "name",
    [
        f"trials/{TRIAL}.parquet",
        "study.toml",
        "environment.json",
        "optuna.journal",
        "driver.json",
    ],
)
def test_a_folder_with_the_name_of_a_file_is_quarantined(copy: Path, name: str) -> None:
    (copy / name).unlink(missing_ok=True)
    (copy / name).mkdir()
    repairs = [f.repair for f in examine(str(copy)) if (f.name, f.description) == (name, FOLDER)]
    assert [repair is not None for repair in repairs] == [True]
    assert not (copy / name).is_dir()
    assert name not in repair_damage(copy)


@pytest.mark.parametrize("name", ["trials", "curves", "checkpoints", "failures"])
def test_a_file_with_the_name_of_a_folder_is_quarantined(
    copy: Path, ngm_tune: Command, name: str
) -> None:
    shutil.rmtree(copy / name, ignore_errors=True)
    (copy / name).write_text("mine")
    assert f"{name}: a file instead of a folder" in ngm_tune("doctor", copy, "--look").out
    _, repair = repair_damage(copy)[name]
    assert (repair or "").startswith(f"moved to damaged/{name}")
    assert (copy / "damaged" / name).read_text() == "mine"
    assert name not in repair_damage(copy)


def test_a_file_with_the_name_of_the_quarantine_prevents_repairs(
    copy: Path, ngm_tune: Command
) -> None:
    (copy / "damaged").write_text("mine")
    truncate(copy / "trials" / f"{TRIAL}.parquet")
    before = count_contents(copy)
    answer = ngm_tune("doctor", copy)
    assert (answer.code, answer.err) == (1, "")
    assert "damaged: a file instead of a folder" in answer.out
    assert f"trials/{TRIAL}.parquet: not readable as Parquet" in answer.out
    assert count_contents(copy) == before


def test_an_undecodable_file_name_is_noted_and_ignored(copy: Path, ngm_tune: Command) -> None:
    (copy / "trials" / os.fsdecode(b"\xff\xfe.parquet")).touch()
    assert find_notes(copy)["trials/"] == (
        "undecodable file names: 1; not created by ngm-tune; left unchanged"
    )
    for command in (["analyze", "--no-images"], ["defaults"]):
        answer = ngm_tune(*command, copy)
        assert (answer.code, answer.err) == (0, ""), command


def test_foreign_files_are_noted_and_left_unchanged(copy: Path) -> None:
    (copy / "notes.txt").write_text("mine")
    (copy / "mine").mkdir()
    (copy / "trials" / "notes.txt").write_text("mine")
    temporary = copy / "trials" / f".{TRIAL}.parquet.{'0' * 32}"
    temporary.write_bytes(b"half")
    notes = find_notes(copy)
    assert notes["notes.txt"] == notes["mine/"] == notes["trials/notes.txt"]
    assert "left unchanged" in notes["notes.txt"]
    assert "killed while writing" in notes[f"trials/{temporary.name}"]
    assert temporary.exists()
    assert repair_damage(copy) == {}


def fail_reads(monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    """Let the disk fail when a file whose path begins with ``prefix`` is read."""
    read = Results.read_bytes

    def read_or_fail(self: Results, name: str) -> bytes | None:
        if name.startswith(prefix):
            raise OSError(5, "Input/output error")
        return read(self, name)

    monkeypatch.setattr(Results, "read_bytes", read_or_fail)


@pytest.mark.parametrize(
    "name",
    [f"trials/{TRIAL}.parquet", f"steps/{TRIAL}.parquet", "environment.json", "optuna.journal"],
)
def test_a_file_that_the_disk_cannot_read_is_reported_but_not_quarantined(
    copy: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Other damage is repaired, but the journal is not compared with an incomplete ``trials/``."""
    truncate(copy / "curves" / f"{TRIAL}.parquet")
    journal = (copy / "optuna.journal").read_bytes()
    fail_reads(monkeypatch, name)
    findings = examine(str(copy))
    finding = next(f for f in findings if f.name == name)
    assert (finding.kind, finding.repair) == ("unreadable", None)
    assert finding.description == "cannot be read: Input/output error"
    assert [f.name for f in findings if f.repair] == [f"curves/{TRIAL}.parquet"]
    assert (copy / name).exists()
    assert (copy / "optuna.journal").read_bytes() == journal


def test_a_failing_network_is_reported_once(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_reads(monkeypatch, "trials/")
    monkeypatch.setattr(Results, "folder", None)
    before = count_contents(copy)
    with pytest.raises(UserError, match=r"Input/output error; --look examines it without writing"):
        examine(str(copy))
    assert count_contents(copy) == before


def test_a_checkpoint_of_a_different_trial_is_quarantined(copy: Path) -> None:
    (copy / "checkpoints").mkdir(exist_ok=True)
    path = copy / "checkpoints" / f"{TRIAL}.pt"
    path.write_bytes(pack({"run_id": "split-digits.sgd.0001"}, []))
    description, repair = repair_damage(copy)[f"checkpoints/{TRIAL}.pt"]
    assert description == "the checkpoint of a different run, split-digits.sgd.0001"
    assert repair is not None
    assert not path.exists()


def test_a_damaged_checkpoint_is_quarantined(copy: Path) -> None:
    (copy / "checkpoints").mkdir(exist_ok=True)
    path = copy / "checkpoints" / f"{TRIAL}.pt"
    for content in (b"", b"\x80\x02]", os.urandom(300)):
        path.write_bytes(content)
        description, repair = repair_damage(copy)[f"checkpoints/{TRIAL}.pt"]
        assert "checkpoint" in description
        assert repair is not None
        assert not path.exists()


def test_a_running_study_is_examined_but_not_repaired(copy: Path) -> None:
    truncate(copy / "trials" / f"{TRIAL}.parquet")
    with study_lock(Results(str(copy)), lambda reason: None):
        damage = repair_damage(copy)
    assert "being run by process" in damage["driver.json"][0]
    assert [repair for _, repair in damage.values()] == [None, None]
    assert (copy / "trials" / f"{TRIAL}.parquet").exists()


def test_run_names_the_doctor_if_results_are_damaged(
    copy: Path, study_file: Path, ngm_tune: Command
) -> None:
    truncate(copy / "trials" / f"{TRIAL}.parquet")
    answer = ngm_tune("run", study_file, "--results", copy)
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert f"{TRIAL}.parquet: not readable as Parquet" in answer.err
    assert "`ngm-tune doctor" in answer.err
