"""The report: its data, its files, and how it looks to a browser."""

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
from ngm_tune.analysis.charts.pareto import pareto_chart, pareto_info
from ngm_tune.analysis.charts.transitions import gain_info, transition_info
from ngm_tune.analysis.loading import LoadedStudy, load
from ngm_tune.analysis.report.tables import methods_table
from ngm_tune.analysis.statistics.answer import findings
from ngm_tune.analysis.statistics.choice import choose
from tests.conftest import Command, Finished


@pytest.fixture(scope="module")
def loaded(finished: Finished) -> LoadedStudy:
    return load(str(finished.location))


@pytest.fixture(scope="module")
def report(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(str(finished.location), tmp_path_factory.mktemp("report")).page


def test_names_that_lead_out_of_the_report_are_refused(
    finished: Finished, tmp_path: Path, ngm_tune: Command
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished.location, copy)
    study = copy / "study.toml"
    study.write_text(study.read_text().replace("rotated-digits", "../../outside"))
    answer = ngm_tune("analyze", copy)
    assert (answer.code, answer.out) == (2, "")
    assert "study.toml: no study of this version" in answer.err
    assert "'../../outside' is no name of a benchmark or method" in answer.err


def test_the_pareto_chart_shows_every_completed_trial(loaded: LoadedStudy) -> None:
    info = pareto_info(loaded, "split-digits", choose(loaded))
    assert set(info.trials["status"]) == {"completed"}
    trials = pl.concat(
        [loaded.searched("split-digits"), loaded.confirmed_of("split-digits")], how="diagonal"
    )
    completed = trials.filter(pl.col("status") == "completed")
    assert set(info.trials["trial_id"]) == set(completed["trial_id"])
    claims = info.trials.filter("claim")
    assert set(claims["trial_id"]) == set(loaded.of("split-digits")["trial_id"])
    assert info.pairs["origin"].to_list() == [
        i.removesuffix(".confirm") for i in info.pairs["trial_id"]
    ]
    assert info.trials["chosen"].sum() == info.trials["Method"].n_unique()
    assert (info.x.name, info.y.name) == ("avg_sg", "avg_acc")
    tooltips = str(pareto_chart(info).to_dict())
    for shown in ("config_lr", "config_gain_sensitivity", "Recovery time", "Stability gap"):
        assert shown in tooltips


def test_transitions_show_the_task_whose_gap_the_study_is_about(loaded: LoadedStudy) -> None:
    choices = choose(loaded)
    info = transition_info(loaded, "split-digits", choices)
    assert info.of == "previous"
    choice = next(c for c in choices if (c.benchmark, c.method) == ("split-digits", "sgd"))
    curves = pl.DataFrame(loaded.results.read("curves", [choice.trial_id]))
    objectives = {"objectives": ["avg_acc", "avg_sg_first"]}
    first = loaded._replace(study=loaded.study.model_copy(update=objectives))
    for whose, task in ((info, 1), (transition_info(first, "split-digits", choices), 0)):
        # Two iterations after the second transition, at 48.
        seeds = curves.filter(iteration=50, eval_task=task)["accuracy"]
        row = whose.accuracy.filter(Method="SGD", Transition="into task 3", elapsed=2).to_dicts()[0]
        assert row["mean"] == pytest.approx(seeds.mean(), rel=1e-3)


def test_transitions_show_the_first_task_before_and_after(loaded: LoadedStudy) -> None:
    info = transition_info(loaded, "split-digits", choose(loaded))
    assert info.transitions == [f"into task {k}" for k in (2, 3, 4, 5)]
    choice = next(c for c in choose(loaded) if (c.benchmark, c.method) == ("split-digits", "sgd"))
    curves = pl.DataFrame(loaded.results.read("curves", [choice.trial_id]))
    # Iteration 26 is the second after the first transition, at 24.
    seeds = curves.filter((pl.col("iteration") == 26) & (pl.col("eval_task") == 0))["accuracy"]
    row = info.accuracy.filter(Method="SGD", Transition="into task 2", elapsed=2).to_dicts()[0]
    assert row["mean"] == pytest.approx(seeds.mean(), rel=1e-3)
    assert row["low"] == pytest.approx(seeds.min(), rel=1e-3)
    assert row["high"] == pytest.approx(seeds.max(), rel=1e-3)
    assert info.accuracy["elapsed"].min() < 0  # type: ignore[operator]


def test_gain_traces_are_of_methods_with_a_gain(loaded: LoadedStudy) -> None:
    info = gain_info(loaded, "rotated-digits", choose(loaded))
    assert info.traces["Method"].unique().to_list() == ["NGM-SGD"]
    assert set(info.traces["quantity"]) == {"Gain", "Entropy, nats"}
    assert info.task_starts == [25, 49]
    first = info.traces.filter(quantity="Gain", iteration=1)
    assert first["mean"].to_list() == [1.0]


def test_the_table_counts_what_did_not_complete(loaded: LoadedStudy) -> None:
    table = methods_table(loaded, choose(loaded))
    assert table.height == 8
    raises = table.filter(method="raises").to_dicts()
    assert [row["failed"] for row in raises] == [2, 2]
    assert all(row["chosen"] is None and row["hypervolume"] == 0.0 for row in raises)
    assert table.filter(method="diverges")["diverged"].to_list() == [2, 2]
    assert len(findings(loaded)) == 2


def test_files_beside_the_report(report: Path) -> None:
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


def test_text_from_results_is_escaped(report: Path) -> None:
    page = report.read_text()
    assert "<script>alert(1)" not in page
    assert "A small study &lt;/script&gt;" in page
    assert "Raises <i>" not in page


def test_nothing_is_loaded_from_a_network(report: Path) -> None:
    page = report.read_text()
    assert "<script src" not in page
    markup = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"(src|href)=|@import|url\(", markup)


class Opened(NamedTuple):
    dom: str
    log: str


@pytest.fixture(scope="module")
def opened(report: Path, tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """The report's document after headless Chromium has run its scripts, cut off from the net."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium on this machine: `apt-get install chromium` to run this test")
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
    assert (part / "report" / "report.html").is_file()


def test_results_at_a_uri_need_an_output(
    finished: Finished, ngm_tune: Command, tmp_path: Path
) -> None:
    uri = finished.location.as_uri()
    refused = ngm_tune("analyze", uri, cwd=tmp_path)
    assert refused.code == 2
    assert "say with --output" in refused.err
    assert list(tmp_path.iterdir()) == []
    done = ngm_tune("defaults", uri, "--output", "mine.toml", cwd=tmp_path)
    assert done.code == 0, done.err
    assert (tmp_path / "mine.toml").is_file()


def test_settings_that_are_no_numbers_are_shown(tmp_path: Path, ngm_tune: Command) -> None:
    study = tmp_path / "given.toml"
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
    results = tmp_path / "given"
    done = ngm_tune("run", study, "--results", results)
    assert done.code == 0, done
    rows = pl.read_parquet(results / "trials" / "*.parquet")
    assert set(rows["config_layers"]) == {"output"}
    assert set(rows["config_normalise_entropy"]) == {True}
    assert set(rows["phase"]) == {"confirm"}
    for command in ("analyze", "defaults"):
        done = ngm_tune(command, results)
        assert done.code == 0, done.err
    assert (
        "lr 0.01, layers output, normalise_entropy True"
        in (results / "report" / "report.html").read_text()
    )


def test_an_output_whose_name_is_no_text(
    finished: Finished, tmp_path: Path, ngm_tune: Command
) -> None:
    output = tmp_path / os.fsdecode(b"r\xff")
    answer = ngm_tune("analyze", finished.location, "--output", output)
    assert (answer.code, answer.err) == (0, "")
    assert {"report.html", "methods.csv"} <= {path.name for path in output.iterdir()}


def test_an_output_that_cannot_be_written(finished: Finished, ngm_tune: Command) -> None:
    done = ngm_tune("analyze", finished.location, "--output", "/proc/nowhere")
    assert done.code == 2
    assert "/proc/nowhere: cannot be written" in done.err
