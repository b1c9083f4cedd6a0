"""The chart of performance profiles over all benchmarks."""

from __future__ import annotations

from math import ceil
from typing import Any

import altair as alt
import polars as pl

from ..statistics.across import AcrossInfo
from .palette import INK, WIDTH, method_colour, styled

_MAX_COLUMNS = 3


def profile_chart(info: AcrossInfo) -> Any:
    """Draw the first method's performance profile beside that of each rival, a panel for each."""
    profile = info.profile.with_columns(
        pl.col("hypervolume").round_sig_figs(5), pl.col("share", "low", "high").round(4)
    )
    focus, *rivals = profile["Method"].unique(maintain_order=True)
    columns = ceil(len(rivals) / ceil(len(rivals) / _MAX_COLUMNS))
    width = WIDTH // columns - 70
    colour = method_colour(info.methods, [focus, *rivals])
    panels = [
        _panel(profile.filter(pl.col("Method").is_in([focus, rival])), colour).properties(
            title=rival, width=width, height=190
        )
        for rival in rivals
    ]
    chart = alt.concat(*panels, columns=columns, spacing=26)
    return styled(chart).configure_title(color=INK, fontSize=12, fontWeight=600, offset=8)


def _panel(profile: pl.DataFrame, colour: alt.Color) -> Any:
    scale = alt.Scale(domain=(0, 1))
    axis = alt.Axis(format="~%", tickCount=5)
    label = "Share of searches"
    base = alt.Chart(profile).encode(
        x=alt.X(
            "hypervolume:Q",
            title="Hypervolume  (better →)",
            scale=alt.Scale(zero=False, nice=False),
            axis=alt.Axis(tickCount=6),
        ),
        color=colour,
    )
    band = base.mark_area(opacity=0.16, interpolate="step-before").encode(
        y=alt.Y("low:Q", title=label, scale=scale, axis=axis), y2="high:Q"
    )
    line = base.mark_line(strokeWidth=2, interpolate="step-before").encode(
        y=alt.Y("share:Q", title=label, scale=scale, axis=axis),
        tooltip=[
            "Method:N",
            alt.Tooltip("hypervolume:Q", title="Hypervolume", format=".3f"),
            *(alt.Tooltip(f"{name}:Q", format=".0%") for name in ("share", "low", "high")),
        ],
    )
    return alt.layer(band, line)
