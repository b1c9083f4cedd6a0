"""Charts of NGM-SGD's mechanism: curvature, fast and slow weights, and cost."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from ..statistics.mechanism import (
    EFFECTIVE,
    GAIN_STEP,
    RAW,
    WEIGHT_STEP,
    CostInfo,
    CurvatureInfo,
    FastAndSlowInfo,
)
from .palette import MUTED, WIDTH, method_colour, styled
from .transitions import transition_rules

_SMALLEST_MOVE = 1e-4
"""Lower limit of the axis of relative changes; smaller values are drawn at the limit."""


def _traces(data: pl.DataFrame, methods: list[str], y: alt.Y) -> Any:
    """Draw a line per method for the mean over seeds, and a band for their range."""
    base = alt.Chart(data).encode(
        x=alt.X("iteration:Q", title="Iteration"), color=method_colour(methods, data["Method"])
    )
    band = base.mark_area(opacity=0.12, clip=True, strokeWidth=0).encode(
        y=alt.Y("low:Q", scale=y["scale"], title=y["title"]), y2="high:Q"
    )
    return band + base.mark_line(strokeWidth=1.6, clip=True).encode(y=y)


def curvature_chart(info: CurvatureInfo) -> Any:
    """Draw the eigenvalue for the raw weights above that for the effective weights."""
    panels = [
        alt.layer(
            _traces(
                info.traces.filter(pl.col("space") == space),
                info.methods,
                alt.Y("mean:Q", title=space, scale=alt.Scale(type="log", nice=False)),
            ),
            transition_rules(info.task_starts),
        ).properties(width=WIDTH, height=190)
        for space in (RAW, EFFECTIVE)
    ]
    return styled(alt.vconcat(*panels, spacing=14).resolve_scale(y="shared"))


def fast_and_slow_chart(info: FastAndSlowInfo) -> Any:
    """Draw the share of the fast weights and, below it, the relative changes of the weights."""
    share = alt.Y(
        "mean:Q",
        title="Share of fast weights",
        axis=alt.Axis(format="%"),
        scale=alt.Scale(zero=True),
    )
    domain = [_SMALLEST_MOVE, float(info.moves["high"].max() or 1.0)]  # type: ignore[arg-type]
    panels = [(info.shares, share, 150)] + [
        (
            info.moves.filter(pl.col("kind") == kind),
            alt.Y(
                "mean:Q",
                title=kind,
                scale=alt.Scale(type="log", domain=domain, clamp=True),
                axis=alt.Axis(format="~%", tickCount=4),
            ),
            120,
        )
        for kind in (WEIGHT_STEP, GAIN_STEP)
    ]
    layers = [
        alt.layer(_traces(data, info.methods, y), transition_rules(info.task_starts)).properties(
            width=WIDTH, height=height
        )
        for data, y, height in panels
    ]
    return styled(alt.vconcat(*layers, spacing=14))


def cost_chart(info: CostInfo) -> Any:
    """Draw time and memory of a training step relative to SGD, network by network."""
    colour = method_colour(info.methods)
    network = alt.Y("network:N", sort=info.networks, title=None)
    offset = alt.YOffset("Method:N", sort=info.methods)

    def panel(value: str, title: str, *, quartiles: bool) -> Any:
        x = alt.X(f"{value}:Q", title=title, scale=alt.Scale(zero=False))
        base = alt.Chart(info.rows).encode(y=network, yOffset=offset, color=colour)
        points = base.mark_point(filled=True, size=46, opacity=1).encode(
            x=x,
            tooltip=[
                alt.Tooltip("Method:N"),
                alt.Tooltip("network:N", title="Network (depth x width)"),
                alt.Tooltip("parameters:Q", title="Parameters", format=","),
                alt.Tooltip("time_ratio:Q", title="Time relative to SGD", format=".3f"),
                alt.Tooltip("memory_ratio:Q", title="Memory relative to SGD", format=".3f"),
            ],
        )
        sgd = alt.Chart(pl.DataFrame({"ratio": [1.0]})).mark_rule(color=MUTED).encode(x="ratio:Q")
        bars = base.mark_rule(strokeWidth=1.4).encode(x="time_low:Q", x2="time_high:Q")
        layers = (sgd, bars, points) if quartiles else (sgd, points)
        return alt.layer(*layers).properties(width=(WIDTH - 24) // 2 - 80, height=alt.Step(12))

    return styled(
        alt.hconcat(
            panel("time_ratio", "Time per step, relative to SGD", quartiles=True),
            panel("memory_ratio", "Memory per step, relative to SGD", quartiles=False),
            spacing=24,
        )
    )
