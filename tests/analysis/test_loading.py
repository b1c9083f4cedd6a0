"""Loading of results directories, complete and damaged ones."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tomli_w

from ngm_tune.analysis.loaded_study import LoadedStudy
from ngm_tune.analysis.loading import load
from ngm_tune.errors import UserError
from ngm_tune.results.directory import Results
from tests.helpers.commands import Command
from tests.helpers.damage import TRIAL, keep_last_seed, rename_trial, truncate
from tests.helpers.fronts import STUDY


def test_the_report_lists_skipped_files(copy: Path, ngm_tune: Command) -> None:
    rename_trial(copy, f"{TRIAL[:-4]}0099")
    (copy / "steps" / "split-digits.sgd.0001.parquet").unlink()
    answer = ngm_tune("analyze", copy, "--no-images")
    assert (answer.code, answer.err) == (0, "")
    assert f"Left out: trials/{TRIAL[:-4]}0099.parquet: configuration 99 of a search" in answer.out
    assert "Left out: steps/split-digits.sgd.0001.parquet: missing" in answer.out
    assert "ngm-tune doctor" in answer.out
    page = (copy / "report" / "report.html").read_text()
    assert "Skipped files" in page
    assert "steps/split-digits.sgd.0001.parquet" in page
    assert "SGD on Split-Digits has" in page
    assert "the tuning effort is unequal" in page


@pytest.mark.parametrize("table", ["tasks", "curves", "steps"])
def test_missing_files_of_a_completed_trial_are_left_out_by_name(copy: Path, table: str) -> None:
    (copy / table / f"{TRIAL}.parquet").unlink()
    left_out = load(str(copy)).results.left_out
    assert left_out == {f"{table}/{TRIAL}.parquet": "missing, although its trial is complete"}


def test_missing_probes_are_left_out_by_name_if_the_study_has_probes(copy: Path) -> None:
    text = (copy / "study.toml").read_text()
    (copy / "study.toml").write_text(text.replace("probes = []", 'probes = ["curvature"]'))
    assert f"probes/{TRIAL}.parquet" in load(str(copy)).results.left_out


@pytest.mark.parametrize("table", ["curves", "steps"])
def test_damaged_tables_are_skipped_when_they_are_read(copy: Path, table: str) -> None:
    truncate(copy / table / f"{TRIAL}.parquet")
    loaded = load(str(copy))
    assert loaded.results.read(table, [TRIAL]).num_rows == 0  # type: ignore[arg-type]
    assert "not readable as Parquet" in loaded.results.left_out[f"{table}/{TRIAL}.parquet"]


def string_column(path: Path) -> None:
    rows = pq.read_table(path)
    place = rows.schema.get_field_index("config_lr")
    pq.write_table(rows.set_column(place, "config_lr", rows["config_lr"].cast(pa.string())), path)


def single_seed(path: Path) -> None:
    keep_last_seed(path)
    path.rename(path.with_name(f"{TRIAL}@7.parquet"))


DAMAGES: list[tuple[Callable[[Path], None], str, str]] = [
    (truncate, TRIAL, "not readable as Parquet"),
    (keep_last_seed, TRIAL, "seeds 8 instead of 7, 8"),
    (
        single_seed,
        f"{TRIAL}@7",
        "a file of one seed; this study keeps all seeds",
    ),
    (string_column, TRIAL, "column config_lr has type string, in other files double"),
]


@pytest.mark.parametrize(("damage", "run", "reason"), DAMAGES)
def test_trials_with_damaged_files_are_skipped(
    copy: Path, damage: Callable[[Path], None], run: str, reason: str
) -> None:
    damage(copy / "trials" / f"{TRIAL}.parquet")
    loaded = load(str(copy))
    assert reason in loaded.results.left_out[f"trials/{run}.parquet"]
    assert TRIAL not in set(loaded.search["trial_id"])


def test_claims_rest_on_the_search_if_a_confirmation_lacks_a_seed(copy: Path) -> None:
    def evidence(loaded: LoadedStudy) -> set[str]:
        return set(loaded.evidence("split-digits")["phase"])

    assert evidence(load(str(copy))) == {"confirm"}
    (path,) = (copy / "trials").glob("split-digits.sgd.*.confirm.parquet")
    keep_last_seed(path)
    loaded = load(str(copy))
    assert loaded.results.left_out == {f"trials/{path.name}": "seeds 1001 instead of 1000"}
    assert evidence(loaded) == {"search"}


def convert_to_racing(location: Path) -> None:
    """Convert the results to those of a study with racing: one file per seed."""
    text = (location / "study.toml").read_text()
    (location / "study.toml").write_text(text + "\n[racing]\n")
    for path in (location / "trials").iterdir():
        if not path.stem.endswith(".confirm"):
            rows = pq.read_table(path)
            for i, seed in enumerate(rows["seed"].to_pylist()):
                pq.write_table(rows.slice(i, 1), path.with_name(f"{path.stem}@{seed}.parquet"))
            path.unlink()


def test_a_seed_run_with_two_files_counts_once(copy: Path) -> None:
    convert_to_racing(copy)
    before = load(str(copy))
    assert not [name for name in before.results.left_out if name.startswith("trials/")]
    assert before.search.filter(trial_id=TRIAL)["seeds"].to_list() == [2]
    again = copy / "trials" / f"{TRIAL}@07.parquet"
    shutil.copy(copy / "trials" / f"{TRIAL}@7.parquet", again)
    loaded = load(str(copy))
    assert loaded.results.left_out[f"trials/{again.name}"] == "seeds 7 instead of none"
    assert loaded.search.filter(trial_id=TRIAL)["seeds"].to_list() == [2]


@pytest.mark.parametrize("key", ["seeds", "confirm.seeds", "trials"])
def test_a_study_with_a_number_out_of_range_is_refused_by_key(copy: Path, key: str) -> None:
    study = tomllib.loads((copy / "study.toml").read_text())
    *table, last = key.split(".")
    (study[table[0]] if table else study)[last] = 4_000_000_000
    (copy / "study.toml").write_text(tomli_w.dumps(study))
    with pytest.raises(UserError, match=rf"study.toml: not a valid study: {key}.*4000000000"):
        load(str(copy))


def test_loaded_trials_have_means_over_seeds_and_front_membership(fronts: Path) -> None:
    loaded = load(str(fronts))
    ngm = loaded.evidence("split-digits", "ngm-sgd").sort("trial_id")
    assert ngm["avg_acc"].to_list() == pytest.approx([0.96, 0.93, 0.5, 0.9, 0.99])
    assert ngm["avg_acc_sd"][0] == pytest.approx(0.01 * 2**0.5)
    assert ngm["front"].to_list() == [True, True, True, False, False]
    assert ngm["seeds"].to_list() == [2] * 5


def test_results_without_a_completed_run_are_refused(tmp_path: Path) -> None:
    results = Results(str(tmp_path))
    results.write_text("study.toml", STUDY)
    with pytest.raises(UserError, match=r"no run completed, so .*: none"):
        load(str(tmp_path))


def test_an_invalid_study_file_is_refused(tmp_path: Path) -> None:
    Results(str(tmp_path)).write_text("study.toml", "x = 1\n")
    with pytest.raises(UserError, match=r"study\.toml: not a valid study"):
        load(str(tmp_path))
