"""The doctor repairs the search record in Optuna's journal from ``trials/``."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from optuna.storages import JournalStorage
from optuna.trial import TrialState

from ngm_tune.results.directory import Results
from ngm_tune.search import optuna_journal
from ngm_tune.search.optuna_journal import open_storage
from ngm_tune.workspace.doctor import examine
from tests.helpers.commands import Command
from tests.helpers.damage import TRIAL, count_contents, repair_damage

pytestmark = pytest.mark.usefixtures("own_methods")


def read_states(location: Path) -> dict[tuple[str, int], TrialState]:
    """Return the state of each run in the journal, by Optuna study and run number."""
    storage = open_storage(location / "optuna.journal")
    assert isinstance(storage, JournalStorage)
    return {
        (study.study_name, trial.user_attrs["number"]): trial.state
        for study in storage.get_all_studies()
        for trial in storage.get_all_trials(study._study_id)
    }


def read_values(
    location: Path,
) -> dict[tuple[str, int], tuple[dict[str, float], list[float] | None]]:
    """Return parameters and objectives in the journal, by Optuna study and run number."""
    storage = open_storage(location / "optuna.journal")
    return {
        (study.study_name, trial.user_attrs["number"]): (trial.params, trial.values)
        for study in storage.get_all_studies()
        for trial in storage.get_all_trials(study._study_id)
    }


VALUES = re.compile(rb'("op_code":6,.*"values":)\[[^]]*\]')


@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [
        (VALUES, rb"\1[0.125,0.125]"),
        (re.compile(rb'"seeds":\[[^]]*\]'), b'"seeds":null'),
        (re.compile(rb'"params":{"lr":[^,}]*'), b'"params":{"lr":0.5'),
        (re.compile(rb'(\\"high\\": )[0-9.]+'), rb"\g<1>1234.5"),
    ],
)
def test_a_journal_that_contradicts_the_trials_is_refused_and_rebuilt(
    copy_of_every_status: Path,
    study_of_every_status: Path,
    ngm_tune: Command,
    pattern: re.Pattern[bytes],
    replacement: bytes,
) -> None:
    journal = copy_of_every_status / "optuna.journal"
    before = read_values(copy_of_every_status)
    content, count = pattern.subn(replacement, journal.read_bytes())
    assert count > 0
    journal.write_bytes(content)
    refused = ngm_tune("run", study_of_every_status, "--results", copy_of_every_status)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "optuna.journal: contradicts the results in trials/" in refused.err
    assert repair_damage(copy_of_every_status)["optuna.journal"][1] is not None
    assert read_values(copy_of_every_status) == before
    assert content in count_contents(copy_of_every_status)


@pytest.mark.parametrize("damage", ["incomplete", "garbage", "json", "missing", "outdated"])
def test_a_damaged_journal_is_repaired_or_rebuilt(copy_of_every_status: Path, damage: str) -> None:
    journal = copy_of_every_status / "optuna.journal"
    before = read_states(copy_of_every_status)
    if damage == "incomplete":
        with journal.open("ab") as file:
            file.write(b'{"op_code": 6, "worker_id": "')
    elif damage == "garbage":
        lines = journal.read_bytes().splitlines(keepends=True)
        journal.write_bytes(b"".join([*lines[:5], b"\x00garbage\n", *lines[6:]]))
    elif damage == "json":  # not a line that Optuna writes
        with journal.open("a") as file:
            file.write("1\n")
    elif damage == "missing":
        journal.unlink()
    else:  # a crash of the machine can lose the last writes
        lines = journal.read_bytes().splitlines(keepends=True)
        journal.write_bytes(b"".join(lines[: len(lines) // 2]))
    findings = [f for f in examine(str(copy_of_every_status)) if f.name == "optuna.journal"]
    assert [f.repair is not None for f in findings] == [True]
    assert read_states(copy_of_every_status) == before
    assert TrialState.RUNNING not in before.values()
    assert [f for f in examine(str(copy_of_every_status)) if f.name == "optuna.journal"] == []


def test_a_damaged_journal_of_a_study_with_settings_is_quarantined(
    tmp_path: Path, ngm_tune: Command
) -> None:
    study = (
        *("run", "quickstart", "--set", 'methods=["sgd"]', "--set", "settings.sgd.lr=0.1"),
        *("--set", "iterations_per_task=3", "--set", "eval_every=3", "--set", "seeds=1"),
        *("--set", "searches=1", "--set", "trials=1", "--set", "confirm={}"),
    )
    assert ngm_tune(*study, "--results", tmp_path).code == 0
    assert examine(str(tmp_path)) == []
    (tmp_path / "optuna.journal").write_text("garbage\n{}\n")
    assert "ngm-tune doctor" in ngm_tune(*study, "--results", tmp_path).err
    (finding,) = examine(str(tmp_path))
    assert finding.repair is not None
    assert (tmp_path / "damaged" / "optuna.journal").read_text() == "garbage\n{}\n"
    assert ngm_tune(*study, "--results", tmp_path).code == 0


def test_an_outdated_journal_is_noted_and_brought_up_to_date(copy: Path) -> None:
    journal = copy / "optuna.journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    last = max(i for i, line in enumerate(lines) if b'"op_code":6,' in line)
    journal.write_bytes(b"".join(lines[:last]))
    before = count_contents(copy)
    (finding,) = examine(str(copy), repair=False)
    assert (finding.name, finding.description, finding.kind) == (
        "optuna.journal", "older than the results in trials/", "note",
    )  # fmt: skip
    assert count_contents(copy) == before
    (repaired,) = examine(str(copy))
    assert repaired.repair == "brought up to date"


def test_opening_a_journal_quarantines_an_incomplete_last_line(copy: Path) -> None:
    content = (copy / "optuna.journal").read_bytes()
    (copy / "optuna.journal").write_bytes(content + b'{"op_code": 6, "wor')
    with optuna_journal.open_journal(Results(str(copy))):
        pass
    assert (copy / "optuna.journal").read_bytes() == content
    assert (copy / "damaged" / "optuna.journal.tail").read_bytes() == b'{"op_code": 6, "wor'


def test_incomplete_last_lines_are_all_kept_in_quarantine(copy: Path) -> None:
    for tail in (b'{"first', b'{"second'):
        with (copy / "optuna.journal").open("ab") as file:
            file.write(tail)
        examine(str(copy))
    tails = sorted(path.read_bytes() for path in copy.glob("damaged/optuna.journal.tail*"))
    assert tails == [b'{"first', b'{"second']


def test_a_rebuilt_journal_has_the_configurations_in_trials(copy: Path) -> None:
    """The configurations are not taken from the sampler, which could suggest different ones."""
    path = copy / "trials" / f"{TRIAL}.parquet"
    rows = pq.read_table(path)
    for name in ("config_lr", "search_lr"):
        index = rows.schema.get_field_index(name)
        rows = rows.set_column(index, rows.schema.field(name), pa.array([0.0123] * rows.num_rows))
    pq.write_table(rows, path)
    (copy / "optuna.journal").unlink()
    examine(str(copy))
    storage = open_storage(copy / "optuna.journal")
    trials = storage.get_all_trials(storage.get_study_id_from_name("split-digits/sgd"))
    assert next(t.params for t in trials if t.user_attrs["number"] == 0) == {"lr": 0.0123}


def test_a_journal_that_is_a_link_is_left_unchanged(copy: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    for content in ("not ours", 'not ours\n{"torn'):
        target.write_text(content)
        (copy / "optuna.journal").unlink()
        (copy / "optuna.journal").symlink_to(target)
        description, repair = repair_damage(copy)["optuna.journal"]
        assert description.startswith(
            "is a symbolic link; ngm-tune writes only to files in the results"
        )
        assert repair is None
        assert (copy / "optuna.journal").is_symlink()
        assert target.read_text() == content
