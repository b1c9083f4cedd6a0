"""The chart of attainment differences."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from ..statistics.attainment import AttainmentInfo
from .palette import WIDTH, axis_title, styled

_COLOURS = ("#1f5fa8", "#f4f5f7", "#c8401f")
"""Colours of the rival, of no difference, and of the first method."""


def attainment_chart(info: AttainmentInfo) -> Any:
    """Draw the regions in which either method attains points in more of its replicates."""
    rows = info.differences.with_columns(pl.col(pl.Float64).round_sig_figs(5))
    x_scale, y_scale = (
        alt.Scale(domain=domain, nice=False, zero=False)
        for domain in (info.x_domain, info.y_domain)
    )
    axis = alt.Axis(tickCount=8)
    chart = (
        alt.Chart(rows)
        .mark_rect(clip=True)
        .encode(
            x=alt.X("x:Q", title=axis_title(info.x), scale=x_scale, axis=axis),
            x2="x2:Q",
            y=alt.Y("y:Q", title=axis_title(info.y), scale=y_scale, axis=axis),
            y2="y2:Q",
            color=alt.Color(
                "difference:Q",
                scale=alt.Scale(domain=[-1, 0, 1], range=list(_COLOURS), interpolate="rgb"),
                legend=alt.Legend(
                    title=f"{info.rival}  ←  attained more often by  →  {info.focus}",
                    titleLimit=WIDTH,
                    format="+.0%",
                    gradientLength=400,
                    titleOrient="top",
                ),
            ),
            tooltip=alt.Tooltip("difference:Q", title="Difference of the shares", format="+.0%"),
        )
    )
    return styled(chart.properties(width=WIDTH, height=340))
