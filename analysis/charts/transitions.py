"""Charts of transitions: accuracy around them, and gain and entropy over a run."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from ..statistics.transitions import ENTROPY, GAIN, GainInfo, TransitionInfo
from .palette import INK, MUTED, WIDTH, method_colour, styled


def transition_chart(info: TransitionInfo) -> Any:
    """Draw the mean over seeds as a line and their range as a band, one panel per transition."""
    selection = alt.selection_point(fields=["Method"], bind="legend")
    base = alt.Chart().encode(
        x=alt.X(
            "elapsed:Q",
            title="Iterations since the transition",
            axis=alt.Axis(values=[0, 20, 40, 60], grid=False),
        ),
        color=method_colour(info.methods),
    )
    band = base.mark_area().encode(
        y=alt.Y("low:Q"),
        y2="high:Q",
        opacity=alt.when(selection).then(alt.value(0.13)).otherwise(alt.value(0.0)),
    )
    line = base.mark_line(strokeWidth=2).encode(
        y=alt.Y(
            "mean:Q", title=f"Accuracy on the {info.old_task} task", scale=alt.Scale(zero=False)
        ),
        opacity=alt.when(selection).then(alt.value(1.0)).otherwise(alt.value(0.04)),
        tooltip=[
            alt.Tooltip("Method:N"),
            alt.Tooltip("elapsed:Q", title="Iterations since the transition"),
            alt.Tooltip("mean:Q", title="Mean over seeds", format=".3f"),
            alt.Tooltip("low:Q", title="Minimum over seeds", format=".3f"),
            alt.Tooltip("high:Q", title="Maximum over seeds", format=".3f"),
        ],
    )
    transition = alt.Chart(pl.DataFrame({"elapsed": [0]}))  # separate data: one rule per panel
    rule = transition.mark_rule(color=MUTED, strokeDash=[3, 3]).encode(x="elapsed:Q")
    columns = min(4, max(1, len(info.transitions)))
    panels = (
        alt.layer(band, line, rule)
        .add_params(selection)
        .properties(width=(WIDTH - 24 * (columns - 1)) // columns - 8 * columns, height=230)
        .facet(
            data=info.accuracy,
            facet=alt.Facet("Transition:N", sort=info.transitions, title=None),
            columns=columns,
            spacing=18,
        )
        .resolve_scale(y="independent")
    )
    return styled(panels)


def transition_rules(task_starts: list[int]) -> Any:
    """Draw a dashed line at the first iteration of each task."""
    data = pl.DataFrame({"iteration": task_starts}, schema={"iteration": pl.Int64})
    return alt.Chart(data).mark_rule(color=MUTED, strokeDash=[3, 3]).encode(x="iteration:Q")


def gain_chart(info: GainInfo) -> Any:
    """Draw gain and entropy over the whole run, with dashed lines at transitions."""

    def panel(quantity: str, height: int, axis: alt.Axis | None) -> Any:
        traces = info.traces.filter(pl.col("quantity") == quantity)
        base = alt.Chart(traces).encode(
            x=alt.X("iteration:Q", title="Iteration", axis=axis),
            color=method_colour(info.methods, info.traces["Method"]),
        )
        band = base.mark_area(opacity=0.15, clip=True).encode(y=alt.Y("low:Q"), y2="high:Q")
        line = base.mark_line(strokeWidth=1.6, clip=True).encode(
            y=alt.Y("mean:Q", title=quantity, scale=alt.Scale(zero=False)),
            tooltip=[
                alt.Tooltip("Method:N"),
                alt.Tooltip("iteration:Q", title="Iteration"),
                alt.Tooltip("mean:Q", title=quantity, format=".3f"),
            ],
        )
        return alt.layer(band, line, transition_rules(info.task_starts)).properties(
            width=WIDTH, height=height
        )

    zoom = alt.selection_interval(bind="scales", encodings=["x"])
    gain = panel(GAIN, 200, alt.Axis(labels=False, title=None, ticks=False)).add_params(zoom)
    entropy = panel(ENTROPY, 120, alt.Axis(titleColor=INK, tickCount=10))
    return styled(alt.vconcat(gain, entropy, spacing=14).resolve_scale(x="shared"))
