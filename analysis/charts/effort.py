"""Charts of tuning effort and of the robustness of tuning."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from ..statistics.effort import EffortInfo
from ..statistics.robustness import RobustnessInfo
from .palette import WIDTH, method_colour, styled


def effort_chart(info: EffortInfo) -> Any:
    """Draw hypervolume against trials and against hours, with the band over re-orderings."""
    growth = info.growth.with_columns(
        pl.col("budget", "mean", "low", "high", "observed").round_sig_figs(5)
    )
    volumes = pl.concat([growth["low"], growth["observed"], growth["mean"]]).drop_nulls()
    low = float(volumes.filter(volumes > 0).quantile(0.1) or 0.0)
    high = float(growth["high"].to_numpy().max())
    scale = alt.Scale(domain=(low, high + 0.05 * (high - low) or high + 0.01), nice=False)
    colour = method_colour(info.methods)
    panels = []
    for unit, title in (("trials", "Trials"), ("hours", "Hours of training and evaluation")):
        base = alt.Chart(growth.filter(unit=unit)).encode(
            x=alt.X(
                "budget:Q",
                title=title,
                axis=alt.Axis(format="~g", tickMinStep=0 if unit == "hours" else 1, tickCount=8),
            ),
            color=colour,
        )
        label = None if unit == "hours" else "Hypervolume"
        y = alt.Y("mean:Q", title=label, scale=scale)
        tooltip = ["Method:N", alt.Tooltip("budget:Q", title=title, format=".4~g")]
        tooltip += [alt.Tooltip(f"{name}:Q", format=".4~f") for name in ("mean", "low", "high")]
        band = base.mark_area(opacity=0.14, clip=True, interpolate="step-after").encode(
            y=alt.Y("low:Q", scale=scale, title=label), y2="high:Q"
        )
        steps: dict[str, Any] = {"clip": True, "interpolate": "step-after"}
        solid = {**steps, "strokeWidth": 2}
        dashed = {**steps, "strokeWidth": 1.2, "strokeDash": [3, 3], "opacity": 0.8}
        line = base.mark_line(**dashed).encode(y=y, tooltip=tooltip)
        observed = base.mark_line(**solid).encode(y=alt.Y("observed:Q", scale=scale, title=label))
        panels.append(alt.layer(band, observed, line).properties(width=WIDTH // 2 - 44, height=260))
    return styled(alt.hconcat(*panels, spacing=28))


def robustness_chart(info: RobustnessInfo) -> Any:
    """Draw the share of each search space within a distance of the method's front."""
    shares = info.shares.with_columns(pl.col("share", "distance").round(5))
    x = alt.X("distance:Q", title="Distance from the method's front", axis=alt.Axis(tickCount=8))
    y = alt.Y(
        "share:Q",
        title="Share of the search space",
        scale=alt.Scale(domain=(0, 1)),
        axis=alt.Axis(format="~%"),
    )
    chart = (
        alt.Chart(shares)
        .mark_line(strokeWidth=2, interpolate="step-after")
        .encode(
            x=x,
            y=y,
            color=method_colour(info.methods),
            tooltip=[
                "Method:N",
                alt.Tooltip("distance:Q", format="~g"),
                alt.Tooltip("share:Q", format=".1%"),
            ],
        )
    )
    return styled(chart.properties(width=WIDTH, height=240))
