"""What happens at transitions: old-task accuracy, gain and entropy of chosen configurations."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import altair as alt
import polars as pl

from ..loading import LoadedStudy
from ..statistics.choice import Choice
from .palette import INK, MUTED, WIDTH, method_colour, styled

BEFORE, AFTER = 10, 60
"""Iterations shown on either side of a transition."""

_POINTS = 2000
"""Points drawn of a quantity, all methods together, besides those just after transitions."""


class TransitionInfo(NamedTuple):
    """Accuracy on an old task around each transition.

    ``of`` is the old task looked at, the one of the study's stability gap: ``"first"``, and else
    the ``"previous"`` one. ``accuracy`` has a row per method, transition and iteration: ``Method``,
    ``Transition`` (such as "into task 2"), ``elapsed`` (iterations since the transition; 0 is the
    last of the old task), ``mean``, ``low`` and ``high`` over seeds.
    """

    of: Literal["first", "previous"]
    accuracy: pl.DataFrame
    methods: list[str]
    transitions: list[str]


class GainInfo(NamedTuple):
    """Gain and entropy over a run.

    ``traces`` has a row per method, iteration and quantity: ``Method``, ``iteration``, ``quantity``
    ("Gain" or "Entropy, nats"), ``mean``, ``low`` and ``high`` over seeds. ``task_starts`` are the
    first iterations of the second and later tasks.
    """

    traces: pl.DataFrame
    methods: list[str]
    task_starts: list[int]


def transition_info(loaded: LoadedStudy, benchmark: str, choices: list[Choice]) -> TransitionInfo:
    """Read the curves of the chosen configurations of a benchmark."""
    chosen = titles_of(loaded, benchmark, choices)
    curves = pl.DataFrame(loaded.results.read("curves", chosen))
    of: Literal["first", "previous"] = (
        "first" if "avg_sg_first" in [m.name for m in loaded.objectives] else "previous"
    )
    starts = task_starts(curves)
    windows = [
        curves.filter(
            pl.col("iteration").is_between(start - BEFORE, start - 1 + AFTER),
            pl.col("task").is_in([task - 1, task]),
            eval_task=0 if of == "first" else task - 1,
        ).with_columns(
            (pl.col("iteration") - (start - 1)).alias("elapsed"),
            pl.lit(f"into task {task + 1}").alias("Transition"),
        )
        for task, start in starts.items()
    ]
    accuracy = (
        pl.concat(windows)
        if windows
        else curves.clear().with_columns(elapsed=pl.lit(0), Transition=pl.lit(""))
    )
    return TransitionInfo(
        of,
        over_seeds(accuracy, chosen, ["Transition", "elapsed"], "accuracy"),
        [loaded.method_title(name) for name in loaded.methods],
        [f"into task {task + 1}" for task in starts],
    )


def gain_info(loaded: LoadedStudy, benchmark: str, choices: list[Choice]) -> GainInfo:
    """Read the gain traces of the chosen configurations that have a gain."""
    chosen = titles_of(loaded, benchmark, choices)
    steps = pl.DataFrame(loaded.results.read("steps", chosen)).filter(pl.col("gain").is_not_nan())
    starts = task_starts(steps)
    kept = thinned(steps, list(starts.values()))
    traces = [
        over_seeds(kept, chosen, ["iteration"], column).with_columns(pl.lit(name).alias("quantity"))
        for column, name in (("gain", "Gain"), ("entropy", "Entropy, nats"))
    ]
    return GainInfo(
        pl.concat(traces),
        [loaded.method_title(name) for name in loaded.methods],
        list(starts.values()),
    )


def titles_of(loaded: LoadedStudy, benchmark: str, choices: list[Choice]) -> dict[str, str]:
    """The title of the method, by the ids of a benchmark's chosen trials."""
    return {
        choice.trial_id: loaded.method_title(choice.method)
        for choice in choices
        if choice.benchmark == benchmark
    }


def task_starts(rows: pl.DataFrame) -> dict[int, int]:
    """First iteration of the second and every later task.

    Taken from where the former task ends, which unlike a task's beginning is always evaluated.
    """
    ends = rows.group_by("task").agg(pl.col("iteration").max()).sort("task")
    return {task + 1: end + 1 for task, end in ends.head(-1).iter_rows()}


def thinned(rows: pl.DataFrame, task_starts: list[int]) -> pl.DataFrame:
    """Rows of so many iterations as a chart can show: all just after transitions, else some."""
    iterations = rows["iteration"].n_unique() * rows["trial_id"].n_unique()
    regular = pl.col("iteration") % max(1, iterations // _POINTS) == 0
    after = [pl.col("iteration").is_between(start, start + AFTER) for start in [1, *task_starts]]
    return rows.filter(pl.any_horizontal(regular, *after))


def over_seeds(
    rows: pl.DataFrame, titles: dict[str, str], key: list[str], column: str
) -> pl.DataFrame:
    """Mean, lowest and highest of a column over the seeds of each method and ``key``."""
    value = pl.col(column).cast(pl.Float64)
    return (
        rows.with_columns(pl.col("trial_id").replace_strict(titles).alias("Method"))
        .group_by("Method", *key)
        .agg(value.mean().alias("mean"), value.min().alias("low"), value.max().alias("high"))
        .with_columns(pl.col("mean", "low", "high").round_sig_figs(4))
        .sort("Method", *key)
    )


def transition_chart(info: TransitionInfo) -> Any:
    """A panel per transition: the mean over seeds as a line, their range as a band."""
    shown = alt.selection_point(fields=["Method"], bind="legend")
    base = alt.Chart().encode(
        x=alt.X(
            "elapsed:Q",
            title="Iterations since the transition",
            axis=alt.Axis(values=[0, 20, 40, 60], grid=False),
        ),
        color=method_colour(info.methods),
    )
    band = base.mark_area(clip=True).encode(
        y=alt.Y("low:Q"),
        y2="high:Q",
        opacity=alt.when(shown).then(alt.value(0.13)).otherwise(alt.value(0.0)),
    )
    line = base.mark_line(strokeWidth=2, clip=True).encode(
        y=alt.Y("mean:Q", title=f"Accuracy, {info.of} task", scale=alt.Scale(zero=False)),
        opacity=alt.when(shown).then(alt.value(1.0)).otherwise(alt.value(0.04)),
        tooltip=[
            alt.Tooltip("Method:N"),
            alt.Tooltip("elapsed:Q", title="Iterations since the transition"),
            alt.Tooltip("mean:Q", title="Mean over seeds", format=".3f"),
            alt.Tooltip("low:Q", title="Lowest seed", format=".3f"),
            alt.Tooltip("high:Q", title="Highest seed", format=".3f"),
        ],
    )
    arrival = alt.Chart(pl.DataFrame({"elapsed": [0]}))  # its own data: one rule in every panel
    rule = arrival.mark_rule(color=MUTED, strokeDash=[3, 3]).encode(x="elapsed:Q")
    columns = min(4, max(1, len(info.transitions)))
    panels = (
        alt.layer(band, line, rule)
        .add_params(shown)
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


def transition_rules(starts: list[int]) -> Any:
    """A dashed line where each task begins, for charts over the iterations of a run."""
    data = pl.DataFrame({"iteration": starts}, schema={"iteration": pl.Int64})
    return alt.Chart(data).mark_rule(color=MUTED, strokeDash=[3, 3]).encode(x="iteration:Q")


def gain_chart(info: GainInfo) -> Any:
    """Gain and entropy over the whole run, transitions marked."""

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
    gain = panel("Gain", 200, alt.Axis(labels=False, title=None, ticks=False)).add_params(zoom)
    entropy = panel("Entropy, nats", 120, alt.Axis(titleColor=INK, tickCount=10))
    return styled(alt.vconcat(gain, entropy, spacing=14).resolve_scale(x="shared"))
