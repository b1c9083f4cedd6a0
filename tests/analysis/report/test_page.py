"""The report: its files, and how a browser shows it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest

from ngm_tune.analysis import write_report
from tests.conftest import Finished
from tests.helpers.commands import Command
from tests.helpers.comparing import SCHEMA_1
from tests.helpers.report_text import chart_kinds, plain_text
from tests.helpers.transferred import make_transfers


@pytest.fixture(scope="module")
def report(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(str(finished.location), tmp_path_factory.mktemp("report")).page


def test_benchmark_names_with_path_components_are_refused(
    finished: Finished, tmp_path: Path, ngm_tune: Command
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished.location, copy)
    study = copy / "study.toml"
    study.write_text(study.read_text().replace("rotated-digits", "../../outside"))
    answer = ngm_tune("analyze", copy, "--no-images")
    assert (answer.code, answer.out) == (2, "")
    assert "study.toml: not a valid study" in answer.err
    assert "'../../outside' is not a valid name of a benchmark or method; allowed are" in answer.err


def test_a_report_has_a_page_images_and_tables(report: Path) -> None:
    names = {path.name for path in report.parent.iterdir()}
    for benchmark in ("split-digits", "rotated-digits"):
        for figure in ("pareto", "transitions", "gain"):
            assert {f"{benchmark}-{figure}.png", f"{benchmark}-{figure}.svg"} <= names
    assert names >= {"methods.csv", "methods.md", "report.html"}
    assert not [name for name in names if name.endswith(".part")]
    assert (report.parent / "split-digits-pareto.png").read_bytes().startswith(b"\x89PNG")
    table = pl.read_csv(report.parent / "methods.csv")
    assert table.height == 8
    markdown = (report.parent / "methods.md").read_text()
    assert markdown.count("\n") == 8 + 2


def test_every_chart_agrees_with_the_schema_of_vega_lite(report: Path) -> None:
    assert chart_kinds(report) == {
        *("verdict", "pareto", "attainment", "transitions", "gain", "effort")
    }


def test_text_from_results_cannot_add_markup(report: Path) -> None:
    page = report.read_text()
    assert "<script>alert(1)" not in page
    assert "A small study &lt;/script&gt;" in page
    assert "Raises <i>" not in page


def test_the_page_loads_nothing_from_elsewhere(report: Path) -> None:
    page = report.read_text()
    assert "<script src" not in page
    markup = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"(src|href)=|@import|url\(", markup)


class Opened(NamedTuple):
    dom: str
    log: str


@pytest.fixture(scope="module")
def opened(report: Path, tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """The report's document after headless Chromium has run its scripts, without a network."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("Chromium is not installed")
    flags = [
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *("--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", "--v=0"),
        f"--user-data-dir={tmp_path_factory.mktemp('profile')}",
    ]
    done = subprocess.run(
        [browser, *flags, "--virtual-time-budget=20000", "--dump-dom", report.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return Opened(done.stdout, done.stderr)


def test_every_chart_is_drawn_in_a_browser(opened: Opened) -> None:
    for benchmark in ("split-digits", "rotated-digits"):
        for figure, words in (
            ("pareto", "Stability gap"),
            ("transitions", "into task 2"),
            ("gain", "Entropy, nats"),
        ):
            place = re.search(
                rf'<div class="chart[^"]*" id="{benchmark}-{figure}".*?</svg>',
                opened.dom,
                re.DOTALL,
            )
            assert place, figure
            assert "<svg" in place[0]
            assert words in place[0]
            assert place[0].count("<path") > 10
    assert "CONSOLE" not in opened.log


def test_an_unfinished_study_can_be_analyzed(
    finished: Finished, tmp_path: Path, ngm_tune: Command
) -> None:
    part = tmp_path / "part"
    shutil.copytree(finished.location, part)
    for path in part.glob("*/rotated-digits.*"):
        path.unlink() if path.is_file() else shutil.rmtree(path)
    (part / "environment.json").unlink()
    done = ngm_tune("analyze", part)
    assert done.code == 0, done.err
    assert done.err == ""
    names = {path.name for path in (part / "report").iterdir()}
    assert {"report.html", "split-digits-pareto.png", "split-digits-pareto.svg"} <= names
    assert not [name for name in names if name.startswith("rotated-digits")]


def test_results_at_a_uri_require_an_output(
    finished: Finished, ngm_tune: Command, tmp_path: Path
) -> None:
    uri = finished.location.as_uri()
    refused = ngm_tune("analyze", uri, "--no-images", cwd=tmp_path)
    assert refused.code == 2
    assert "choose a path with --output" in refused.err
    assert list(tmp_path.iterdir()) == []
    done = ngm_tune("defaults", uri, "--output", "mine.toml", cwd=tmp_path)
    assert done.code == 0, done.err
    assert (tmp_path / "mine.toml").is_file()


def test_hyperparameters_of_several_types_are_shown(tmp_path: Path, ngm_tune: Command) -> None:
    study = tmp_path / "fixed.toml"
    study.write_text(
        """
title = "Settings of several types"
benchmarks = ["split-digits"]
methods = ["ngm-sgd"]
trials = 1
seeds = 2
iterations_per_task = 12
reference_point = { avg_acc = 0.1, avg_sg = 1.0 }
[settings.ngm-sgd]
lr = 0.01
layers = "output"
normalise_entropy = true
"""
    )
    results = tmp_path / "fixed"
    done = ngm_tune("run", study, "--results", results)
    assert done.code == 0, done
    rows = pl.read_parquet(results / "trials" / "*.parquet")
    assert set(rows["config_layers_text"]) == {"output"}
    assert set(rows["config_normalise_entropy"]) == {1.0}
    assert set(rows["config_normalise_entropy_text"]) == {"True"}
    assert set(rows["phase"]) == {"confirm"}
    for command in ("analyze", "defaults"):
        done = ngm_tune(command, results)
        assert done.code == 0, done.err
    assert (
        "lr 0.01, layers output, normalise_entropy True"
        in (results / "report" / "report.html").read_text()
    )


def test_an_output_folder_can_have_a_name_that_is_not_unicode(
    tmp_path: Path, ngm_tune: Command
) -> None:
    output = tmp_path / os.fsdecode(b"r\xff")
    answer = ngm_tune("analyze", SCHEMA_1, "--output", output)
    assert (answer.code, answer.err) == (0, "")
    names = {path.name for path in output.iterdir()}
    assert {"report.html", "methods.csv", "split-digits-pareto.png"} <= names


def test_an_unwritable_output_is_an_error_of_one_line(
    finished: Finished, ngm_tune: Command
) -> None:
    done = ngm_tune("analyze", finished.location, "--no-images", "--output", "/proc/nowhere")
    assert done.code == 2
    assert "/proc/nowhere: cannot be written" in done.err


def test_transfers_have_a_table_and_a_bound_that_nothing_satisfies_no_choice(
    tmp_path: Path,
) -> None:
    points = {
        "split-digits": [[{"split-digits": (0.8, 0.5), "rotated-digits": (0.7, 0.5)}]] * 3,
        "rotated-digits": [[{"split-digits": (0.6, 0.5), "rotated-digits": (0.9, 0.5)}]] * 3,
    }
    make_transfers(tmp_path, points)
    for select in ("knee", "avg_acc >= 0.99"):
        report = write_report(str(tmp_path), select=select, images=False)
        text = plain_text(report.page.read_text(encoding="utf-8").partition("<script>")[0])
        assert "Settings from other benchmarks" in text
        assert "SGD rotated-digits 3 0.300 0.400 +0.100 (+0.100 to +0.100)" in text
        assert "The answer does not use these runs." in text
