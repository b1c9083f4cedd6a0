"""The sections of a report: for every benchmark its figures, with what they say, and tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import polars as pl

from ..charts.effort import effort_chart, robustness_chart
from ..charts.mechanism import (
    CurvatureInfo,
    cost_chart,
    cost_info,
    curvature_chart,
    curvature_info,
    fast_and_slow_chart,
    fast_and_slow_info,
)
from ..charts.pareto import ParetoInfo, pareto_chart, pareto_info
from ..charts.transitions import gain_chart, gain_info, transition_chart, transition_info
from ..formatting import counted
from ..loading import LoadedStudy
from ..statistics.choice import Choice
from ..statistics.effort import effort_info, robustness_info
from ..statistics.optimism import optimism_rows
from ..statistics.published import Cell, comparison_rows
from .tables import display_rows, stopped_rows


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
    rows: Sequence[dict[str, str]] = ()
    optimism: Sequence[dict[str, str]] = ()
    """What the search promised, against what was confirmed."""
    stopped: Sequence[dict[str, str]] = ()
    """Trials that were stopped early."""
    published: Sequence[dict[str, str]] = ()
    """The paper's numbers next to ours, where there are any."""


def benchmark_section(
    loaded: LoadedStudy,
    benchmark: str,
    choices: list[Choice],
    table: pl.DataFrame,
    cells: list[Cell],
) -> Section:
    """Everything there is to show of a benchmark."""
    pareto = pareto_info(loaded, benchmark, choices)
    figures = [
        Figure(
            f"{benchmark}-pareto",
            f"{pareto.y.title} against {pareto.x.title.lower()}",
            pareto_caption(loaded, benchmark, pareto),
            pareto_chart(pareto).to_dict(),
        )
    ]
    whose = "The settings given" if loaded.given else "Each method's chosen configuration"
    transitions = transition_info(loaded, benchmark, choices)
    if transitions.accuracy.height:
        figures.append(
            Figure(
                f"{benchmark}-transitions",
                f"Accuracy on the {transitions.of} task around the transitions",
                f"{whose}: the mean over seeds, and the range of the seeds as a band. The dashed "
                "line is the arrival of a new task. Every panel has a scale of its own.",
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
    figures += _effort(loaded, benchmark)
    rows = table.filter(pl.col("benchmark") == benchmark)
    published = comparison_rows(loaded, [cell for cell in cells if cell.benchmark == benchmark])
    return Section(
        loaded.benchmark_title(benchmark),
        figures,
        display_rows(loaded, rows),
        optimism_rows(loaded, benchmark),
        stopped_rows(loaded, benchmark),
        published,
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
    left_out = ""
    if info.negative:
        left_out = f" Not positive, and so left out: {counted(info.negative, 'value')}."
    return (
        "By the raw weights W, which the optimizer steps in, and by the effective weights gW, "
        "which the network computes with: where every layer is gained, the first is g² times the "
        f"second. {claims} The mean over seeds and their range.{left_out}"
    )


def cost_section(loaded: LoadedStudy) -> list[Section]:
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
    return [Section("Cost", [figure])]


def _effort(loaded: LoadedStudy, benchmark: str) -> list[Figure]:
    """The figures of the search; none where there was none."""
    figures = []
    effort = effort_info(loaded, benchmark)
    if effort is not None:
        figures.append(
            Figure(
                f"{benchmark}-effort",
                "Tuning effort: hypervolume by budget",
                _effort_caption(loaded, benchmark),
                effort_chart(effort).to_dict(),
            )
        )
    robustness = robustness_info(loaded, benchmark)
    if robustness is not None:
        figures.append(
            Figure(
                f"{benchmark}-robustness",
                "Robustness of the tuning: how much of a search space is good",
                "The share of each method's search space, even in its own scales, that lies within "
                "a distance of the method's front: by how much it falls short of a point of the "
                "front in every objective, as a part of the way from the reference point to the "
                "ideal. Points that add nearly nothing to the front's hypervolume do not count, "
                "such as one at chance, whose accuracy has nothing to lose. A location counts as "
                "the trial nearest to it, and as nothing where that one was stopped, diverged, "
                "failed or broke a constraint. Scores are means over few seeds, and so is the "
                "front made of them: of two methods that are equally robust the one whose seeds "
                "differ more looks the less so.",
                robustness_chart(robustness).to_dict(),
            )
        )
    return figures


def _effort_caption(loaded: LoadedStudy, benchmark: str) -> str:
    ended = ""
    rule = loaded.study.plateau
    if rule and benchmark in loaded.plateaus:
        kind = "seed-runs" if loaded.racing else "trials"
        every = "every method" + " that had any left" * bool(loaded.exhausted(benchmark))
        ended = (
            f" The search ended after {loaded.plateaus[benchmark]} {kind} of {every}, as the "
            f"last {counted(rule.trials, 'trial')} had added less than {rule.growth:.1%} to each "
            "method's hypervolume."
        )
    orders = "the mean over re-orderings of its trials, with their 10 % to 90 % band"
    if loaded.racing:
        orders += ", each trial with the seeds that it got in the whole race"
    if loaded.study.sampler != "random":
        orders += "; a sampler that learns finds its better trials later than these have them"
    if not loaded.racing:
        orders = f"as the search went, and dashed {orders}"
    return (
        "What each method reached with a smaller budget, on validation data: the hypervolume of "
        f"its first trials, {orders}.{ended}"
    )


def pareto_caption(loaded: LoadedStudy, benchmark: str, info: ParetoInfo) -> str:
    """What the Pareto chart shows, of what data, and what its frame leaves out."""
    if loaded.given:
        mean = _mean(loaded.seeds) + (", with bars for ± 1 sd" if info.spread.height else "")
        return f"A point is a method with the settings given, on test data: {mean}."
    marks = f"rings are the configurations chosen for the figures below{_boxes(info)}"
    front = "line is what a method attains, its Pareto front"
    if info.pairs.height:
        bars = " (bars: ± 1 sd)" if info.spread.height else ""
        if info.attained.height:
            marks = f"a solid {front} among confirmed points; {marks}"
        return (
            "A faint point is a trial of the search, on validation data; a solid one is a "
            "configuration of its front run again on test data with "
            f"{counted(loaded.fresh_seeds, 'fresh seed')}{bars}, and the dashed line between them "
            f"is the optimism of the search. {marks[0].upper()}{marks[1:]}.{_hidden(info)}"
        )
    attained = f"a {front}" if info.attained.height else "a solid one is on its method's front"
    basis = "" if loaded.is_confirmed(benchmark) else " All are on validation data: not confirmed."
    return (
        f"A faint point is a trial, {_mean(loaded.seeds)}; {attained}; {marks}.{basis}"
        f"{_hidden(info)}"
    )


def _mean(seeds: int) -> str:
    return "of one seed" if seeds == 1 else f"the mean of {seeds} seeds"


def _boxes(info: ParetoInfo) -> str:
    """What squares are, if there are any."""
    compared = info.trials.filter("compared").height
    if compared > 1:
        return " and squares those that the answer compares"
    return " and a square is the one that the answer is about" if compared else ""


def _hidden(info: ParetoInfo) -> str:
    """What the frame leaves out."""
    if not info.hidden:
        return ""
    trials = f"{counted(info.hidden, 'trial')} {'lies' if info.hidden == 1 else 'lie'}"
    claims = f" ({info.hidden_claims} of them confirmed)" if info.pairs.height else ""
    return f" {trials} outside the frame{claims}; in the page, zoom out to see them."
