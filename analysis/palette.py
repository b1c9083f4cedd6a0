"""How charts look: a colour for every method, the same in all charts of a report."""

from __future__ import annotations

from typing import Any

import altair as alt

INK, MUTED, GRID = "#1c2430", "#6b7684", "#e6e9ed"
FONT = "Inter, 'Helvetica Neue', Helvetica, Arial, sans-serif"

_COLOURS = (
    "#d1462f",  # the first method of a study, usually NGM-SGD, stands out
    "#e8a33d",
    "#3b6fb6",
    "#2f9e8f",
    "#8a5fbf",
    "#5b6672",
    "#c2689b",
    "#7c9a35",
    "#9c6b3f",
    "#2bb3d1",
)


def colour_scale(titles: list[str]) -> alt.Scale:
    """A scale that gives each method its colour."""
    return alt.Scale(domain=titles, range=[_COLOURS[i % len(_COLOURS)] for i in range(len(titles))])


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
            columns=4,
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
