"""What ngm-tune doctor finds, what it mends, and that nothing is lost by it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from optuna.storages import JournalStorage
from optuna.trial import TrialState

from ngm_tune.errors import UserError
from ngm_tune.results.directory import Results
from ngm_tune.search import optuna_journal as optuna_record
from ngm_tune.search.optuna_journal import open_storage
from ngm_tune.training.checkpoints import pack
from ngm_tune.workspace.doctor import examine
from ngm_tune.workspace.lock import study_lock
from tests.conftest import Finished
from tests.helpers.commands import Command
from tests.helpers.comparing import SCHEMA_1
from tests.helpers.damage import (
    HARMS,
    TRIAL,
    contents,
    damage,
    metrics,
    notes,
    rename_trial,
    truncated,
)

FOLDER = "a folder where a file should be"

pytestmark = pytest.mark.usefixtures("own_methods")


def test_results_that_are_well_are_left_as_they_are(finished: Finished, ngm_tune: Command) -> None:
    before = contents(finished.location)
    answer = ngm_tune("doctor", finished.location)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == f"{finished.location}: nothing is damaged\n"
    assert contents(finished.location) == before


@pytest.mark.parametrize(("harm", "what"), HARMS)
def test_a_damaged_trial_is_set_aside_and_run_again_with_the_same_result(
    copy: Path,
    study_file: Path,
    ngm_tune: Command,
    harm: Callable[[Path], None],
    what: str,
) -> None:
    path = copy / "trials" / f"{TRIAL}.parquet"
    whole = metrics(path)
    harm(path)
    harmed = path.read_bytes()
    found, mended = damage(copy)[f"trials/{TRIAL}.parquet"]
    assert what in found
    assert mended is not None
    assert (copy / "damaged" / "trials" / f"{TRIAL}.parquet").read_bytes() == harmed
    assert not path.exists()
    if harm is truncated:  # once is enough for what takes a study
        assert ngm_tune("run", study_file, "--results", copy).code == 0
        assert metrics(path).equals(whole)
        assert damage(copy) == {}


def test_a_damaged_companion_is_set_aside_and_the_way_back_told(copy: Path) -> None:
    name = f"curves/{TRIAL}.parquet"
    truncated(copy / name)
    findings = [f for f in examine(str(copy)) if f.name == name]
    assert [f.mended for f in findings] == [f"moved to damaged/{name}", None]
    assert "gone, though its trial is complete" in findings[1].what
    assert (copy / "damaged" / name).exists()


def test_only_looking_changes_nothing(copy: Path, ngm_tune: Command) -> None:
    truncated(copy / "trials" / f"{TRIAL}.parquet")
    with (copy / "optuna.journal").open("a") as file:
        file.write('{"op_code": 4, "wor')
    before = contents(copy)
    answer = ngm_tune("doctor", copy, "--look")
    assert (answer.code, answer.err) == (1, "")
    assert f"trials/{TRIAL}.parquet: not readable as Parquet" in answer.out
    assert "2 problems, 0 repaired" in answer.out
    assert contents(copy) == before


def test_nothing_is_deleted(copy: Path) -> None:
    for path in (
        *sorted(copy.glob("*/*.parquet"))[::3],
        copy / "environment.json",
        copy / "optuna.journal",
    ):
        truncated(path)
    (copy / "checkpoints").mkdir(exist_ok=True)
    (copy / "checkpoints" / "x.pt").write_bytes(b"nothing")
    kept = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    journal = kept.pop(copy / "optuna.journal")
    for _ in range(2):  # the second time what was set aside has a namesake
        examine(str(copy))
    there = contents(copy)
    for path, content in kept.items():
        assert content in there, path
    tail = (copy / "damaged" / "optuna.journal.tail").read_bytes()
    assert (copy / "optuna.journal").read_bytes().startswith(journal.removesuffix(tail))


def test_a_trial_that_is_none_of_the_study_is_set_aside(copy: Path) -> None:
    rename_trial(copy, f"{TRIAL[:-4]}0099")
    what, mended = damage(copy)[f"trials/{TRIAL[:-4]}0099.parquet"]
    assert what.startswith("configuration 99 of a study that has ")
    assert mended is not None


def test_results_of_a_newer_version_are_left_alone(copy: Path, ngm_tune: Command) -> None:
    path = copy / "trials" / f"{TRIAL}.parquet"
    rows = pq.read_table(path)
    pq.write_table(rows.replace_schema_metadata({"ngm_tune.schema_version": "99"}), path)
    before = contents(copy)
    answer = ngm_tune("doctor", copy)
    assert answer.code == 1
    assert "schema version 99, this ngm-tune reads 1 and 2; a newer version of" in answer.out
    assert path.exists()
    assert before.items() <= contents(copy).items()


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
def test_a_folder_in_the_place_of_a_file_is_set_aside(copy: Path, name: str) -> None:
    (copy / name).unlink(missing_ok=True)
    (copy / name).mkdir()
    found = [f.mended for f in examine(str(copy)) if (f.name, f.what) == (name, FOLDER)]
    assert [mended is not None for mended in found] == [True]
    assert not (copy / name).is_dir()
    assert name not in damage(copy)


@pytest.mark.parametrize("name", ["trials", "curves", "checkpoints", "failures"])
def test_a_file_in_the_place_of_a_folder_is_set_aside(
    copy: Path, ngm_tune: Command, name: str
) -> None:
    shutil.rmtree(copy / name, ignore_errors=True)
    (copy / name).write_text("mine")
    assert f"{name}: a file where a folder should be" in ngm_tune("doctor", copy, "--look").out
    _, mended = damage(copy)[name]
    assert (mended or "").startswith(f"moved to damaged/{name}")
    assert (copy / "damaged" / name).read_text() == "mine"
    assert name not in damage(copy)


def test_a_file_in_the_place_of_the_folder_for_damage_stays(copy: Path, ngm_tune: Command) -> None:
    (copy / "damaged").write_text("mine")
    truncated(copy / "trials" / f"{TRIAL}.parquet")
    before = contents(copy)
    answer = ngm_tune("doctor", copy)
    assert (answer.code, answer.err) == (1, "")
    assert "damaged: a file where a folder should be" in answer.out
    assert f"trials/{TRIAL}.parquet: not readable as Parquet" in answer.out
    assert contents(copy) == before


@pytest.mark.parametrize("table", ["curves", "steps"])
def test_curves_and_steps_that_are_cut_are_named(copy: Path, table: str) -> None:
    path = copy / table / f"{TRIAL}.parquet"
    rows = pl.read_parquet(path)
    half = rows.filter(pl.col("iteration") <= pl.col("iteration").max() // 2)
    pq.write_table(half.to_arrow().cast(pq.read_schema(path)), path)
    what, mended = damage(copy)[f"{table}/{TRIAL}.parquet"]
    assert "iterations of seed 7 instead of" in what
    assert mended is None


def test_a_run_that_diverged_before_it_was_evaluated_is_no_damage(
    tmp_path: Path, ngm_tune: Command
) -> None:
    changes = ('methods=["diverges"]', "trials=1", "seeds=1", "iterations_per_task=24")
    changes += ("eval_every=24", "confirm={max_configurations=0}")
    options = [text for change in changes for text in ("--set", change)]
    assert ngm_tune("run", "quickstart", *options, "--results", tmp_path / "study").code == 0
    (curves,) = (tmp_path / "study" / "curves").iterdir()
    assert pq.read_table(curves).num_rows == 0
    assert [f for f in examine(str(tmp_path / "study")) if f.kind == "damage"] == []


def test_a_file_whose_name_is_no_text_does_no_harm(copy: Path, ngm_tune: Command) -> None:
    (copy / "trials" / os.fsdecode(b"\xff\xfe.parquet")).touch()
    assert notes(copy)["trials/"] == "1 whose names are no text, not of ngm-tune, left alone"
    assert ngm_tune("defaults", copy).code == 0


@pytest.mark.parametrize("column", ["config_lr", "search_lr"])
def test_hyperparameters_are_held_against_their_types(copy: Path, column: str) -> None:
    path = copy / "trials" / f"{TRIAL}.parquet"
    rows = pq.read_table(path)
    text = rows[column].cast(pa.string())
    pq.write_table(rows.set_column(rows.schema.get_field_index(column), column, text), path)
    what, mended = damage(copy)[f"trials/{TRIAL}.parquet"]
    assert what == f"column {column} is of type string instead of double"
    assert mended is not None


def test_what_was_searched_is_held_against_the_search_space(copy: Path) -> None:
    path = copy / "trials" / f"{TRIAL}.parquet"
    rows = pq.read_table(path)
    place = rows.schema.get_field_index("search_lr")
    odd = pa.array([-5.0] * rows.num_rows)
    pq.write_table(rows.set_column(place, rows.schema.field("search_lr"), odd), path)
    what, mended = damage(copy)[f"trials/{TRIAL}.parquet"]
    assert what == "lr = -5.0 is not in what was searched"
    assert mended is not None


def states(location: Path) -> dict[tuple[str, int], TrialState]:
    storage = open_storage(location / "optuna.journal")
    assert isinstance(storage, JournalStorage)
    return {
        (study.study_name, trial.user_attrs["number"]): trial.state
        for study in storage.get_all_studies()
        for trial in storage.get_all_trials(study._study_id)
    }


ENDED = re.compile(rb'("op_code":6,.*"values":)\[[^]]*\]')


@pytest.mark.parametrize(
    ("pattern", "other"),
    [
        (ENDED, rb"\1[0.125,0.125]"),
        (re.compile(rb'"configuration":1,'), b'"configuration":-5,'),
        (re.compile(rb'"configuration":1,'), b'"configuration":"x",'),
        (re.compile(rb'"seeds":\[[^]]*\]'), b'"seeds":null'),
        (re.compile(rb'"params":{"lr":[^,}]*'), b'"params":{"lr":0.5'),
        (re.compile(rb'(\\"high\\": )[0-9.]+'), rb"\g<1>1234.5"),
    ],
)
def test_a_record_that_is_not_of_the_trials_is_made_anew(
    copy_of_every_status: Path,
    study_of_every_status: Path,
    ngm_tune: Command,
    pattern: re.Pattern[bytes],
    other: bytes,
) -> None:
    journal = copy_of_every_status / "optuna.journal"
    before = values(copy_of_every_status)
    content, count = pattern.subn(other, journal.read_bytes())
    assert count > 0
    journal.write_bytes(content)
    refused = ngm_tune("run", study_of_every_status, "--results", copy_of_every_status)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "optuna.journal: not the record of what is in trials/" in refused.err
    assert damage(copy_of_every_status)["optuna.journal"][1] is not None
    assert values(copy_of_every_status) == before
    assert content in contents(copy_of_every_status)


def values(location: Path) -> dict[tuple[str, int], tuple[dict[str, float], list[float] | None]]:
    storage = open_storage(location / "optuna.journal")
    return {
        (study.study_name, trial.user_attrs["number"]): (trial.params, trial.values)
        for study in storage.get_all_studies()
        for trial in storage.get_all_trials(study._study_id)
    }


@pytest.mark.parametrize("harm", ["torn", "garbage", "json", "gone", "behind"])
def test_optunas_record_is_mended_or_made_anew(copy_of_every_status: Path, harm: str) -> None:
    journal = copy_of_every_status / "optuna.journal"
    before = states(copy_of_every_status)
    if harm == "torn":
        with journal.open("ab") as file:
            file.write(b'{"op_code": 6, "worker_id": "')
    elif harm == "garbage":
        lines = journal.read_bytes().splitlines(keepends=True)
        journal.write_bytes(b"".join([*lines[:5], b"\x00garbage\n", *lines[6:]]))
    elif harm == "json":  # but none of Optuna's
        with journal.open("a") as file:
            file.write("1\n")
    elif harm == "gone":
        journal.unlink()
    else:  # as after a crash of the machine that lost the last writes
        lines = journal.read_bytes().splitlines(keepends=True)
        journal.write_bytes(b"".join(lines[: len(lines) // 2]))
    found = [f for f in examine(str(copy_of_every_status)) if f.name == "optuna.journal"]
    assert [f.mended is not None for f in found] == [True]
    assert states(copy_of_every_status) == before
    assert TrialState.RUNNING not in before.values()
    assert [f for f in examine(str(copy_of_every_status)) if f.name == "optuna.journal"] == []


def test_looking_tells_that_optunas_record_is_behind(copy: Path) -> None:
    journal = copy / "optuna.journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    last = max(i for i, line in enumerate(lines) if b'"op_code":6,' in line)
    journal.write_bytes(b"".join(lines[:last]))
    before = contents(copy)
    (told,) = examine(str(copy), repair=False)
    assert (told.name, told.what) == ("optuna.journal", "behind what is in trials/")
    assert contents(copy) == before
    (mended,) = examine(str(copy))
    assert mended.mended == "brought up to date"


def test_opening_a_journal_keeps_what_it_cuts_off(copy: Path) -> None:
    whole = (copy / "optuna.journal").read_bytes()
    (copy / "optuna.journal").write_bytes(whole + b'{"op_code": 6, "wor')
    with optuna_record.journal(Results(str(copy))):
        pass
    assert (copy / "optuna.journal").read_bytes() == whole
    assert (copy / "damaged" / "optuna.journal.tail").read_bytes() == b'{"op_code": 6, "wor'


def test_where_a_trial_was_run_is_the_truth_whatever_a_sampler_would_say_now(copy: Path) -> None:
    path = copy / "trials" / f"{TRIAL}.parquet"
    rows = pq.read_table(path)
    for name in ("config_lr", "search_lr"):
        place = rows.schema.get_field_index(name)
        rows = rows.set_column(place, rows.schema.field(name), pa.array([0.0123] * rows.num_rows))
    pq.write_table(rows, path)
    (copy / "optuna.journal").unlink()
    examine(str(copy))
    storage = open_storage(copy / "optuna.journal")
    trials = storage.get_all_trials(storage.get_study_id_from_name("split-digits/sgd"))
    assert next(t.params for t in trials if t.user_attrs["number"] == 0) == {"lr": 0.0123}


def test_a_journal_that_is_a_link_is_left_alone(copy: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    for content in ("not ours", 'not ours\n{"torn'):
        other.write_text(content)
        (copy / "optuna.journal").unlink()
        (copy / "optuna.journal").symlink_to(other)
        what, mended = damage(copy)["optuna.journal"]
        assert what.startswith("is a link; ngm-tune writes to no file that lies elsewhere")
        assert mended is None
        assert (copy / "optuna.journal").is_symlink()
        assert other.read_text() == content


def test_tails_of_journals_are_all_kept(copy: Path) -> None:
    for tail in (b'{"first', b'{"second'):
        with (copy / "optuna.journal").open("ab") as file:
            file.write(tail)
        examine(str(copy))
    tails = sorted(path.read_bytes() for path in copy.glob("damaged/optuna.journal.tail*"))
    assert tails == [b'{"first', b'{"second']


def failing(monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    """Make the disk fail beneath the files of a folder."""
    read = Results.read_bytes

    def read_or_fail(self: Results, name: str) -> bytes | None:
        if name.startswith(folder):
            raise OSError(5, "Input/output error")
        return read(self, name)

    monkeypatch.setattr(Results, "read_bytes", read_or_fail)


@pytest.mark.parametrize(
    "name",
    [f"trials/{TRIAL}.parquet", f"steps/{TRIAL}.parquet", "environment.json", "optuna.journal"],
)
def test_a_file_that_the_disk_does_not_give_is_no_damage(
    copy: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """It is named, what else is wrong is mended, and nothing is concluded from what was read."""
    truncated(copy / "curves" / f"{TRIAL}.parquet")
    journal = (copy / "optuna.journal").read_bytes()
    failing(monkeypatch, name)
    found = examine(str(copy))
    told = next(f for f in found if f.name == name)
    assert (told.kind, told.mended) == ("unread", None)
    assert told.what == "cannot be read: Input/output error"
    assert [f.name for f in found if f.mended] == [f"curves/{TRIAL}.parquet"]
    assert (copy / name).exists()
    assert (copy / "optuna.journal").read_bytes() == journal


def test_a_network_that_fails_is_said_once(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, "trials/")
    monkeypatch.setattr(Results, "folder", None)
    before = contents(copy)
    with pytest.raises(UserError, match=r"Input/output error; with --look nothing need be written"):
        examine(str(copy))
    assert contents(copy) == before


def test_a_checkpoint_of_another_trial_is_set_aside(copy: Path) -> None:
    (copy / "checkpoints").mkdir(exist_ok=True)
    path = copy / "checkpoints" / f"{TRIAL}.pt"
    path.write_bytes(pack({"run_id": "split-digits.sgd.0001"}, []))
    what, mended = damage(copy)[f"checkpoints/{TRIAL}.pt"]
    assert what == "a checkpoint of split-digits.sgd.0001"
    assert mended is not None
    assert not path.exists()


def test_a_damaged_checkpoint_is_set_aside(copy: Path) -> None:
    (copy / "checkpoints").mkdir(exist_ok=True)
    path = copy / "checkpoints" / f"{TRIAL}.pt"
    for content in (b"", b"\x80\x02]", os.urandom(300)):
        path.write_bytes(content)
        what, mended = damage(copy)[f"checkpoints/{TRIAL}.pt"]
        assert "checkpoint" in what
        assert mended is not None
        assert not path.exists()


def test_what_is_not_ours_is_named_and_left_alone(copy: Path) -> None:
    (copy / "notes.txt").write_text("mine")
    (copy / "mine").mkdir()
    (copy / "trials" / "notes.txt").write_text("mine")
    draft = copy / "trials" / f".{TRIAL}.parquet.{'0' * 32}"
    draft.write_bytes(b"half")
    found = notes(copy)
    assert found["notes.txt"] == found["mine/"] == found["trials/notes.txt"]
    assert "left alone" in found["notes.txt"]
    assert "killed while it wrote" in found[f"trials/{draft.name}"]
    assert draft.exists()
    assert damage(copy) == {}


def test_parts_of_a_trial_that_has_not_ended_do_no_harm(copy: Path) -> None:
    (copy / "trials" / f"{TRIAL}.parquet").unlink()
    found = notes(copy)
    for table in ("tasks", "curves", "steps"):
        assert "has not ended" in found[f"{table}/{TRIAL}.parquet"]
    assert damage(copy) == {}


def test_an_older_schema_is_named_and_left_as_it_is(tmp_path: Path) -> None:
    shutil.copytree(SCHEMA_1, tmp_path / "former")
    found = notes(tmp_path / "former")
    assert "schema version 1" in found["trials/split-digits.sgd.0000.parquet"]
    assert damage(tmp_path / "former") == {}


def test_a_study_that_is_being_run_is_only_looked_at(copy: Path) -> None:
    truncated(copy / "trials" / f"{TRIAL}.parquet")
    with study_lock(Results(str(copy)), lambda reason: None):
        found = damage(copy)
    assert "being run by process" in found["driver.json"][0]
    assert [mended for _, mended in found.values()] == [None, None]
    assert (copy / "trials" / f"{TRIAL}.parquet").exists()


def test_a_run_names_the_doctor_when_it_meets_damage(
    copy: Path, study_file: Path, ngm_tune: Command
) -> None:
    truncated(copy / "trials" / f"{TRIAL}.parquet")
    answer = ngm_tune("run", study_file, "--results", copy)
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert f"{TRIAL}.parquet: not readable as Parquet" in answer.err
    assert "`ngm-tune doctor" in answer.err
