"""Text of rendered report templates."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

from altair.vegalite.v6.schema.core import Root

from ngm_tune.analysis.loaded_study import LoadedStudy
from ngm_tune.analysis.report.rendering import render
from ngm_tune.analysis.report.sections import Figure, Section
from ngm_tune.analysis.statistics.answer import answers
from ngm_tune.analysis.statistics.criterion import KNEE, Criterion
from ngm_tune.analysis.statistics.facts import facts
from ngm_tune.analysis.statistics.pareto import ParetoInfo


def plain_text(markup: str) -> str:
    """Return the text of HTML with single spaces."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", markup)).split())


def chart_kinds(page: Path) -> set[str]:
    """Return the kinds of the charts in a report, each of which agrees with Vega-Lite's schema."""
    scripts = page.read_text().rpartition("<script>")[2]
    specs, _ = json.JSONDecoder().raw_decode(scripts, scripts.index("{"))
    for spec in specs.values():
        Root.validate(spec)
    return {name.rpartition("-digits-")[2] for name in specs}


def answer_texts(loaded: LoadedStudy) -> list[str]:
    """Return the text of the answer for each benchmark."""
    return [
        plain_text(render("answer.html.jinja", loaded=loaded, answer=answer))
        for answer in answers(loaded)
    ]


def fact_texts(loaded: LoadedStudy, select: str = KNEE) -> dict[str, str]:
    """Return the text of each fact by its term."""
    criterion = Criterion.parse(select, loaded.objectives, loaded.study.reference_point)
    page = render(
        "facts.html.jinja",
        loaded=loaded,
        facts=facts(loaded),
        departures=[],
        criterion=criterion,
    )
    entries = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page, re.DOTALL)
    return {plain_text(term): plain_text(text) for term, text in entries}


def pareto_caption(loaded: LoadedStudy, benchmark: str, info: ParetoInfo) -> str:
    """Return the heading and caption of the Pareto chart."""
    figure = Figure(f"{benchmark}-pareto", "pareto", info, {})
    section = Section(benchmark, benchmark, [figure])
    return plain_text(
        render("figures/pareto.html.jinja", loaded=loaded, section=section, figure=figure)
    )
