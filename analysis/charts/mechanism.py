"""What the mechanism of NGM-SGD claims, as measured: curvature, fast and slow weights, and cost."""

from __future__ import annotations

from typing import Any, NamedTuple

import altair as alt
import polars as pl

from ..loading import LoadedStudy
from ..statistics.choice import Choice
from .palette import MUTED, WIDTH, method_colour, styled
from .transitions import over_seeds, task_starts, thinned, titles_of, transition_rules

RAW, EFFECTIVE = "Raw weights W", "Effective weights gW"
_SPACES = {"sharpness_raw": RAW, "sharpness_effective": EFFECTIVE}
_SMALLEST_MOVE = 1e-4
"""Relative movements below this are drawn at the edge."""
_MOVES = {"weight_step": "Update of W", "gain_step": "Change of g"}


class CurvatureInfo(NamedTuple):
    """The top Hessian eigenvalue along training.

    ``traces`` has a row per method, iteration and ``space`` (:data:`RAW` or :data:`EFFECTIVE`):
    ``Method``, ``iteration``, ``mean``, ``low`` and ``high`` over seeds. ``ratios`` has a row per
    method whose network is gained: ``Method`` and ``deviation``, the median of
    |raw / (g² effective) - 1| over seeds and iterations, 0 where the eigenvalue scales with g²
    exactly. ``negative`` counts values that a logarithmic axis cannot show.
    """

    traces: pl.DataFrame
    ratios: pl.DataFrame
    methods: list[str]
    task_starts: list[int]
    negative: int


class FastAndSlowInfo(NamedTuple):
    """The fast and slow part of the effective weights of methods with a gain.

    ``shares`` has a row per method and iteration: the share of the fast part, |g - g_0| / g of the
    effective weights' norm, as ``mean``, ``low`` and ``high`` over seeds. ``moves`` has a row per
    method, iteration and ``kind`` (update of W or change of g): by how much the effective weights
    moved in that iteration, relative to their norm.
    """

    shares: pl.DataFrame
    moves: pl.DataFrame
    methods: list[str]
    task_starts: list[int]


class CostInfo(NamedTuple):
    """The cost of a training step as a ratio to SGD's.

    ``rows`` is that of ``costs/`` with ``Method`` and ``network``, its name in the chart.
    """

    rows: pl.DataFrame
    methods: list[str]
    networks: list[str]


def curvature_info(
    loaded: LoadedStudy, benchmark: str, choices: list[Choice]
) -> CurvatureInfo | None:
    """Read the curvature probes of a benchmark's chosen configurations; None if there are none."""
    titles = titles_of(loaded, benchmark, choices)
    found = _probes(loaded, titles).filter(pl.col("quantity").is_in(list(_SPACES)))
    if not found.height:
        return None
    positive = found.filter(pl.col("value") > 0)
    traces = pl.concat(
        over_seeds(
            positive.filter(pl.col("quantity") == quantity), titles, ["iteration"], "value"
        ).with_columns(pl.lit(space).alias("space"))
        for quantity, space in _SPACES.items()
    )
    return CurvatureInfo(
        traces,
        _ratios(loaded, titles, found),
        [loaded.method_title(name) for name in loaded.methods],
        _starts(loaded, titles),
        found.height - positive.height,
    )


def _ratios(loaded: LoadedStudy, titles: dict[str, str], found: pl.DataFrame) -> pl.DataFrame:
    key = ["trial_id", "seed", "iteration"]
    gains = pl.DataFrame(loaded.results.read("steps", titles)).select(*key, "gain")
    wide = found.pivot("quantity", index=key, values="value").join(gains, on=key)
    return (
        wide.filter(pl.col("gain").is_not_nan())
        .with_columns(
            pl.col("trial_id").replace_strict(titles).alias("Method"),
            (pl.col("sharpness_raw") / (pl.col("gain") ** 2 * pl.col("sharpness_effective")) - 1)
            .abs()
            .alias("deviation"),
        )
        .filter((pl.col("sharpness_raw") != pl.col("sharpness_effective")).any().over("Method"))
        .group_by("Method")
        .agg(pl.col("deviation").median())
        .sort("deviation", "Method")
    )


def fast_and_slow_info(
    loaded: LoadedStudy, benchmark: str, choices: list[Choice]
) -> FastAndSlowInfo | None:
    """Read the fast-and-slow probes of methods whose gain moved; None if there are none."""
    titles = titles_of(loaded, benchmark, choices)
    key = ["trial_id", "seed", "iteration"]
    found = _probes(loaded, titles).filter(~pl.col("quantity").is_in(list(_SPACES)))
    if not found.height:
        return None
    wide = found.pivot("quantity", index=key, values="value")
    moving = wide.group_by("trial_id").agg(pl.col("fast_norm").abs().max() > 0)
    wide = wide.filter(
        pl.col("trial_id").is_in(moving.filter("fast_norm")["trial_id"].to_list())
    ).with_columns((pl.col("slow_norm") + pl.col("fast_norm")).alias("norm"))
    if not wide.height:
        return None
    starts = _starts(loaded, titles)
    wide = thinned(wide, starts)
    shares = over_seeds(
        wide.with_columns(pl.col("fast_norm") / pl.col("norm")), titles, ["iteration"], "fast_norm"
    )
    moves = pl.concat(
        over_seeds(
            wide.drop_nulls(quantity).with_columns(pl.col(quantity).abs() / pl.col("norm")),
            titles,
            ["iteration"],
            quantity,
        ).with_columns(pl.lit(kind).alias("kind"))
        for quantity, kind in _MOVES.items()
    )
    methods = [loaded.method_title(name) for name in loaded.methods]
    return FastAndSlowInfo(shares, moves, methods, starts)


def cost_info(loaded: LoadedStudy) -> CostInfo | None:
    """Read the costs that a study measured; None if it measured none."""
    rows = pl.DataFrame(loaded.results.read("costs")).filter(pl.col("time_ratio").is_finite())
    if not rows.height:
        return None
    rows = rows.with_columns(
        pl.col("method").map_elements(loaded.method_title, return_dtype=pl.String).alias("Method"),
        pl.format("{} {} x {}", "family", "depth", "width").alias("network"),
    )
    methods = [loaded.method_title(name) for name in loaded.study.methods]
    return CostInfo(rows, methods, rows["network"].unique(maintain_order=True).to_list())


def _probes(loaded: LoadedStudy, titles: dict[str, str]) -> pl.DataFrame:
    return pl.DataFrame(loaded.results.read("probes", titles)).with_columns(
        pl.col("value").fill_nan(None)
    )


def _starts(loaded: LoadedStudy, titles: dict[str, str]) -> list[int]:
    steps = pl.DataFrame(loaded.results.read("steps", list(titles)[:1]))
    return list(task_starts(steps).values())


def _traces(data: pl.DataFrame, methods: list[str], y: alt.Y) -> Any:
    """A line per method for the mean over seeds, and a band for their range."""
    base = alt.Chart(data).encode(
        x=alt.X("iteration:Q", title="Iteration"), color=method_colour(methods, data["Method"])
    )
    band = base.mark_area(opacity=0.12, clip=True, strokeWidth=0).encode(
        y=alt.Y("low:Q", scale=y["scale"], title=y["title"]), y2="high:Q"
    )
    return band + base.mark_line(strokeWidth=1.6, clip=True).encode(y=y)


def curvature_chart(info: CurvatureInfo) -> Any:
    """The eigenvalue by the raw and by the effective weights, above each other."""
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
    """The fast share of the effective weights, and below it by what share of it they are moved."""
    share = alt.Y(
        "mean:Q", title="Fast share", axis=alt.Axis(format="%"), scale=alt.Scale(zero=True)
    )
    low, high = _SMALLEST_MOVE, float(info.moves["high"].max() or 1.0)  # type: ignore[arg-type]
    panels = [(info.shares, share, 150)] + [
        (
            info.moves.filter(pl.col("kind") == kind),
            alt.Y(
                "mean:Q",
                title=kind,
                scale=alt.Scale(type="log", domain=[low, high], clamp=True),
                axis=alt.Axis(format="~%", tickCount=4),
            ),
            120,
        )
        for kind in _MOVES.values()
    ]
    drawn = [
        alt.layer(_traces(data, info.methods, y), transition_rules(info.task_starts)).properties(
            width=WIDTH, height=height
        )
        for data, y, height in panels
    ]
    return styled(alt.vconcat(*drawn, spacing=14))


def cost_chart(info: CostInfo) -> Any:
    """Time and memory of a step against SGD's, network by network."""
    colour = method_colour(info.methods)
    network = alt.Y("network:N", sort=info.networks, title=None)
    offset = alt.YOffset("Method:N", sort=info.methods)

    def panel(value: str, title: str, spread: bool) -> Any:
        x = alt.X(f"{value}:Q", title=title, scale=alt.Scale(zero=False))
        base = alt.Chart(info.rows).encode(y=network, yOffset=offset, color=colour)
        points = base.mark_point(filled=True, size=46, opacity=1).encode(
            x=x,
            tooltip=[
                alt.Tooltip("Method:N"),
                alt.Tooltip("network:N", title="Network (depth x width)"),
                alt.Tooltip("parameters:Q", title="Parameters", format=","),
                alt.Tooltip("time_ratio:Q", title="Time / SGD", format=".3f"),
                alt.Tooltip("memory_ratio:Q", title="Memory / SGD", format=".3f"),
            ],
        )
        one = alt.Chart(pl.DataFrame({"one": [1.0]})).mark_rule(color=MUTED).encode(x="one:Q")
        bars = base.mark_rule(strokeWidth=1.4).encode(x="time_low:Q", x2="time_high:Q")
        layers = (one, bars, points) if spread else (one, points)
        return alt.layer(*layers).properties(width=(WIDTH - 24) // 2 - 80, height=alt.Step(12))

    return styled(
        alt.hconcat(
            panel("time_ratio", "Time of a step / SGD", spread=True),
            panel("memory_ratio", "Memory of a step / SGD", spread=False),
            spacing=24,
        )
    )
