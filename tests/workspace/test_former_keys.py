"""Results whose studies have keys of earlier versions are read, examined and resumed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest

from ngm_tune.analysis.loading import load
from ngm_tune.results.directory import Results
from ngm_tune.results.legacy_keys import with_current_keys
from ngm_tune.search.optuna_journal import open_storage
from ngm_tune.study.files import load_study
from ngm_tune.workspace.doctor import examine
from ngm_tune.workspace.manifest import copied_study, differences, stored_study
from tests.helpers.commands import Command
from tests.helpers.damage import contents, damage
from tests.helpers.former_results import FORMER, SCHEMA_2_FORMER_KEYS, Former

FORMS = sorted(FORMER)


class Resumed(NamedTuple):
    former: Former
    study: Path
    location: Path
    """A copy of the former results, resumed with one more trial per method."""
    fresh: Path
    """The same study, run from its start by the current version."""


@pytest.fixture(scope="module", params=FORMS)
def resumed(
    request: pytest.FixtureRequest, ngm_tune: Command, tmp_path_factory: pytest.TempPathFactory
) -> Resumed:
    former = FORMER[request.param]
    folder = tmp_path_factory.mktemp("former")
    study = former.write_study(folder / "study.toml")
    shutil.copytree(former.location, folder / "resumed")
    for name in ("resumed", "fresh"):
        answer = ngm_tune("run", study, "--set", "trials=3", "--results", folder / name)
        assert (answer.code, answer.err) == (0, "")
    return Resumed(former, study, folder / "resumed", folder / "fresh")


def searched(location: Path) -> pl.DataFrame:
    rows = pl.read_parquet(location / "trials" / "*.parquet", missing_columns="insert")
    return rows.filter(phase="search").sort("trial_id", "seed")


def suggestions(location: Path) -> dict[tuple[str, int], dict[str, float]]:
    storage = open_storage(location / "optuna.journal")
    return {
        (study.study_name, trial.user_attrs["number"]): trial.params
        for study in storage.get_all_studies()
        for trial in storage.get_all_trials(study._study_id)
    }


@pytest.mark.parametrize("form", FORMS)
def test_a_study_with_former_keys_is_the_study_with_current_keys(form: str, tmp_path: Path) -> None:
    former = FORMER[form]
    current = load_study(str(former.write_study(tmp_path / "study.toml")))
    results = Results(str(former.location))
    stored = stored_study(results, "unused")
    assert stored is not None
    assert differences(current, stored) == []
    assert (stored.trials, stored.confirm) == (current.trials, current.confirm)
    assert copied_study(results) in (stored, None)


def test_every_former_key_has_its_current_name() -> None:
    study = stored_study(Results(str(SCHEMA_2_FORMER_KEYS)), "unused")
    assert study is not None
    assert study == copied_study(Results(str(SCHEMA_2_FORMER_KEYS)))
    assert study.search_space == {"sgd": {"lr": [0.01, 0.5]}}
    assert study.points_to_evaluate == [{"method": "sgd", "lr": 0.1}]
    assert study.early_stopping is not None
    assert study.early_stopping.model_dump() == {
        "quantile": 0.6, "min_peers": 3, "grace_tasks": 3,
    }  # fmt: skip
    assert study.plateau is not None
    assert study.plateau.model_dump() == {"patience": 5, "min_improvement": 0.02}
    assert study.confirm.max_configurations == 1
    assert with_current_keys({"racing": {"chance": 0.3}}) == {"racing": {"min_probability": 0.3}}


def test_the_doctor_finds_nothing_in_results_with_former_keys(
    tmp_path: Path, ngm_tune: Command
) -> None:
    copy = shutil.copytree(SCHEMA_2_FORMER_KEYS, tmp_path / "copy")
    before = contents(copy)
    assert list(examine(str(copy))) == []
    assert ngm_tune("doctor", copy).out == f"{copy}: nothing is damaged\n"
    assert contents(copy) == before


def test_the_doctor_rebuilds_the_record_of_results_with_former_keys(tmp_path: Path) -> None:
    copy = shutil.copytree(SCHEMA_2_FORMER_KEYS, tmp_path / "copy")
    before = suggestions(copy)
    (copy / "optuna.journal").unlink()
    (copy / "study.toml").unlink()
    mended = {finding.name: finding.mended for finding in examine(str(copy))}
    assert mended == {
        "optuna.journal": "brought up to date",
        "study.toml": "written again as the study was run",
    }
    assert suggestions(copy) == before
    assert list(examine(str(copy))) == []


def test_analysis_knows_the_rules_of_a_search_with_former_keys() -> None:
    study = load(str(SCHEMA_2_FORMER_KEYS)).study
    assert study.confirm.max_configurations == 1
    assert study.plateau is not None
    assert (study.plateau.patience, study.plateau.min_improvement) == (5, 0.02)


def test_resuming_keeps_the_files_of_finished_runs(resumed: Resumed) -> None:
    for path in resumed.former.location.glob("*/*.parquet"):
        copy = resumed.location / path.relative_to(resumed.former.location)
        assert copy.read_bytes() == path.read_bytes(), path.name


def test_resuming_suggests_what_a_fresh_study_suggests(resumed: Resumed) -> None:
    expected = suggestions(resumed.fresh)
    assert len(expected) == 2 * 3
    found = suggestions(resumed.location)
    assert found.keys() == expected.keys()
    assert all(found[key] == pytest.approx(expected[key], rel=1e-12) for key in expected)


def test_a_resumed_study_has_the_rows_of_a_fresh_one(resumed: Resumed) -> None:
    """Outcomes of the former version may be rounded otherwise, as another machine computed them."""
    former = set(searched(resumed.former.location)["trial_id"])
    found, expected = searched(resumed.location), searched(resumed.fresh)
    assert found.select("trial_id", "seed").equals(expected.select("trial_id", "seed"))
    shared = [
        c for c in found.columns if c in expected.columns and c not in ("wall_seconds", "node")
    ]
    new = ~pl.col("trial_id").is_in(former)
    assert found.filter(new).height > 0
    assert found.filter(new).select(shared).equals(expected.filter(new).select(shared))
    for name in ("config_lr", "config_gain_sensitivity", "config_entropy_smoothing"):
        values, anew = (rows[name].drop_nulls().to_list() for rows in (found, expected))
        assert values == pytest.approx(anew, rel=1e-12)
    assert found["iterations"].equals(expected["iterations"])
    assert found["avg_acc"].to_list() == pytest.approx(expected["avg_acc"].to_list(), abs=0.1)


def test_a_resumed_study_is_whole_and_complete(resumed: Resumed, ngm_tune: Command) -> None:
    assert damage(resumed.location) == {}
    study = Results(str(resumed.location)).study()
    assert "max_concurrent_trials" in study
    assert Results(str(resumed.location)).environment()["study"] == study
    answer = ngm_tune("run", resumed.study, "--set", "trials=3", "--results", resumed.location)
    assert answer.code == 0
    assert "is complete: all " in answer.out
