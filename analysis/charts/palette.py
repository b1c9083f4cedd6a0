"""Appearance of charts: colours and shapes of methods, fonts and axes."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import cycle
from math import ceil
from typing import Any

import altair as alt

from ngm_tune.metrics.registry import Metric

INK, MUTED, GRID = "#1c2430", "#6b7684", "#e6e9ed"
FONT = "Inter, 'Helvetica Neue', Helvetica, Arial, sans-serif"

WIDTH = 920
"""Width of charts in pixels."""

_COLOURS = (
    "#c8401f",
    "#e0920f",
    "#1f5fa8",
    "#0f8f6b",
    "#b565a7",
    "#5ab4e5",
    "#2c3444",
    "#6b3420",
    "#a3b04a",
    "#3b2f8f",
)
"""Distinguishable with red-green blindness: the first five differ pairwise by 16 in CIELAB."""

_SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "triangle-left")

_STANDARD_METHODS = ("NGM-SGD", "NGM-SGD, gain frozen", "SGD", "SGD with momentum 0.9", "Adam")
"""Methods with the same colour in every report: the first colours, in this order."""

_MAX_LEGEND_COLUMNS = 4


def method_colour(titles: list[str], shown: Iterable[str] | None = None) -> alt.Color:
    """Return the colour encoding of methods.

    Args:
        titles: Display names of all methods.
        shown: Display names in the legend; by default all.
    """
    entries = [title for title in titles if shown is None or title in set(shown)]
    return alt.Color(
        "Method:N",
        sort=titles,
        scale=alt.Scale(
            domain=titles, range=[_COLOURS[index] for index in _colour_indices(titles)]
        ),
        legend=alt.Legend(values=entries, columns=_legend_columns(len(entries))),
    )


def method_shape(titles: list[str]) -> alt.Shape:
    """Return the shape encoding of methods, which shares the legend with their colours."""
    shapes = [_SHAPES[index % len(_SHAPES)] for index in _colour_indices(titles)]
    return alt.Shape("Method:N", sort=titles, scale=alt.Scale(domain=titles, range=shapes))


def _colour_indices(titles: list[str]) -> list[int]:
    """Return the index of each method's colour; colours repeat after ten methods."""
    standard = _STANDARD_METHODS
    unused = [index for index, title in enumerate(standard) if title not in titles]
    free = cycle([*range(len(standard), len(_COLOURS)), *unused])
    return [standard.index(title) if title in standard else next(free) for title in titles]


def _legend_columns(entries: int) -> int:
    """Return the number of columns that gives a legend rows of similar length."""
    return ceil(entries / max(1, ceil(entries / _MAX_LEGEND_COLUMNS)))


def axis_title(metric: Metric) -> str:
    """Return the title of the axis of a metric, with an arrow to its better values."""
    arrow = "better →" if metric.direction == "maximize" else "← better"
    return f"{metric.title}  ({arrow})"


def styled(chart: Any) -> Any:
    """Apply the report's fonts, grid and spacing to a chart."""
    text: dict[str, Any] = {
        "labelColor": MUTED,
        "titleColor": INK,
        "labelFontSize": 12,
        "titleFontSize": 12,
    }
    return chart.configure(  # in one call, since each would copy the chart
        font=FONT,
        background="white",
        padding=8,
        view=alt.ViewConfig(stroke=None),
        axis=alt.AxisConfig(
            **text,
            grid=True,
            gridColor=GRID,
            domainColor="#c3c9d0",
            tickColor="#c3c9d0",
            titleFontWeight=600,
            titlePadding=10,
        ),
        legend=alt.LegendConfig(
            **text,
            orient="top",
            title=None,
            labelLimit=300,
            symbolType="circle",
            symbolSize=110,
            symbolOpacity=1.0,
        ),
        header=alt.HeaderConfig(
            labelColor=INK, labelFontSize=12, labelFontWeight=600, titleColor=INK, title=None
        ),
    )
