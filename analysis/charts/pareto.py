"""The Pareto chart."""

from __future__ import annotations

from typing import Any, Literal

import altair as alt
import polars as pl

from ngm_tune.metrics.registry import METRICS, Metric
from ngm_tune.results.columns import CONFIG_PREFIX

from ..statistics.optimism import SEARCHED
from ..statistics.pareto import ParetoInfo
from .palette import INK, WIDTH, axis_title, method_colour, method_shape, styled

_CROSSES = {"default": "M-1,-1L1,1M1,-1L-1,1", "paper": "M-1.2,0L1.2,0M0,-1.2L0,1.2"}
"""Outline of the mark of each reference: × for default settings, + for the paper's."""


def pareto_chart(info: ParetoInfo) -> Any:
    """Draw trials, median attainment surfaces as lines, and chosen trials in rings.

    A click on a legend entry selects a method (shift extends the selection), the wheel zooms,
    dragging pans, and a double click resets the view.
    """
    selection = alt.selection_point(fields=["Method"], bind="legend")
    colour, shape = method_colour(info.methods), method_shape(info.methods)
    x = alt.X(
        info.x.name,
        type="quantitative",
        title=axis_title(info.x),
        scale=alt.Scale(domain=info.x_domain, nice=False, zero=False),
        axis=_axis(info.x, info.x_domain),
    )
    y = alt.Y(
        info.y.name,
        type="quantitative",
        title=axis_title(info.y),
        scale=alt.Scale(domain=info.y_domain, nice=False, zero=False),
        axis=_axis(info.y, info.y_domain),
    )
    base = alt.Chart(_displayed_columns(info.trials)).encode(
        x=x, y=y, color=colour, tooltip=_tooltips(info.trials)
    )
    points = base.mark_circle(size=30 if info.pairs.height else 45, clip=True).encode(
        opacity=_opacity(selection, 0.28, 0.02)
    )
    claims = base.transform_filter("datum.claim")
    opaque = _opacity(selection, 1.0, 0.05)
    # An attainment line keeps the best y so far until the next point of the front.
    step: Literal["step-after", "step-before"] = (
        "step-after" if info.x.direction == "minimize" else "step-before"
    )
    line = (
        alt.Chart(info.attained)
        .mark_line(interpolate=step, strokeWidth=2, clip=True)
        .encode(x=x, y=y, color=colour, opacity=opaque)
    )
    solid = claims if info.pairs.height else claims.transform_filter("datum.front")
    dots = solid.mark_point(filled=True, size=70, clip=True).encode(shape=shape, opacity=opaque)
    moves = _moves(info, x, y, colour, selection)
    marks = [points, *moves, *_error_bars(info, x, y, colour, selection)]
    marks += [line] if info.attained.height else []
    marks.append(dots)
    rings = base.transform_filter("datum.chosen").mark_point(
        shape="circle", size=230, strokeWidth=1.8, filled=False, clip=True
    )
    marks.append(rings.encode(opacity=opaque, color=alt.value(INK)))
    marks += _references(info, x, y, colour, selection)
    layers = alt.layer(*marks).add_params(selection, alt.selection_interval(bind="scales"))
    return styled(layers.properties(width=WIDTH, height=460))


def _opacity(selection: alt.Parameter, selected: float, other: float) -> Any:
    return alt.when(selection).then(alt.value(selected)).otherwise(alt.value(other))


def _error_bars(
    info: ParetoInfo, x: alt.X, y: alt.Y, colour: alt.Color, selection: alt.Parameter
) -> list[Any]:
    """Draw one standard deviation over seeds in both directions."""
    if not info.spread.height:
        return []
    bars = alt.Chart(info.spread).mark_rule(strokeWidth=1, clip=True)
    bars = bars.encode(color=colour, opacity=_opacity(selection, 0.5, 0.03))
    return [
        bars.encode(x=alt.X("x_low:Q", scale=x["scale"], title=x["title"]), x2="x_high:Q", y=y),
        bars.encode(x=x, y=alt.Y("y_low:Q", scale=y["scale"], title=y["title"]), y2="y_high:Q"),
    ]


def _moves(
    info: ParetoInfo, x: alt.X, y: alt.Y, colour: alt.Color, selection: alt.Parameter
) -> list[Any]:
    """Draw a line from the search's estimate of each configuration to its confirmed point."""
    if not info.pairs.height:
        return []
    names = [info.x.name, info.y.name]
    pairs = info.pairs.select("Method", *names, *(SEARCHED + name for name in names))
    return [
        alt.Chart(pairs)
        .mark_rule(strokeWidth=1.2, strokeDash=[2, 2], clip=True)
        .encode(
            x=x,
            y=y,
            x2=SEARCHED + info.x.name,
            y2=SEARCHED + info.y.name,
            color=colour,
            opacity=_opacity(selection, 0.75, 0.03),
        )
    ]


def _references(
    info: ParetoInfo, x: alt.X, y: alt.Y, colour: alt.Color, selection: alt.Parameter
) -> list[Any]:
    """Draw a cross in the method's colour for each reference that completed."""
    completed = info.references.drop_nulls([info.x.name, info.y.name])
    layers = []
    for name, path in _CROSSES.items():
        crosses = completed.filter(name=name)
        if crosses.height:
            marks = alt.Chart(_rounded(crosses)).mark_point(
                shape=path, size=90, strokeWidth=2.5, filled=False, clip=True
            )
            layers.append(
                marks.encode(
                    x=x,
                    y=y,
                    color=colour,
                    opacity=_opacity(selection, 1.0, 0.05),
                    tooltip=_reference_tooltips(crosses),
                )
            )
    return layers


def _axis(metric: Metric, domain: tuple[float, float]) -> alt.Axis:
    """Return an axis with few ticks and a constant number of digits."""
    digits = ".3f" if domain[1] - domain[0] < 0.05 else ".2f"
    return alt.Axis(tickCount=8, format="~g" if metric.unit == "iterations" else digits)


def _displayed_columns(trials: pl.DataFrame) -> pl.DataFrame:
    """Return the displayed columns, rounded to five significant digits."""
    columns = ["Method", "trial_id", "phase", "claim", "front", "chosen", "seeds"]
    columns += [n for n in trials.columns if n.startswith(CONFIG_PREFIX) or n in METRICS]
    return _rounded(trials.select(pl.col(columns)))


def _rounded(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(pl.col(pl.Float64).round_sig_figs(5))


def _tooltips(trials: pl.DataFrame) -> list[alt.Tooltip]:
    """Return tooltips with the configuration and all metrics of a trial."""
    return [
        alt.Tooltip("Method:N"),
        alt.Tooltip("trial_id:N", title="Trial"),
        *_values(trials),
        alt.Tooltip("seeds:Q", title="Seeds"),
        alt.Tooltip("phase:N", title="Phase"),
    ]


def _reference_tooltips(references: pl.DataFrame) -> list[alt.Tooltip]:
    """Return tooltips with the description, source, configuration and metrics of a reference."""
    has_source = references["Source"].is_not_null().any()
    return [
        alt.Tooltip("Method:N"),
        alt.Tooltip("Reference:N"),
        *([alt.Tooltip("Source:N")] if has_source else []),
        *_values(references),
        alt.Tooltip("repetitions:Q", title="Repetitions"),
        alt.Tooltip("seeds:Q", title="Seeds"),
    ]


def _values(trials: pl.DataFrame) -> list[alt.Tooltip]:
    """Return tooltips with configurations and all metrics."""
    settings = [n for n in trials.columns if n.startswith(CONFIG_PREFIX)]
    metrics = [n for n in METRICS if n in trials.columns]
    return [
        *(
            alt.Tooltip(f"{name}:Q", title=name.removeprefix(CONFIG_PREFIX), format=".4g")
            if trials.schema[name].is_numeric()
            else alt.Tooltip(f"{name}:N", title=name.removeprefix(CONFIG_PREFIX))
            for name in settings
        ),
        *(alt.Tooltip(f"{n}:Q", title=METRICS[n].title, format=".4~f") for n in metrics),
    ]
