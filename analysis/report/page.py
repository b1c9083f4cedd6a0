"""The report: one self-contained HTML page, and its charts and tables as separate files."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import altair as alt
import polars as pl
import vl_convert
from altair.utils.schemapi import debug_mode

from ngm_tune import __version__
from ngm_tune.errors import UserError

from ..formatting import joined
from ..joining import load_joined
from ..loaded_study import LoadedStudy
from ..loading import output_beside
from ..statistics.answer import Answer, answers
from ..statistics.choice import choose
from ..statistics.criterion import KNEE, Criterion
from ..statistics.facts import facts
from ..statistics.methods import methods_table
from ..statistics.published import protocol_departures, replications
from .bundle import VEGA_LITE, javascript_bundle
from .rendering import render
from .sections import Figure, Section, sections
from .tables import Row, markdown_table, method_rows, published_rows

_PNG_SCALE = 2.0
_EMPTY_CHART = {"data": {"values": []}, "mark": "point"}
"""The first chart that is drawn takes longer, since Vega is loaded for it."""


class Report(NamedTuple):
    """A written report.

    Attributes:
        page: Path of the HTML page.
        published: Published values next to replicated ones, as in the page.
        departures: Settings in which the study departs from the paper's protocol.
        left_out: Message for each file that was skipped because it is damaged, missing, or not part
            of the study. With several directories, the names contain the directory.
    """

    page: Path
    published: list[Row]
    departures: list[str]
    left_out: dict[str, str]


def write_report(
    locations: str | Sequence[str],
    output: Path | None = None,
    select: str = KNEE,
    *,
    images: bool = True,
) -> Report:
    """Write the report of a results directory, or one report of several directories.

    Several directories are joined: they hold different methods, different benchmarks, or both, and
    everything else of their studies is equal.

    Besides ``report.html``, the folder contains every chart as PNG and SVG, the table of methods as
    ``methods.csv`` (all columns, full precision) and ``methods.md``, and for fixed runs of the
    paper's benchmarks ``published.md``.

    Args:
        locations: Path or URI of the results directory, or several of them. The first method of the
            first directory is compared with all others.
        output: The folder to write; by default ``report`` in the results directory. Several
            directories need it.
        select: Which configuration of each method is shown in detail, as in
            :meth:`~analysis.statistics.criterion.Criterion.parse`.
        images: Whether to write the charts as PNG and SVG files, which takes most of the time.

    Raises:
        UserError: The results cannot be read, the directories do not compare, or the report cannot
            be written.
    """
    directories = [locations] if isinstance(locations, str) else list(locations)
    if output is None and len(directories) > 1:
        raise UserError(
            f"{joined(directories)}: the report of several results directories is part of none of "
            "them; choose a folder with --output"
        )
    loaded = load_joined(directories)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        # vl_convert works outside of Python, so it prepares the page while the charts are made.
        bundle = pool.submit(javascript_bundle)
        if images:
            pool.submit(vl_convert.vegalite_to_svg, _EMPTY_CHART, vl_version=VEGA_LITE)
        choices = choose(loaded, select)
        table = methods_table(loaded, choices)
        replicated = replications(loaded)
        published = published_rows(loaded, replicated)
        # The statistics thin their data already; a test compares the charts with the schema.
        with alt.data_transformers.disable_max_rows(), debug_mode(False):
            found = answers(loaded)
            parts = sections(loaded, found, choices, table, replicated)
        folder = output or output_beside(directories[0], "report")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _write_tables(loaded, table, published, folder)
            page = folder / "report.html"
            draft = page.with_suffix(".html.part")
            draft.write_text(_page(loaded, found, parts, select, bundle.result()), encoding="utf-8")
            os.replace(draft, page)
            if images:
                _write_images([f for section in parts for f in section.figures], folder, pool)
        except OSError as error:
            raise UserError(f"{folder}: cannot be written: {error}") from error
    return Report(page, published, protocol_departures(loaded), dict(loaded.results.left_out))


def _write_tables(
    loaded: LoadedStudy, table: pl.DataFrame, published: list[Row], folder: Path
) -> None:
    titles = [loaded.benchmark_title(name) for name in table["benchmark"]]
    methods = [
        {"Benchmark": title} | row
        for title, row in zip(titles, method_rows(loaded, table), strict=True)
    ]
    (folder / "methods.csv").write_text(table.write_csv(), encoding="utf-8")
    (folder / "methods.md").write_text(markdown_table(methods), encoding="utf-8")
    if published:
        (folder / "published.md").write_text(markdown_table(published), encoding="utf-8")


def _write_images(figures: Sequence[Figure], folder: Path, pool: Executor) -> None:
    """Write the SVG and PNG files of charts; several PNG files at a time."""

    def write_png(name: str, svg: str) -> None:
        (folder / f"{name}.png").write_bytes(vl_convert.svg_to_png(svg, scale=_PNG_SCALE))

    written = []
    for figure in figures:
        svg = vl_convert.vegalite_to_svg(figure.spec, vl_version=VEGA_LITE)
        (folder / f"{figure.name}.svg").write_text(svg, encoding="utf-8")
        written.append(pool.submit(write_png, figure.name, svg))
    for future in written:
        future.result()  # raises what `write_png` raised


def _page(
    loaded: LoadedStudy,
    found: Sequence[Answer],
    parts: Sequence[Section],
    select: str,
    bundle: str,
) -> str:
    specs = {figure.name: figure.spec for section in parts for figure in section.figures}
    return render(
        "page.html.jinja",
        loaded=loaded,
        sections=parts,
        answers=found,
        facts=facts(loaded),
        departures=protocol_departures(loaded),
        criterion=Criterion.parse(select, loaded.objectives, loaded.study.reference_point),
        version=__version__,
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        # A "<" could end the script element that contains the specifications.
        specs=json.dumps(specs, ensure_ascii=False).replace("<", "\\u003c"),
        bundle=bundle,
    )
