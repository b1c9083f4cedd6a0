"""Sections of the report: figures and tables across and of benchmarks, and of the cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import polars as pl

from ..charts.across import profile_chart
from ..charts.attainment import attainment_chart
from ..charts.effort import effort_chart, robustness_chart
from ..charts.mechanism import cost_chart, curvature_chart, fast_and_slow_chart
from ..charts.pareto import pareto_chart
from ..charts.transitions import gain_chart, transition_chart
from ..charts.verdict import verdict_chart
from ..loaded_study import LoadedStudy
from ..statistics.across import AcrossInfo, across_info
from ..statistics.answer import Answer
from ..statistics.attainment import AttainmentInfo, attainment_info
from ..statistics.choice import Choice
from ..statistics.effort import EffortInfo, effort_info
from ..statistics.mechanism import (
    CostInfo,
    CurvatureInfo,
    FastAndSlowInfo,
    cost_info,
    curvature_info,
    fast_and_slow_info,
)
from ..statistics.pareto import ParetoInfo, pareto_info
from ..statistics.published import Replication
from ..statistics.robustness import RobustnessInfo, robustness_info
from ..statistics.spaces import AblationSpace, ablation_spaces, searched_ranges
from ..statistics.transitions import GainInfo, TransitionInfo, gain_info, transition_info
from .tables import (
    Row,
    across_rows,
    method_rows,
    optimism_rows,
    published_rows,
    space_rows,
    transfer_rows,
    verdict_rows,
)

Info = (
    AcrossInfo
    | Answer
    | ParetoInfo
    | AttainmentInfo
    | TransitionInfo
    | GainInfo
    | CurvatureInfo
    | FastAndSlowInfo
    | CostInfo
    | EffortInfo
    | RobustnessInfo
)
"""Data of a chart."""


class Figure(NamedTuple):
    """A chart of the report.

    Attributes:
        name: Name of its files, and of its element in the page.
        kind: Its heading and caption are in ``templates/figures/<kind>.html.jinja``.
        info: The data that the chart shows.
        spec: Its Vega-Lite specification.
    """

    name: str
    kind: str
    info: Info
    spec: dict[str, Any]


class Section(NamedTuple):
    """A section of the report.

    Attributes:
        title: Its heading.
        benchmark: Name of the benchmark; None for the sections across benchmarks and on cost.
        figures: Charts: the verdict if methods can be compared, the Pareto chart, and others.
        across: Table of the methods over all benchmarks.
        verdict: Table of the comparisons of the first method with every rival.
        methods: Table of methods.
        optimism: Table of the search's optimism.
        published: Table of published and replicated values.
        spaces: Table of the search spaces.
        ablations: Search spaces of methods and their ablations.
        transfer: Table of the configurations that were tuned on other benchmarks.
    """

    title: str
    benchmark: str | None
    figures: list[Figure]
    across: Sequence[Row] = ()
    verdict: Sequence[Row] = ()
    methods: Sequence[Row] = ()
    optimism: Sequence[Row] = ()
    published: Sequence[Row] = ()
    spaces: Sequence[Row] = ()
    ablations: Sequence[AblationSpace] = ()
    transfer: Sequence[Row] = ()


def sections(
    loaded: LoadedStudy,
    answers: Sequence[Answer],
    choices: list[Choice],
    table: pl.DataFrame,
    replications: list[Replication],
) -> list[Section]:
    """Return a section for every benchmark.

    Before them is a section across benchmarks if several can be compared, and after them one for
    the cost if the study measured it.

    Args:
        loaded: The study.
        answers: The answer for each of its benchmarks.
        choices: The configurations shown in detail.
        table: The table of methods.
        replications: Published and replicated values.
    """
    result = []
    across = across_info(loaded)
    if across is not None:
        figure = Figure(
            "across-profile", "profile", across, profile_chart(across).to_dict(validate=False)
        )
        rows = across_rows(loaded, across)
        result.append(Section("Across benchmarks", None, [figure], across=rows))
    result += [
        Section(
            loaded.benchmark_title(benchmark),
            benchmark,
            _figures(loaded, answer, choices),
            verdict=verdict_rows(loaded, answer),
            methods=method_rows(loaded, table.filter(benchmark=benchmark)),
            optimism=optimism_rows(loaded, benchmark),
            published=published_rows(
                loaded, [each for each in replications if each.benchmark == benchmark]
            ),
            spaces=space_rows(loaded, searched_ranges(loaded, benchmark)),
            ablations=ablation_spaces(loaded, benchmark),
            transfer=transfer_rows(loaded, benchmark),
        )
        for benchmark, answer in zip(loaded.benchmarks, answers, strict=True)
    ]
    costs = cost_info(loaded)
    if costs is not None:
        figure = Figure("cost", "cost", costs, cost_chart(costs).to_dict(validate=False))
        result.append(Section("Cost", None, [figure]))
    return result


def _figures(loaded: LoadedStudy, answer: Answer, choices: list[Choice]) -> list[Figure]:
    figures, benchmark = [], answer.benchmark

    def add(kind: str, info: Info, chart: Any) -> None:
        figures.append(Figure(f"{benchmark}-{kind}", kind, info, chart.to_dict(validate=False)))

    if answer.comparisons:
        add("verdict", answer, verdict_chart(answer, loaded.method_title))
    pareto = pareto_info(loaded, benchmark, choices)
    add("pareto", pareto, pareto_chart(pareto))
    attainment = attainment_info(loaded, answer)
    if attainment is not None:
        add("attainment", attainment, attainment_chart(attainment))
    transitions = transition_info(loaded, benchmark, choices)
    if transitions.accuracy.height:
        add("transitions", transitions, transition_chart(transitions))
    gain = gain_info(loaded, benchmark, choices)
    if gain.traces.height:
        add("gain", gain, gain_chart(gain))
    curvature = curvature_info(loaded, benchmark, choices)
    if curvature is not None:
        add("curvature", curvature, curvature_chart(curvature))
    weights = fast_and_slow_info(loaded, benchmark, choices)
    if weights is not None:
        add("fast-and-slow", weights, fast_and_slow_chart(weights))
    effort = effort_info(loaded, benchmark)
    if effort is not None:
        add("effort", effort, effort_chart(effort))
    robustness = robustness_info(loaded, benchmark)
    if robustness is not None:
        add("robustness", robustness, robustness_chart(robustness))
    return figures
