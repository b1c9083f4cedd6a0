"""The report: one HTML file that opens offline, and its charts and table as files beside it."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import altair as alt
import jinja2
import polars as pl
import vl_convert
from tabulate import tabulate

from ngm_tune import __version__
from ngm_tune.errors import UserError

from .choice import Choice, choose
from .loading import LoadedStudy, load, output_beside
from .mechanism_charts import (
    CurvatureInfo,
    cost_chart,
    cost_info,
    curvature_chart,
    curvature_info,
    fast_and_slow_chart,
    fast_and_slow_info,
)
from .pareto_chart import ParetoInfo, pareto_chart, pareto_info
from .published import Cell, comparison, comparison_rows, departures
from .tables import display_rows, findings, methods_table
from .transition_charts import gain_chart, gain_info, transition_chart, transition_info

_PIXELS_PER_POINT = 2.0
_VEGA_LITE = alt.SCHEMA_VERSION.removeprefix("v").rpartition(".")[0]


class Figure(NamedTuple):
    """A chart of the report: the name of its files, its place in the text, and its Vega-Lite."""

    name: str
    heading: str
    caption: str
    spec: dict[str, Any]


class Section(NamedTuple):
    """A benchmark in the report."""

    title: str
    figures: list[Figure]
    rows: list[dict[str, str]]
    published: list[dict[str, str]]
    """The paper's numbers next to ours, where there are any."""


class Report(NamedTuple):
    """What was written."""

    page: Path
    published: list[dict[str, str]]
    """The paper's numbers next to ours, as in the page."""
    departures: list[str]
    """In what the study departs from the protocol that the paper's numbers have."""


def write_report(location: str, output: Path | None = None, pick: str = "knee") -> Report:
    """Write the report of a results directory.

    Beside ``report.html`` it leaves every chart as PNG and SVG, and the table of the methods as
    ``methods.csv`` (all columns, full precision) and ``methods.md``.

    Args:
        location: The results directory.
        output: Where to write; by default ``report`` in the results directory.
        pick: Which configuration of each front is shown in detail; as for
            :func:`analysis.choice.choose`.

    Raises:
        UserError: The results cannot be read, or the report cannot be written.
    """
    loaded = load(location)
    choices = choose(loaded, pick)
    table = methods_table(loaded, choices)
    cells = comparison(loaded)
    with alt.data_transformers.disable_max_rows():  # charts thin their data themselves
        sections = [_section(loaded, name, choices, table, cells) for name in loaded.benchmarks]
        sections += _cost_section(loaded)
    folder = output or output_beside(location, "report")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for section in sections:
            for figure in section.figures:
                _write_images(figure, folder)
        table.write_csv(folder / "methods.csv")
        markdown = tabulate(
            [
                {"Benchmark": loaded.title("benchmarks", name), **row}
                for name, row in zip(table["benchmark"], display_rows(loaded, table), strict=True)
            ],
            headers="keys",
            tablefmt="github",
        )
        (folder / "methods.md").write_text(markdown + "\n", encoding="utf-8")
        published = comparison_rows(loaded, cells)
        if published:
            text = tabulate(published, headers="keys", tablefmt="github", disable_numparse=True)
            (folder / "published.md").write_text(text + "\n", encoding="utf-8")
        report = folder / "report.html"
        draft = report.with_suffix(".html.part")
        draft.write_text(_html(loaded, sections, table, pick), encoding="utf-8")
        os.replace(draft, report)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error}") from error
    return Report(report, published, departures(loaded))


def _section(
    loaded: LoadedStudy,
    benchmark: str,
    choices: list[Choice],
    table: pl.DataFrame,
    cells: list[Cell],
) -> Section:
    pareto = pareto_info(loaded, benchmark, choices)
    figures = [
        Figure(
            f"{benchmark}-pareto",
            f"{pareto.y.title} against {pareto.x.title.lower()}",
            _pareto_caption(loaded, pareto),
            pareto_chart(pareto).to_dict(),
        )
    ]
    transitions = transition_info(loaded, benchmark, choices)
    if transitions.accuracy.height:
        figures.append(
            Figure(
                f"{benchmark}-transitions",
                "First-task accuracy around the transitions",
                "Each method's chosen configuration: the mean over seeds, and the range of the "
                "seeds as a band. The dashed line is the arrival of a new task.",
                transition_chart(transitions).to_dict(),
            )
        )
    gain = gain_info(loaded, benchmark, choices)
    if gain.traces.height:
        figures.append(
            Figure(
                f"{benchmark}-gain",
                "Neuronal gain",
                "The gain of the methods that have one, and the entropy of the training batches "
                "that drives it: the mean over seeds and their range. Dashed lines are the "
                "transitions.",
                gain_chart(gain).to_dict(),
            )
        )
    figures += _mechanism(loaded, benchmark, choices)
    rows = table.filter(pl.col("benchmark") == benchmark)
    published = comparison_rows(loaded, [cell for cell in cells if cell.benchmark == benchmark])
    return Section(
        loaded.title("benchmarks", benchmark), figures, display_rows(loaded, rows), published
    )


def _mechanism(loaded: LoadedStudy, benchmark: str, choices: list[Choice]) -> list[Figure]:
    """The figures of the probes, for a study that asked for them."""
    figures = []
    curvature = curvature_info(loaded, benchmark, choices)
    if curvature is not None:
        figures.append(
            Figure(
                f"{benchmark}-curvature",
                "Curvature: the largest eigenvalue of the loss's Hessian",
                _curvature_caption(curvature),
                curvature_chart(curvature).to_dict(),
            )
        )
    weights = fast_and_slow_info(loaded, benchmark, choices)
    if weights is not None:
        figures.append(
            Figure(
                f"{benchmark}-fast-and-slow",
                "Fast and slow weights",
                "The effective weights gW are a slow part, g₀W, and a fast one, (g − g₀)W, that "
                "decays once entropy falls: above, the fast part's share of their norm; below, by "
                "how much of their norm an iteration moves them through the update of W and "
                "through the change of g.",
                fast_and_slow_chart(weights).to_dict(),
            )
        )
    return figures


def _curvature_caption(info: CurvatureInfo) -> str:
    found = ", ".join(f"{row['Method']} {row['deviation']:.2%}" for row in info.ratios.to_dicts())
    claims = f"From that factor the median measurement differs by: {found}." if found else ""
    left_out = f" {info.negative} values that are not positive are left out." * bool(info.negative)
    return (
        "By the raw weights W, which the optimizer steps in, and by the effective weights gW, "
        "which the network computes with: where every layer is gained, the first is g² times the "
        f"second. {claims} The mean over seeds and their range.{left_out}"
    )


def _cost_section(loaded: LoadedStudy) -> list[Section]:
    """What a training step costs, for a study that measured it."""
    costs = cost_info(loaded)
    if costs is None:
        return []
    figure = Figure(
        "cost",
        "Time and memory of a training step, against SGD's",
        "Networks of growing depth and width (MLP: linear layers x hidden units; ResNet: blocks x "
        "channels of the first stage). Steps of the methods were taken in turn; points are medians "
        "over rounds and bars their quartiles. Memory counts parameters, gradients, state and what "
        "is kept for the backward pass at its peak.",
        cost_chart(costs).to_dict(),
    )
    return [Section("Cost", [figure], [], [])]


def _pareto_caption(loaded: LoadedStudy, info: ParetoInfo) -> str:
    seeds = loaded.study["seeds"]
    count = seeds if isinstance(seeds, int) else len(seeds)
    hidden = f" {info.hidden} trials lie outside the frame; zoom out to see them." * bool(
        info.hidden
    )
    return (
        f"A faint point is a trial, the mean of {count} seeds; a line is what a method attains, "
        f"its Pareto front; rings are the configurations chosen for the figures below.{hidden}"
    )


def _write_images(figure: Figure, folder: Path) -> None:
    svg = vl_convert.vegalite_to_svg(figure.spec, vl_version=_VEGA_LITE)
    png = vl_convert.vegalite_to_png(figure.spec, vl_version=_VEGA_LITE, scale=_PIXELS_PER_POINT)
    (folder / f"{figure.name}.svg").write_text(svg, encoding="utf-8")
    (folder / f"{figure.name}.png").write_bytes(png)


def _html(loaded: LoadedStudy, sections: list[Section], table: pl.DataFrame, pick: str) -> str:
    """The page; whatever comes from results is escaped."""
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
        (files(__package__) / "report.html.jinja").read_text(encoding="utf-8")
    )
    specs = {figure.name: figure.spec for section in sections for figure in section.figures}
    return template.render(
        study=loaded.study,
        sections=sections,
        findings=findings(loaded, table),
        facts=_facts(loaded, pick),
        departures=departures(loaded),
        version=__version__,
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        # "<" could end the script element that the specs stand in.
        specs=json.dumps(specs, ensure_ascii=False).replace("<", "\\u003c"),
        bundle=vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", _VEGA_LITE),
    )


def _facts(loaded: LoadedStudy, pick: str) -> dict[str, str]:
    """What a reader must know to judge the study."""
    study, environment = loaded.study, loaded.environment
    seeds = study["seeds"] if isinstance(study["seeds"], int) else len(study["seeds"])
    versions = environment.get("versions", {})
    minutes = loaded.trials["wall_seconds"].sum() / 60
    reference = ", ".join(f"{k} {v:g}" for k, v in study["reference_point"].items())
    settings_given = bool(study.get("settings"))
    effort = (
        f"settings as given, {seeds} seeds for every method and benchmark"
        if settings_given
        else f"{study['trials']} trials of {seeds} seeds for every method and benchmark, "
        f"searched by Optuna ({study['sampler']}, seed {study['seed']})"
    )
    return {
        "Effort": effort,
        "Evaluated on": (
            "test data" if settings_given else "validation data; test data is untouched"
        ),
        "Reference point": reference,
        "Chosen configurations": (
            "the knee of each front: the point nearest to the ideal"
            if pick == "knee"
            else f"the point of each front that is best in {pick}"
        ),
        "Compute": f"{minutes:.1f} minutes of training and evaluation",
        "Run": " · ".join(
            str(part)
            for part in (
                environment.get("started", ""),
                *(
                    f"{name} {versions[name]}"
                    for name in ("torch", "ray", "optuna")
                    if name in versions
                ),
                (environment.get("git_revision") or "")[:10],
            )
            if part
        ),
    }
