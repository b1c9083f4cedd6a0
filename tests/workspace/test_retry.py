"""Failed trials are re-run once the cause of the failure is fixed."""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import patch

import polars as pl
from optuna.trial import TrialState

from ngm_tune.search.optuna_journal import open_storage
from tests.helpers.commands import in_process, install_methods
from tests.helpers.comparing import assert_same_results
from tests.helpers.unreliable import UNRELIABLE

CHANGES = (
    "searches=1",
    "trials=3",
    "seeds=1",
    "iterations_per_task=8",
    "confirm={max_configurations=1, seeds=1}",
)


def test_retry_failed_reruns_failed_trials_and_quarantines_their_files(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    site = install_methods(tmp_path / "site", UNRELIABLE, "unreliable")
    ngm_tune = in_process(site)

    def run(results: str, *options: str, **variables: str) -> str:
        study = ("run", "quickstart", "--set", 'methods=["unreliable", "sgd"]')
        changes = [text for change in CHANGES for text in ("--set", change)]
        with patch.dict(os.environ, variables):
            done = ngm_tune(*study, *changes, "--results", results, *options, cwd=tmp_path)
        assert (done.code, done.err) == (0, "")
        return done.out

    run("intact")
    assert "3 of 7 runs failed" in run("broken", BREAK_METHOD="1")
    location = tmp_path / "broken"
    completed = {path: path.stat().st_mtime_ns for path in (location / "trials").glob("*sgd*")}
    assert "is complete" in run("broken")
    assert len(list((location / "failures").iterdir())) == 3

    run("broken", "--retry-failed")
    assert_same_results(location, tmp_path / "intact")
    assert {
        path: path.stat().st_mtime_ns for path in (location / "trials").glob("*sgd*")
    } == completed
    assert list((location / "failures").iterdir()) == []
    quarantined = pl.concat(
        [pl.read_parquet(path) for path in (location / "damaged" / "trials").iterdir()]
    )
    assert quarantined["status"].to_list() == ["failed"] * 3
    assert len(list((location / "damaged" / "failures").iterdir())) == 3
    storage = open_storage(location / "optuna.journal")
    trials = storage.get_all_trials(storage.get_study_id_from_name("split-digits/unreliable"))
    assert [trial.state for trial in trials] == [TrialState.FAIL] * 3 + [TrialState.COMPLETE] * 3
