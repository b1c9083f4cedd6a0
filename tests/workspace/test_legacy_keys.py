"""Results whose study has keys of an earlier version are read, examined and resumed."""

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
from ngm_tune.study.files import load_study, validate_study
from ngm_tune.workspace.doctor import examine
from ngm_tune.workspace.manifest import (
    find_differences,
    load_stored_study,
    load_study_copy,
    write_study,
)
from tests.helpers.commands import Command
from tests.helpers.damage import count_contents, repair_damage
from tests.helpers.legacy_results import (
    LEGACY_RESULTS,
    SCHEMA_2_LEGACY_KEYS,
    SCHEMA_3_WITHOUT_SEARCHES,
    LegacyResults,
)

VERSIONS = sorted(LEGACY_RESULTS)


class Resumed(NamedTuple):
    """A study of an earlier version that the current version resumed.

    Attributes:
        legacy: The results of the earlier version.
        study: The study file with current keys.
        location: A copy of the results, resumed with one more trial per method.
        fresh: Results of the same study, run from its start by the current version.
    """

    legacy: LegacyResults
    study: Path
    location: Path
    fresh: Path


@pytest.fixture(scope="module", params=VERSIONS)
def resumed(
    request: pytest.FixtureRequest, ngm_tune: Command, tmp_path_factory: pytest.TempPathFactory
) -> Resumed:
    legacy = LEGACY_RESULTS[request.param]
    folder = tmp_path_factory.mktemp("legacy")
    study = legacy.write_study(folder / "study.toml")
    shutil.copytree(legacy.location, folder / "resumed")
    for name in ("resumed", "fresh"):
        answer = ngm_tune("run", study, "--set", "trials=3", "--results", folder / name)
        assert (answer.code, answer.err) == (0, "")
    return Resumed(legacy, study, folder / "resumed", folder / "fresh")


def read_search_trials(location: Path) -> pl.DataFrame:
    rows = pl.DataFrame(Results(str(location)).read("trials"))
    return rows.filter(phase="search").sort("trial_id", "seed")


def read_suggestions(location: Path) -> dict[tuple[str, int], dict[str, float]]:
    """Return the parameters in the search record, by Optuna study and run number."""
    storage = open_storage(location / "optuna.journal")
    return {
        (study.study_name, trial.user_attrs["number"]): trial.params
        for study in storage.get_all_studies()
        for trial in storage.get_all_trials(study._study_id)
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_a_study_with_legacy_keys_equals_the_study_with_current_keys(
    version: str, tmp_path: Path
) -> None:
    legacy = LEGACY_RESULTS[version]
    current = load_study(str(legacy.write_study(tmp_path / "study.toml")))
    results = Results(str(legacy.location))
    stored = load_stored_study(results, "unused")
    assert stored is not None
    assert find_differences(current, stored) == []
    assert (stored.trials, stored.confirm) == (current.trials, current.confirm)
    assert load_study_copy(results) in (stored, None)


def test_every_legacy_key_is_read_as_its_current_key() -> None:
    study = load_stored_study(Results(str(SCHEMA_2_LEGACY_KEYS)), "unused")
    assert study is not None
    assert study == load_study_copy(Results(str(SCHEMA_2_LEGACY_KEYS)))
    assert study.search_space == {"sgd": {"lr": [0.01, 0.5]}}
    assert study.points_to_evaluate == [{"method": "sgd", "lr": 0.1}]
    assert study.confirm.max_configurations == 1


@pytest.mark.parametrize(("seed", "seeds"), [(0, 3), (7, [0, 1, 2])])
def test_a_study_of_an_earlier_version_keeps_its_run_seeds(
    seed: int, seeds: int | list[int]
) -> None:
    """They did not depend on the seed of the study."""
    stored = {"seeds": 3, "seed": seed, "probe_every": 20}
    assert with_current_keys(stored)["seeds"] == seeds
    assert with_current_keys({**stored, "searches": 1})["seeds"] == 3


@pytest.mark.parametrize(("seed", "seeds"), [(0, 3), (7, [140_000, 140_001, 140_002])])
def test_a_study_from_before_repetitions_keeps_its_run_seeds(
    seed: int, seeds: int | list[int]
) -> None:
    stored = {"seeds": 3, "seed": seed, "probe_every": 20, "split": "drawn"}
    assert with_current_keys(stored)["seeds"] == seeds


def test_a_study_from_before_repetitions_has_the_defaults_of_then() -> None:
    stored = load_stored_study(Results(str(SCHEMA_3_WITHOUT_SEARCHES)), "unused")
    assert stored is not None
    assert (stored.searches, stored.split, stored.class_order) == (1, "fixed", "paper")
    drawn = with_current_keys({"probe_every": 20, "split": "drawn", "class_order": "drawn"})
    assert (drawn["searches"], drawn["split"], drawn["class_order"]) == (1, "drawn", "drawn")


def test_fixed_runs_of_an_earlier_version_are_read() -> None:
    """It stored its default of ``confirm``, which is not today's, although it had no effect."""
    content = {
        **Results(str(SCHEMA_3_WITHOUT_SEARCHES)).read_study(),
        "settings": {"ngm-sgd": {"lr": 0.1}, "sgd": {"lr": 0.1}},
        "trials": 1,
        "confirm": {"max_configurations": 4, "seeds": 5},
    }
    del content["searches"]
    assert validate_study(with_current_keys(content), "study.toml").settings is not None


def test_doctor_finds_no_problem_in_results_with_legacy_keys(
    tmp_path: Path, ngm_tune: Command
) -> None:
    copy = shutil.copytree(SCHEMA_2_LEGACY_KEYS, tmp_path / "copy")
    before = count_contents(copy)
    assert {finding.kind for finding in examine(str(copy), repair=False)} == {"note"}
    assert count_contents(copy) == before
    assert f"{copy}: nothing is damaged\n" in ngm_tune("doctor", copy).out
    assert repair_damage(copy) == {}


def test_doctor_rebuilds_the_search_record_of_results_with_legacy_keys(tmp_path: Path) -> None:
    copy = shutil.copytree(SCHEMA_2_LEGACY_KEYS, tmp_path / "copy")
    before = read_suggestions(copy)
    (copy / "optuna.journal").unlink()
    (copy / "study.toml").unlink()
    findings = examine(str(copy))
    assert {finding.name: finding.repair for finding in findings if finding.repair} == {
        "optuna.journal": "brought up to date",
        "study.toml": "rewritten to match trials/",
    }
    assert read_suggestions(copy) == before
    assert [finding for finding in examine(str(copy)) if finding.repair] == []


@pytest.mark.parametrize("key", ["racing", "plateau", "early_stopping", "stopping"])
def test_results_with_a_removed_key_are_analyzed_and_not_resumed(
    tmp_path: Path, ngm_tune: Command, key: str
) -> None:
    copy = shutil.copytree(SCHEMA_2_LEGACY_KEYS, tmp_path / "copy")
    current = LEGACY_RESULTS["schema 2"].write_study(tmp_path / "study.toml")
    with (copy / "study.toml").open("a") as file:
        file.write(f"\n[{key}]\n")
    environment = Results(str(copy)).read_environment()
    environment["study"][key] = {}
    Results(str(copy)).write_environment(environment)
    before = count_contents(copy)
    loaded = load(str(copy))
    assert (loaded.results.left_out, loaded.search.height) == ({}, 4)
    for name in ("analyze", "defaults"):
        assert ngm_tune(name, copy, "--output", tmp_path / name).code == 0
    refused = ngm_tune("run", current, "--results", copy)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    name = "early_stopping" if key == "stopping" else key
    assert f"{name} was removed: at equal compute " in refused.err
    assert "results that were searched with it can be analyzed, not resumed" in refused.err
    assert not any(finding.repair for finding in examine(str(copy)))
    assert count_contents(copy) == before


@pytest.mark.parametrize("version", VERSIONS)
def test_raising_trials_rewrites_legacy_keys_without_quarantine(
    version: str, tmp_path: Path
) -> None:
    legacy = LEGACY_RESULTS[version]
    copy = shutil.copytree(legacy.location, tmp_path / "copy")
    current = load_study(str(legacy.write_study(tmp_path / "study.toml")), ["trials=3"])
    results = Results(str(copy))
    assert write_study(current, results) is None
    assert load_stored_study(results, "unused") == current
    assert not (copy / "damaged").exists()


@pytest.mark.parametrize("line", ["# my notes", "seeds = 1  # fast"])
def test_a_study_file_with_comments_is_quarantined_when_it_is_rewritten(
    line: str, tmp_path: Path
) -> None:
    copy = shutil.copytree(SCHEMA_2_LEGACY_KEYS, tmp_path / "copy")
    text = (copy / "study.toml").read_text()
    commented = text.replace("seeds = 1", line) if "seeds" in line else f"{line}\n{text}"
    (copy / "study.toml").write_text(commented)
    stored = load_stored_study(Results(str(copy)), "unused")
    assert stored is not None
    extended = stored.model_copy(update={"trials": 3})
    assert write_study(extended, Results(str(copy))) == "damaged/study.toml"
    assert (copy / "damaged" / "study.toml").read_text() == commented


def test_resuming_keeps_the_files_of_finished_runs(resumed: Resumed) -> None:
    for path in resumed.legacy.location.glob("*/*.parquet"):
        copy = resumed.location / path.relative_to(resumed.legacy.location)
        assert copy.read_bytes() == path.read_bytes(), path.name


def test_extending_a_study_with_legacy_keys_quarantines_nothing(resumed: Resumed) -> None:
    assert Results(str(resumed.location)).read_study()["trials"] == 3
    assert not (resumed.location / "damaged").exists()


def test_a_resumed_study_suggests_the_same_configurations_as_a_fresh_one(resumed: Resumed) -> None:
    expected = read_suggestions(resumed.fresh)
    assert len(expected) == 2 * 3
    actual = read_suggestions(resumed.location)
    assert actual.keys() == expected.keys()
    assert all(actual[key] == pytest.approx(expected[key], rel=1e-12) for key in expected)


def test_a_resumed_study_has_the_same_rows_as_a_fresh_one(resumed: Resumed) -> None:
    """Old outcomes may differ by rounding, because they were computed on another machine."""
    old = set(read_search_trials(resumed.legacy.location)["trial_id"])
    actual, expected = read_search_trials(resumed.location), read_search_trials(resumed.fresh)
    assert actual.select("trial_id", "seed").equals(expected.select("trial_id", "seed"))
    shared = [
        c for c in actual.columns if c in expected.columns and c not in ("wall_seconds", "node")
    ]
    is_new = ~pl.col("trial_id").is_in(old)
    assert actual.filter(is_new).height > 0
    assert actual.filter(is_new).select(shared).equals(expected.filter(is_new).select(shared))
    for name in ("config_lr", "config_gain_sensitivity", "config_entropy_smoothing"):
        actual_values, expected_values = (
            rows[name].drop_nulls().to_list() for rows in (actual, expected)
        )
        assert actual_values == pytest.approx(expected_values, rel=1e-12)
    assert actual["iterations"].equals(expected["iterations"])
    assert actual["avg_acc"].to_list() == pytest.approx(expected["avg_acc"].to_list(), abs=0.1)


def test_a_resumed_study_with_legacy_keys_is_undamaged_and_complete(
    resumed: Resumed, ngm_tune: Command
) -> None:
    assert repair_damage(resumed.location) == {}
    study = Results(str(resumed.location)).read_study()
    assert "max_concurrent_trials" in study
    assert Results(str(resumed.location)).read_environment()["study"] == study
    answer = ngm_tune("run", resumed.study, "--set", "trials=3", "--results", resumed.location)
    assert answer.code == 0
    assert "is complete: all " in answer.out
