"""What a report reads of a results directory, and what it leaves out."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tomli_w

from ngm_tune.analysis.loading import LoadedStudy, load
from ngm_tune.errors import UserError
from tests.conftest import Command
from tests.helpers.damage import TRIAL, one_seed, rename_trial, truncated


def test_a_report_names_what_it_leaves_out(copy: Path, ngm_tune: Command) -> None:
    rename_trial(copy, f"{TRIAL[:-4]}0099")
    (copy / "steps" / "split-digits.sgd.0001.parquet").unlink()
    answer = ngm_tune("analyze", copy)
    assert (answer.code, answer.err) == (0, "")
    assert f"Left out: trials/{TRIAL[:-4]}0099.parquet: configuration 99 of a study" in answer.out
    assert "Left out: steps/split-digits.sgd.0001.parquet: it is gone" in answer.out
    assert "ngm-tune doctor" in answer.out
    page = (copy / "report" / "report.html").read_text()
    assert "Left out" in page
    assert "steps/split-digits.sgd.0001.parquet" in page
    assert "SGD on Split-Digits has" in page
    assert "the effort is not equal" in page


@pytest.mark.parametrize("table", ["tasks", "curves", "steps"])
def test_what_is_gone_of_a_complete_trial_is_noticed(copy: Path, table: str) -> None:
    (copy / table / f"{TRIAL}.parquet").unlink()
    left_out = load(str(copy)).results.left_out
    assert left_out == {f"{table}/{TRIAL}.parquet": "it is gone, though its trial is complete"}


def test_probes_that_are_gone_are_noticed_in_a_study_that_has_them(copy: Path) -> None:
    text = (copy / "study.toml").read_text()
    (copy / "study.toml").write_text(text.replace("probes = []", 'probes = ["curvature"]'))
    assert f"probes/{TRIAL}.parquet" in load(str(copy)).results.left_out


@pytest.mark.parametrize("table", ["curves", "steps"])
def test_a_damaged_table_is_left_out_as_a_chart_needs_it(copy: Path, table: str) -> None:
    truncated(copy / table / f"{TRIAL}.parquet")
    loaded = load(str(copy))
    assert loaded.results.read(table, [TRIAL]).num_rows == 0  # type: ignore[arg-type]
    assert "not readable as Parquet" in loaded.results.left_out[f"{table}/{TRIAL}.parquet"]


def text_for_a_number(path: Path) -> None:
    rows = pq.read_table(path)
    place = rows.schema.get_field_index("config_lr")
    pq.write_table(rows.set_column(place, "config_lr", rows["config_lr"].cast(pa.string())), path)


def single_seed(path: Path) -> None:
    one_seed(path)
    path.rename(path.with_name(f"{TRIAL}@7.parquet"))


HARMS: list[tuple[Callable[[Path], None], str, str]] = [
    (truncated, TRIAL, "not readable as Parquet"),
    (one_seed, TRIAL, "seeds 7 instead of 7, 8"),
    (
        single_seed,
        f"{TRIAL}@7",
        "a file of one seed; this study keeps all seeds",
    ),
    (text_for_a_number, TRIAL, "column config_lr is of type string, elsewhere of type double"),
]


@pytest.mark.parametrize(("harm", "run", "reason"), HARMS)
def test_a_trial_that_is_not_as_it_was_written_is_left_out(
    copy: Path, harm: Callable[[Path], None], run: str, reason: str
) -> None:
    harm(copy / "trials" / f"{TRIAL}.parquet")
    loaded = load(str(copy))
    assert reason in loaded.results.left_out[f"trials/{run}.parquet"]
    assert TRIAL not in set(loaded.search["trial_id"])


def test_claims_do_not_rest_on_a_part_of_the_seeds_that_confirm(copy: Path) -> None:
    def evidence(loaded: LoadedStudy) -> set[str]:
        return set(loaded.of("split-digits")["phase"])

    assert evidence(load(str(copy))) == {"confirm"}
    (path,) = (copy / "trials").glob("split-digits.sgd.*.confirm.parquet")
    one_seed(path)
    loaded = load(str(copy))
    assert loaded.results.left_out == {f"trials/{path.name}": "seeds 1000 instead of 1000, 1001"}
    assert evidence(loaded) == {"search"}


def race(location: Path) -> None:
    """Let the study be one with racing, whose seeds have a file each."""
    text = (location / "study.toml").read_text()
    (location / "study.toml").write_text(text + "\n[racing]\n")
    for path in (location / "trials").iterdir():
        if not path.stem.endswith(".confirm"):
            rows = pq.read_table(path)
            for i, seed in enumerate(rows["seed"].to_pylist()):
                pq.write_table(rows.slice(i, 1), path.with_name(f"{path.stem}@{seed}.parquet"))
            path.unlink()


def test_seeds_that_were_raced_for_count_once_each(copy: Path) -> None:
    race(copy)
    before = load(str(copy))
    assert not [name for name in before.results.left_out if name.startswith("trials/")]
    assert before.search.filter(trial_id=TRIAL)["seeds"].to_list() == [2]
    again = copy / "trials" / f"{TRIAL}@07.parquet"
    shutil.copy(copy / "trials" / f"{TRIAL}@7.parquet", again)
    loaded = load(str(copy))
    assert loaded.results.left_out[f"trials/{again.name}"] == "seeds 7 instead of none"
    assert loaded.search.filter(trial_id=TRIAL)["seeds"].to_list() == [2]


@pytest.mark.parametrize("key", ["seeds", "confirm.seeds", "trials"])
def test_a_study_of_impossible_size_is_one_sentence(copy: Path, key: str) -> None:
    study = tomllib.loads((copy / "study.toml").read_text())
    *table, last = key.split(".")
    (study[table[0]] if table else study)[last] = 4_000_000_000
    (copy / "study.toml").write_text(tomli_w.dumps(study))
    with pytest.raises(
        UserError, match=rf"study.toml: no study of this version: {key}.*4000000000"
    ):
        load(str(copy))
