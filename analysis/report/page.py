"""The report: one HTML file that opens offline, and its charts and table as files beside it."""

from __future__ import annotations

import html
import json
import os
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import altair as alt
import jinja2
import polars as pl
import vl_convert
from tabulate import tabulate

from ngm_tune import __version__
from ngm_tune.errors import UserError

from ..formatting import counted
from ..loading import LoadedStudy, load, output_beside
from ..statistics.answer import findings
from ..statistics.choice import choose
from ..statistics.published import comparison, comparison_rows, departures
from .sections import Figure, Section, benchmark_section, cost_section
from .tables import display_rows, methods_table, search_facts

_PIXELS_PER_POINT = 2.0
_VEGA_LITE = alt.SCHEMA_VERSION.removeprefix("v").rpartition(".")[0]


class Report(NamedTuple):
    """What was written."""

    page: Path
    published: list[dict[str, str]]
    """The paper's numbers next to ours, as in the page."""
    departures: list[str]
    """In what the study departs from the protocol that the paper's numbers have."""
    left_out: dict[str, str]
    """Files that are damaged, gone or of no trial of the study, and what is wrong with each."""


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
        sections = [
            benchmark_section(loaded, name, choices, table, cells) for name in loaded.benchmarks
        ]
        sections += cost_section(loaded)
    folder = output or output_beside(location, "report")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for section in sections:
            for figure in section.figures:
                _write_images(figure, folder)
        (folder / "methods.csv").write_text(table.write_csv(), encoding="utf-8")
        markdown = tabulate(
            [
                {"Benchmark": _cell(loaded.benchmark_title(name))}
                | {heading: _cell(text) for heading, text in row.items()}
                for name, row in zip(table["benchmark"], display_rows(loaded, table), strict=True)
            ],
            headers="keys",
            tablefmt="github",
            disable_numparse=True,
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
    return Report(report, published, departures(loaded), loaded.results.left_out)


def _cell(text: str) -> str:
    """A text as a cell of a Markdown table, which is no place for HTML of somebody's."""
    return html.escape(text, quote=False).replace("|", "\\|")


def _write_images(figure: Figure, folder: Path) -> None:
    svg = vl_convert.vegalite_to_svg(figure.spec, vl_version=_VEGA_LITE)
    png = vl_convert.svg_to_png(svg, scale=_PIXELS_PER_POINT)
    (folder / f"{figure.name}.svg").write_text(svg, encoding="utf-8")
    (folder / f"{figure.name}.png").write_bytes(png)


def _html(loaded: LoadedStudy, sections: list[Section], table: pl.DataFrame, pick: str) -> str:
    """The page; whatever comes from results is escaped."""
    pages = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    pages.filters["counted"] = counted
    template = pages.from_string(
        (files(__package__) / "templates" / "page.html.jinja").read_text(encoding="utf-8")
    )
    specs = {figure.name: figure.spec for section in sections for figure in section.figures}
    return template.render(
        study=loaded.study,
        sections=sections,
        given=loaded.given,
        findings=findings(loaded),
        facts=_facts(loaded, pick),
        departures=departures(loaded),
        version=__version__,
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        # "<" could end the script element that the specs stand in.
        specs=json.dumps(specs, ensure_ascii=False).replace("<", "\\u003c"),
        bundle=_bundle(),
    )


@cache
def _bundle() -> str:
    """The JavaScript that shows the charts; putting it together takes seconds."""
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", _VEGA_LITE)


def _data(loaded: LoadedStudy) -> str:
    """The checksums of the data, as ``ngm-tune data`` says them."""
    return "; ".join(
        f"{name} {' and '.join(checksum[:16] for checksum in checksums)}"
        + (", so not all runs are of the same" if len(checksums) > 1 else "")
        for name, checksums in loaded.environment.data.items()
    )


def _facts(loaded: LoadedStudy, pick: str) -> dict[str, str]:
    """What a reader must know to judge the study."""
    study, environment = loaded.study, loaded.environment
    versions = environment.versions
    seconds = sum(float(t["wall_seconds"].sum()) for t in (loaded.search, loaded.confirmed))
    reference = ", ".join(f"{k} {v:g}" for k, v in study.reference_point.items())
    left_out = [f"{name} ({why})" for name, why in loaded.results.left_out.items()]
    departing = departures(loaded)
    chosen = (
        "the knee of each front: the point nearest to the ideal"
        if pick == "knee"
        else f"the point of each front that is best in {pick}"
    )
    if any(map(loaded.is_confirmed, loaded.benchmarks)):
        chosen += ", of those confirmed, by what the search knew"
    return {
        **search_facts(loaded),
        **({"Departs from the paper": ", ".join(departing)} if departing else {}),
        "Reference point": reference,
        **({"Constraints": ", ".join(study.constraints)} if study.constraints else {}),
        **({} if loaded.given else {"Chosen configurations": chosen}),
        **({"Left out": "; ".join(left_out)} if left_out else {}),
        **({"Data": _data(loaded)} if environment.data else {}),
        "Compute": f"{seconds / 60:.1f} minutes of training and evaluation",
        "Run": " · ".join(
            str(part)
            for part in (
                environment.started or environment.resumed,
                *(
                    f"{name} {versions[name]}"
                    for name in ("torch", "ray", "optuna")
                    if name in versions
                ),
                (environment.git_revision or "")[:10],
            )
            if part
        ),
    }
