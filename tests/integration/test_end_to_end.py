"""A tiny study from end to end: the command line, Ray, the report and the defaults."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tests.helpers.commands import in_subprocess

STUDY = (
    *("run", "quickstart", "--set", 'methods=["ngm-sgd", "sgd"]', "--set", "searches=1"),
    *("--set", "trials=1", "--set", "iterations_per_task=10"),
    *("--set", "confirm={ max_configurations = 1, seeds = 2 }"),
)


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_a_study_is_run_analyzed_and_yields_defaults(tmp_path: Path) -> None:
    ngm_tune = in_subprocess()
    location = tmp_path / "results"
    ran = ngm_tune(*STUDY, "--results", location)
    assert (ran.code, ran.err) == (0, "")
    assert "ngm-tune analyze" in ran.out
    assert "\x1b" not in ran.out
    trials = pl.read_parquet(location / "trials" / "*.parquet")
    assert set(trials["status"]) == {"completed"}
    ends = trials.group_by("method", "phase").len().sort("method", "phase").rows()
    assert ends == [
        *(("ngm-sgd", "confirm", 2), ("ngm-sgd", "search", 1)),
        *(("sgd", "confirm", 2), ("sgd", "search", 1)),
    ]
    analyzed = ngm_tune("analyze", location, "--output", tmp_path / "report")
    assert (analyzed.code, analyzed.err) == (0, "")
    report = (tmp_path / "report" / "report.html").read_text()
    assert "NGM-SGD" in report
    defaults = ngm_tune("defaults", location)
    assert (defaults.code, defaults.err) == (0, "")
