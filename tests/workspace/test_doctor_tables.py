"""The doctor finds damaged files of trials, and what is missing of their curves and steps."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ngm_tune.workspace.doctor import examine
from tests.helpers.commands import Command
from tests.helpers.comparing import SCHEMA_1
from tests.helpers.damage import (
    TRIAL,
    TRIAL_DAMAGES,
    count_contents,
    find_notes,
    read_metrics,
    rename_trial,
    repair_damage,
    truncate,
)
from tests.helpers.legacy_results import LEGACY_RESULTS

pytestmark = pytest.mark.usefixtures("own_methods")


@pytest.mark.parametrize(("damage_trial", "reason"), TRIAL_DAMAGES)
def test_a_damaged_trial_is_quarantined_and_reproduced_on_resume(
    copy: Path,
    study_file: Path,
    ngm_tune: Command,
    damage_trial: Callable[[Path], None],
    reason: str,
) -> None:
    path = copy / "trials" / f"{TRIAL}.parquet"
    metrics = read_metrics(path)
    damage_trial(path)
    damaged = path.read_bytes()
    description, repair = repair_damage(copy)[f"trials/{TRIAL}.parquet"]
    assert reason in description
    assert repair is not None
    assert (copy / "damaged" / "trials" / f"{TRIAL}.parquet").read_bytes() == damaged
    assert not path.exists()
    if damage_trial is truncate:  # one resumed study is enough, as it takes long
        assert ngm_tune("run", study_file, "--results", copy).code == 0
        assert read_metrics(path).equals(metrics)
        assert repair_damage(copy) == {}


def test_a_damaged_companion_is_quarantined_and_the_doctor_says_how_to_recreate_it(
    copy: Path,
) -> None:
    name = f"curves/{TRIAL}.parquet"
    truncate(copy / name)
    findings = [f for f in examine(str(copy)) if f.name == name]
    assert [f.repair for f in findings] == [f"moved to damaged/{name}", None]
    assert "missing, but its run is complete; to recreate it" in findings[1].description
    assert (copy / "damaged" / name).exists()


def test_a_trial_that_does_not_belong_to_the_study_is_quarantined(copy: Path) -> None:
    rename_trial(copy, f"{TRIAL[:-4]}0099")
    description, repair = repair_damage(copy)[f"trials/{TRIAL[:-4]}0099.parquet"]
    assert description.startswith("configuration 99 of a search with at most ")
    assert repair is not None


def test_results_of_a_newer_version_are_reported_and_left_unchanged(
    copy: Path, ngm_tune: Command
) -> None:
    path = copy / "trials" / f"{TRIAL}.parquet"
    rows = pq.read_table(path)
    pq.write_table(rows.replace_schema_metadata({"ngm_tune.schema_version": "99"}), path)
    before = count_contents(copy)
    answer = ngm_tune("doctor", copy)
    assert answer.code == 1
    assert "schema version 99; this version of ngm-tune reads 1 to 4; a newer" in answer.out
    assert path.exists()
    assert before.items() <= count_contents(copy).items()


def test_results_of_an_older_version_are_noted_and_left_unchanged(tmp_path: Path) -> None:
    copy = shutil.copytree(SCHEMA_1, tmp_path / "copy")
    notes = find_notes(copy)
    assert notes["curves/"] == "4 files of schema version 1, which can still be read"
    assert "gaps are recomputed from curves/" in notes["trials/"]
    assert repair_damage(copy) == {}


def test_gaps_of_an_older_version_that_cannot_be_recomputed_are_noted(
    tmp_path: Path, ngm_tune: Command
) -> None:
    legacy = LEGACY_RESULTS["schema 2"]
    copy = shutil.copytree(legacy.location, tmp_path / "copy")
    (copy / "curves" / "split-digits.sgd.0000.parquet").unlink()
    note = find_notes(copy)["trials/split-digits.sgd.0000.parquet"]
    assert "cannot be recomputed" in note
    study = legacy.write_study(tmp_path / "study.toml")
    resumed = ngm_tune("run", study, "--results", copy)
    assert "1 of 6 runs failed" in resumed.out
    retried = ngm_tune("run", study, "--results", copy, "--retry-failed")
    assert retried.code == 0
    assert "failed" not in retried.out
    assert "trials/split-digits.sgd.0000.parquet" not in find_notes(copy)


@pytest.mark.parametrize("table", ["curves", "steps"])
def test_curves_and_steps_with_missing_iterations_are_reported(copy: Path, table: str) -> None:
    path = copy / table / f"{TRIAL}.parquet"
    rows = pl.read_parquet(path)
    half = rows.filter(pl.col("iteration") <= pl.col("iteration").max() // 2)
    pq.write_table(half.to_arrow().cast(pq.read_schema(path)), path)
    description, repair = repair_damage(copy)[f"{table}/{TRIAL}.parquet"]
    assert "iterations of seed 7 instead of" in description
    assert repair is None


def test_a_run_that_diverged_before_its_first_evaluation_is_not_damaged(
    tmp_path: Path, ngm_tune: Command
) -> None:
    changes = ('methods=["diverges"]', "searches=1", "trials=1", "split=fixed", "class_order=paper")
    changes += ("iterations_per_task=24", "eval_every=24", "confirm={max_configurations=0}")
    options = [text for change in changes for text in ("--set", change)]
    assert ngm_tune("run", "quickstart", *options, "--results", tmp_path / "study").code == 0
    (curves,) = (tmp_path / "study" / "curves").iterdir()
    assert pq.read_table(curves).num_rows == 0
    assert [f for f in examine(str(tmp_path / "study")) if f.kind == "damage"] == []


def test_companions_of_an_unfinished_run_are_not_damaged(copy: Path) -> None:
    (copy / "trials" / f"{TRIAL}.parquet").unlink()
    notes = find_notes(copy)
    for table in ("tasks", "curves", "steps"):
        assert "belongs to an unfinished run" in notes[f"{table}/{TRIAL}.parquet"]
    assert repair_damage(copy) == {}


@pytest.mark.parametrize("column", ["config_lr", "search_lr"])
def test_hyperparameter_columns_of_the_wrong_type_are_damage(copy: Path, column: str) -> None:
    path = copy / "trials" / f"{TRIAL}.parquet"
    rows = pq.read_table(path)
    text = rows[column].cast(pa.string())
    pq.write_table(rows.set_column(rows.schema.get_field_index(column), column, text), path)
    description, repair = repair_damage(copy)[f"trials/{TRIAL}.parquet"]
    assert description == f"column {column} is of type string instead of double"
    assert repair is not None


def test_search_coordinates_outside_the_search_space_are_damage(copy: Path) -> None:
    path = copy / "trials" / f"{TRIAL}.parquet"
    rows = pq.read_table(path)
    index = rows.schema.get_field_index("search_lr")
    outside = pa.array([-5.0] * rows.num_rows)
    pq.write_table(rows.set_column(index, rows.schema.field("search_lr"), outside), path)
    description, repair = repair_damage(copy)[f"trials/{TRIAL}.parquet"]
    assert description == "lr = -5.0 is outside the search space"
    assert repair is not None
