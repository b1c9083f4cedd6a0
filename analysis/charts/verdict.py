"""The chart of the verdict: differences from every rival with their intervals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import altair as alt
import polars as pl

from ..statistics.answer import Answer
from ..statistics.endpoints import Endpoint
from ..statistics.verdict import Outcome
from .palette import INK, MUTED, WIDTH, styled

_COLOURS = {
    Outcome.BETTER: "#0f8f6b",
    Outcome.WORSE: "#c8401f",
    Outcome.EQUIVALENT: "#1f5fa8",
    Outcome.UNDECIDED: MUTED,
    Outcome.NO_INTERVAL: "#b9c0c9",
}
_SHAPES = {
    Outcome.BETTER: "triangle-right",
    Outcome.WORSE: "triangle-left",
    Outcome.EQUIVALENT: "square",
    Outcome.UNDECIDED: "circle",
    Outcome.NO_INTERVAL: "cross",
}


def verdict_chart(answer: Answer, title_of: Callable[[str], str]) -> Any:
    """Draw the differences from every rival, one panel for each compared quantity.

    Args:
        answer: An answer with comparisons.
        title_of: Returns the display name of a method.
    """
    panels = [_panel(answer, endpoint, title_of) for endpoint in answer.endpoints]
    return styled(alt.vconcat(*panels, spacing=18).resolve_scale(color="shared", shape="shared"))


def _panel(answer: Answer, endpoint: Endpoint, title_of: Callable[[str], str]) -> Any:
    rows = [
        {
            "Rival": title_of(each.rival),
            "difference": each.estimate.mean,
            "low": each.estimate.low,
            "high": each.estimate.high,
            "Outcome": each.outcome.value,
        }
        for each in answer.of(endpoint)
    ]
    data = pl.DataFrame(rows).with_columns(
        pl.col("difference", "low", "high").fill_nan(None).round_sig_figs(5)
    )
    names = [outcome.value for outcome in Outcome]
    colour = alt.Color(
        "Outcome:N", scale=alt.Scale(domain=names, range=[_COLOURS[each] for each in Outcome])
    )
    shape = alt.Shape(
        "Outcome:N", scale=alt.Scale(domain=names, range=[_SHAPES[each] for each in Outcome])
    )
    x = alt.X(
        "difference:Q",
        title=f"{endpoint.title}: improvement by {title_of(answer.focus)}  (better →)",
        axis=alt.Axis(tickCount=8),
    )
    rivals = [title_of(each.rival) for each in answer.of(endpoint)]
    y = alt.Y("Rival:N", title=None, sort=rivals)
    base = alt.Chart(data).encode(y=y, color=colour)
    zero = alt.Chart(pl.DataFrame({"zero": [0.0]})).mark_rule(color=INK).encode(x="zero:Q")
    layers = [
        zero,
        base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", title=x["title"]), x2="high:Q"),
        base.mark_point(filled=True, size=110, opacity=1.0).encode(
            x=x,
            shape=shape,
            tooltip=[
                "Rival:N",
                *(alt.Tooltip(f"{n}:Q", format="+.4f") for n in ("difference", "low", "high")),
                "Outcome:N",
            ],
        ),
    ]
    if endpoint.margin is not None:
        margin = pl.DataFrame({"low": [-endpoint.margin], "high": [endpoint.margin]})
        band = alt.Chart(margin).mark_rect(color="#e6e9ed", opacity=0.7)
        layers.insert(0, band.encode(x=alt.X("low:Q", title=x["title"]), x2="high:Q"))
    return alt.layer(*layers).properties(width=WIDTH - 190, height=26 * len(rows) + 12)
