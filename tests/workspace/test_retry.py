"""Trials that failed, run again once what made them fail is mended."""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import patch

import polars as pl
from optuna.trial import TrialState

from ngm_tune.search.optuna_journal import open_storage
from tests.helpers.commands import in_process, installed
from tests.helpers.comparing import assert_the_same

METHODS = """
    import os

    from optuna.distributions import FloatDistribution
    from torch.optim import SGD

    from ngm_tune.methods import Method


    def build(model, lr):
        if "NO_LUCK" in os.environ:
            raise RuntimeError("no such luck")
        return SGD(model.parameters(), lr=lr)


    fickle = Method(
        name="fickle",
        title="Fickle",
        source="tests",
        space={"lr": FloatDistribution(1e-3, 1e-1, log=True)},
        build=build,
    )
"""
CHANGES = (
    "trials=3",
    "seeds=1",
    "iterations_per_task=8",
    "confirm={max_configurations=1, seeds=1}",
)


def test_failed_trials_are_run_again_where_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    site = installed(tmp_path / "site", METHODS, "fickle")
    ngm_tune = in_process(site)

    def run(results: str, *options: str, **variables: str) -> str:
        study = ("run", "quickstart", "--set", 'methods=["fickle", "sgd"]')
        changes = [text for change in CHANGES for text in ("--set", change)]
        with patch.dict(os.environ, variables):
            done = ngm_tune(*study, *changes, "--results", results, *options, cwd=tmp_path)
        assert (done.code, done.err) == (0, "")
        return done.out

    run("lucky")
    assert "3 of 7 runs failed" in run("unlucky", NO_LUCK="1")
    there = tmp_path / "unlucky"
    healthy = {path: path.stat().st_mtime_ns for path in (there / "trials").glob("*sgd*")}
    assert "is complete" in run("unlucky")
    assert len(list((there / "failures").iterdir())) == 3

    run("unlucky", "--retry-failed")
    assert_the_same(there, tmp_path / "lucky")
    assert {path: path.stat().st_mtime_ns for path in (there / "trials").glob("*sgd*")} == healthy
    assert list((there / "failures").iterdir()) == []
    aside = pl.concat([pl.read_parquet(path) for path in (there / "damaged" / "trials").iterdir()])
    assert aside["status"].to_list() == ["failed"] * 3
    assert len(list((there / "damaged" / "failures").iterdir())) == 3
    storage = open_storage(there / "optuna.journal")
    trials = storage.get_all_trials(storage.get_study_id_from_name("split-digits/fickle"))
    assert [trial.state for trial in trials] == [TrialState.FAIL] * 3 + [TrialState.COMPLETE] * 3
