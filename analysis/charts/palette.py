"""How charts look: a colour for every method, the same in all charts."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import cycle
from math import ceil
from typing import Any

import altair as alt

INK, MUTED, GRID = "#1c2430", "#6b7684", "#e6e9ed"
FONT = "Inter, 'Helvetica Neue', Helvetica, Arial, sans-serif"

WIDTH = 920
"""Of charts, in pixels."""

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
"""Told apart with red-green blindness, too: any two of the first five differ by 16 in CIELAB."""

_SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "triangle-left")

_USUAL = ("NGM-SGD", "NGM-SGD, gain frozen", "SGD", "SGD with momentum 0.9", "Adam")
"""Methods that have the first colours in all reports."""

_LEGEND_COLUMNS = 4


def method_colour(titles: list[str], shown: Iterable[str] | None = None) -> alt.Color:
    """Colours for methods, by their titles, with a legend of those that are shown."""
    entries = [title for title in titles if shown is None or title in set(shown)]
    return alt.Color(
        "Method:N",
        sort=titles,
        scale=alt.Scale(domain=titles, range=[_COLOURS[place] for place in _places(titles)]),
        legend=alt.Legend(values=entries, columns=_columns(len(entries))),
    )


def method_shape(titles: list[str]) -> alt.Shape:
    """Shapes for the same, in the same legend."""
    shapes = [_SHAPES[place % len(_SHAPES)] for place in _places(titles)]
    return alt.Shape("Method:N", sort=titles, scale=alt.Scale(domain=titles, range=shapes))


def _places(titles: list[str]) -> list[int]:
    """Which of the colours each has."""
    others = [place for place, usual in enumerate(_USUAL) if usual not in titles]
    free = cycle([*range(len(_USUAL), len(_COLOURS)), *others])
    return [_USUAL.index(title) if title in _USUAL else next(free) for title in titles]


def _columns(entries: int) -> int:
    """Of a legend whose rows are about equally long."""
    return ceil(entries / max(1, ceil(entries / _LEGEND_COLUMNS)))


def styled(chart: Any) -> Any:
    """The chart with the report's type, grid and spacing."""
    text = {"labelColor": MUTED, "titleColor": INK, "labelFontSize": 12, "titleFontSize": 12}
    return (
        chart.configure(font=FONT, background="white", padding=8)
        .configure_view(stroke=None)
        .configure_axis(
            **text,
            grid=True,
            gridColor=GRID,
            domainColor="#c3c9d0",
            tickColor="#c3c9d0",
            titleFontWeight=600,
            titlePadding=10,
        )
        .configure_legend(
            **text,
            orient="top",
            title=None,
            labelLimit=300,
            symbolType="circle",
            symbolSize=110,
            symbolOpacity=1.0,
        )
        .configure_header(
            labelColor=INK, labelFontSize=12, labelFontWeight=600, titleColor=INK, title=None
        )
    )
