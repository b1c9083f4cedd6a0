"""The Pareto chart: every trial, every method's front, and what was chosen and compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import altair as alt
import polars as pl

from ngm_tune.metrics.functional import METRICS, Metric
from ngm_tune.results.schema import CONFIG_PREFIX

from ..loading import LoadedStudy
from ..statistics.answer import compared
from ..statistics.choice import Choice
from ..statistics.optimism import SEARCHED, pairs_of
from .palette import INK, WIDTH, method_colour, method_shape, styled


class ParetoInfo(NamedTuple):
    """What the chart shows.

    ``trials`` has a row per completed trial, of the search and confirmed: ``Method`` (its title),
    ``trial_id``, the configuration, all metrics, ``claim`` (whether claims rest on it), ``front``,
    ``chosen`` and ``compared`` (by the answer), all three among claims. ``attained`` has the points
    of each method's front and where what it attains ends, at the reference point; it is empty where
    settings were given, and with a third objective, as that front is none in the plane of x and y.
    ``spread`` has the range of one standard deviation over seeds around what was run on test data.
    ``pairs`` has a row per confirmed configuration, with x and y also as the search had them, once
    all that are due are confirmed. The domains frame the chosen and compared points and most of the
    fronts, and all of given settings.
    """

    trials: pl.DataFrame
    attained: pl.DataFrame
    spread: pl.DataFrame
    pairs: pl.DataFrame
    methods: list[str]
    x: Metric
    y: Metric
    x_domain: tuple[float, float]
    y_domain: tuple[float, float]
    hidden: int
    """Trials outside the frame."""
    hidden_claims: int
    """Those of them that claims rest on."""


def pareto_info(loaded: LoadedStudy, benchmark: str, choices: list[Choice]) -> ParetoInfo:
    """Collect the completed trials of a benchmark.

    The first objective of the study goes up the y axis and the second along x; a study with one
    objective is drawn against the stability gap or, if that is it, the average accuracy.
    """
    y, x = _axes(loaded.objectives)
    marked = not loaded.given  # where every method has one point, none needs a mark
    chosen = [choice.trial_id for choice in choices if marked and choice.benchmark == benchmark]
    answered = compared(loaded, benchmark) if marked and len(loaded.objectives) > 1 else []
    claims = loaded.of(benchmark).with_columns(claim=pl.lit(value=True))
    parts = [claims]
    if loaded.is_confirmed(benchmark):
        estimates = loaded.searched(benchmark).with_columns(claim=False, front=False)
        parts.append(estimates)
    trials = (
        pl.concat(parts, how="diagonal")
        .filter(pl.col("status") == "completed")
        .with_columns(
            _titles(loaded).alias("Method"),
            pl.col("trial_id").is_in(chosen).alias("chosen"),
            pl.col("trial_id").is_in([each.trial_id for each in answered]).alias("compared"),
        )
        .sort(x.name)
    )
    pairs = pairs_of(loaded, benchmark).filter(pl.col("status") == "completed")
    if not loaded.is_confirmed(benchmark):  # of a part of what is due, which no claim rests on
        pairs = pairs.clear()
    pairs = pairs.with_columns(_titles(loaded).alias("Method"))
    front = trials.filter("front")
    always = trials if loaded.given else trials.filter(pl.col("chosen") | pl.col("compared"))
    x_domain = _frame(front, always, pairs, x)
    y_domain = _frame(front, always, pairs, y)
    inside = pl.col(x.name).is_between(*x_domain) & pl.col(y.name).is_between(*y_domain)
    outside = trials.filter(~inside)
    flat = len(loaded.objectives) == 2 and not loaded.given
    return ParetoInfo(
        trials=trials,
        attained=_attained(front if flat else front.clear(), x, y, loaded.study.reference_point),
        spread=_spread(trials, x, y),
        pairs=pairs,
        methods=[loaded.method_title(name) for name in loaded.methods],
        x=x,
        y=y,
        x_domain=x_domain,
        y_domain=y_domain,
        hidden=outside.height,
        hidden_claims=outside.filter("claim").height,
    )


def _attained(
    front: pl.DataFrame, x: Metric, y: Metric, reference_point: Mapping[str, float]
) -> pl.DataFrame:
    """The fronts by x, up to the reference point: whatever budget in x, the best y so far stays."""
    points = front.select("Method", x.name, y.name)
    if front.is_empty():
        return points
    best = pl.col(y.name).max() if y.direction == "maximize" else pl.col(y.name).min()
    ends = points.group_by("Method", maintain_order=True).agg(
        pl.lit(float(reference_point[x.name])).alias(x.name), best
    )
    return pl.concat([points, ends]).sort("Method", x.name)


def _spread(trials: pl.DataFrame, x: Metric, y: Metric) -> pl.DataFrame:
    """One standard deviation around each point on test data, in columns ``x_low`` to ``y_high``."""
    sds = {axis: pl.col(f"{metric.name}_sd") for axis, metric in (("x", x), ("y", y))}
    return (
        trials.filter(phase="confirm")
        .select(
            "Method",
            x.name,
            y.name,
            **{f"{axis}_low": pl.col(m.name) - sds[axis] for axis, m in (("x", x), ("y", y))},
            **{f"{axis}_high": pl.col(m.name) + sds[axis] for axis, m in (("x", x), ("y", y))},
        )
        .drop_nulls()
    )


def _titles(loaded: LoadedStudy) -> pl.Expr:
    return pl.col("method").replace({name: loaded.method_title(name) for name in loaded.methods})


def _axes(objectives: list[Metric]) -> tuple[Metric, Metric]:
    if len(objectives) > 1:
        return objectives[0], objectives[1]
    other = "avg_sg" if objectives[0].name != "avg_sg" else "avg_acc"
    return objectives[0], METRICS[other]


def _frame(
    front: pl.DataFrame, always: pl.DataFrame, pairs: pl.DataFrame, metric: Metric
) -> tuple[float, float]:
    """The range of what is always shown and of most other points of the fronts, with some air.

    Where points are confirmed, also of most of the search's estimates of them.

    What is beyond ideal is left out, unless it is always shown.
    """
    ideal = metric.best * metric.sign
    shown = front[metric.name]
    if pairs.height:
        shown = pl.concat([shown, pairs[SEARCHED + metric.name]]).drop_nulls()
    losses = (shown * metric.sign).clip(ideal)
    low = float(losses.quantile(0.0) or 0.0)
    high = float(losses.quantile(0.85, "linear") or 0.0)
    kept = (always[metric.name] * metric.sign).to_list()
    low, high = min([low, *kept]), max([high, *kept])
    air = 0.08 * (high - low) or 0.05
    edges = sorted((metric.sign * (low - air), metric.sign * (high + air)))
    return edges[0], edges[1]


def pareto_chart(info: ParetoInfo) -> Any:
    """Draw it: trials faint, fronts as attainment lines, what was chosen ringed, compared boxed.

    Legend entries filter (shift adds to the selection), the wheel zooms, dragging moves, and a
    double click resets.
    """
    shown = alt.selection_point(fields=["Method"], bind="legend")
    colour, shape = method_colour(info.methods), method_shape(info.methods)
    x = alt.X(
        info.x.name,
        type="quantitative",
        title=_axis_title(info.x),
        scale=alt.Scale(domain=info.x_domain, nice=False, zero=False),
        axis=_axis(info.x, info.x_domain),
    )
    y = alt.Y(
        info.y.name,
        type="quantitative",
        title=_axis_title(info.y),
        scale=alt.Scale(domain=info.y_domain, nice=False, zero=False),
        axis=_axis(info.y, info.y_domain),
    )
    base = alt.Chart(_plain(info.trials)).encode(
        x=x, y=y, color=colour, tooltip=_tooltips(info.trials)
    )
    points = base.mark_circle(size=30 if info.pairs.height else 45, clip=True).encode(
        opacity=alt.when(shown).then(alt.value(0.28)).otherwise(alt.value(0.02))
    )
    claims = base.transform_filter("datum.claim")
    opaque = alt.when(shown).then(alt.value(1.0)).otherwise(alt.value(0.05))
    # Attainment: of all budgets in x, up to the next point, the y of the last.
    lower_is_better = info.x.direction == "minimize"
    line = (
        alt.Chart(info.attained)
        .mark_line(
            interpolate="step-after" if lower_is_better else "step-before", strokeWidth=2, clip=True
        )
        .encode(x=x, y=y, color=colour, opacity=opaque)
    )
    solid = claims if info.pairs.height else claims.transform_filter("datum.front")
    dots = solid.mark_point(filled=True, size=70, clip=True).encode(shape=shape, opacity=opaque)
    marks = [points, *_moves(info, x, y, colour, shown), *_bars(info, x, y, colour, shown)]
    marks += [line] if info.attained.height else []
    marks.append(dots)
    for which, outline, size in (("compared", "square", 420), ("chosen", "circle", 230)):
        mark = base.transform_filter(f"datum.{which}").mark_point(
            shape=outline, size=size, strokeWidth=1.8, filled=False, clip=True
        )
        marks.append(mark.encode(opacity=opaque, color=alt.value(INK)))
    layers = alt.layer(*marks).add_params(shown, alt.selection_interval(bind="scales"))
    return styled(layers.properties(width=WIDTH, height=460))


def _bars(info: ParetoInfo, x: alt.X, y: alt.Y, colour: alt.Color, shown: Any) -> list[Any]:
    """One standard deviation over seeds, to either side."""
    if not info.spread.height:
        return []
    bars = alt.Chart(info.spread).mark_rule(strokeWidth=1, clip=True)
    bars = bars.encode(
        color=colour, opacity=alt.when(shown).then(alt.value(0.5)).otherwise(alt.value(0.03))
    )
    return [
        bars.encode(x=alt.X("x_low:Q", scale=x["scale"], title=x["title"]), x2="x_high:Q", y=y),
        bars.encode(x=x, y=alt.Y("y_low:Q", scale=y["scale"], title=y["title"]), y2="y_high:Q"),
    ]


def _moves(info: ParetoInfo, x: alt.X, y: alt.Y, colour: alt.Color, shown: Any) -> list[Any]:
    """From where the search saw a configuration to where it was confirmed."""
    if not info.pairs.height:
        return []
    names = [info.x.name, info.y.name]
    pairs = info.pairs.select("Method", *names, *(SEARCHED + name for name in names))
    return [
        alt.Chart(pairs)
        .mark_rule(strokeWidth=1.2, strokeDash=[2, 2], clip=True)
        .encode(
            x=x,
            y=y,
            x2=SEARCHED + info.x.name,
            y2=SEARCHED + info.y.name,
            color=colour,
            opacity=alt.when(shown).then(alt.value(0.75)).otherwise(alt.value(0.03)),
        )
    ]


def _axis(metric: Metric, domain: tuple[float, float]) -> alt.Axis:
    """Few ticks, all with the same number of digits."""
    narrow = domain[1] - domain[0] < 0.05
    digits = ".3f" if narrow else ".2f"
    return alt.Axis(tickCount=8, format="~g" if metric.unit == "iterations" else digits)


def _axis_title(metric: Metric) -> str:
    arrow = "better →" if metric.direction == "maximize" else "← better"
    return f"{metric.title}  ({arrow})"


def _plain(trials: pl.DataFrame) -> pl.DataFrame:
    """Only columns that are shown, and these without digits that mean nothing."""
    shown = ["Method", "trial_id", "phase", "claim", "front", "chosen", "compared", "seeds"]
    shown += [n for n in trials.columns if n.startswith(CONFIG_PREFIX) or n in METRICS]
    return trials.select(pl.col(shown)).with_columns(pl.col(pl.Float64).round_sig_figs(5))


def _tooltips(trials: pl.DataFrame) -> list[alt.Tooltip]:
    """Everything that is known of a trial."""
    settings = [n for n in trials.columns if n.startswith(CONFIG_PREFIX)]
    metrics = [n for n in METRICS if n in trials.columns]
    return [
        alt.Tooltip("Method:N"),
        alt.Tooltip("trial_id:N", title="Trial"),
        *(
            alt.Tooltip(f"{name}:Q", title=name.removeprefix(CONFIG_PREFIX), format=".4g")
            if trials.schema[name].is_numeric()
            else alt.Tooltip(f"{name}:N", title=name.removeprefix(CONFIG_PREFIX))
            for name in settings
        ),
        *(alt.Tooltip(f"{n}:Q", title=METRICS[n].title, format=".4~f") for n in metrics),
        alt.Tooltip("seeds:Q", title="Seeds"),
        alt.Tooltip("phase:N", title="Phase"),
    ]
