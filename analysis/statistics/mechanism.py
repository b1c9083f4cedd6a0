"""Measurements of NGM-SGD's mechanism: curvature, fast and slow weights, and cost."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from ..loaded_study import LoadedStudy
from .choice import Choice
from .traces import summarize_seeds, task_starts, thin, titles_by_trial

RAW, EFFECTIVE = "Raw weights W", "Effective weights gW"
WEIGHT_STEP, GAIN_STEP = "Update of W", "Change of g"

_CURVATURE = {"sharpness_raw": RAW, "sharpness_effective": EFFECTIVE}
_MOVES = {"weight_step": WEIGHT_STEP, "gain_step": GAIN_STEP}
_RUN_ITERATION = ["trial_id", "seed", "iteration"]


class CurvatureInfo(NamedTuple):
    """The largest Hessian eigenvalue of the loss during training.

    Attributes:
        traces: One row per method, iteration and ``space`` (:data:`RAW` or :data:`EFFECTIVE`):
            ``Method``, ``iteration``, and ``mean``, ``low`` and ``high`` over seeds.
        ratios: One row per method with a gain: ``Method`` and ``deviation``, the median of
            abs(raw / (g² effective) - 1) over seeds and iterations. It is 0 if the eigenvalue
            scales exactly with g².
        methods: Display names of all methods, in the order of colours.
        task_starts: First iteration of every task but the first.
        n_nonpositive: Number of measurements omitted because a logarithmic axis cannot show them.
    """

    traces: pl.DataFrame
    ratios: pl.DataFrame
    methods: list[str]
    task_starts: list[int]
    n_nonpositive: int


class FastAndSlowInfo(NamedTuple):
    """The slow part, g₀W, and the fast part, (g - g₀)W, of the effective weights.

    Attributes:
        shares: One row per method and iteration: the norm of the fast part as a share of the norm
            of the effective weights, as ``mean``, ``low`` and ``high`` over seeds.
        moves: One row per method, iteration and ``kind`` (:data:`WEIGHT_STEP` or
            :data:`GAIN_STEP`): the norm of the change of the effective weights in that iteration,
            relative to their norm, as ``mean``, ``low`` and ``high`` over seeds.
        methods: Display names of all methods, in the order of colours.
        task_starts: First iteration of every task but the first.
    """

    shares: pl.DataFrame
    moves: pl.DataFrame
    methods: list[str]
    task_starts: list[int]


class CostInfo(NamedTuple):
    """Cost of a training step relative to that of SGD.

    Attributes:
        rows: The table ``costs/`` with ``Method`` (display name) and ``network``, for example
            "MLP 2 x 4".
        methods: Display names of all methods, in the order of colours.
        networks: Names of the networks, in the order of the table.
    """

    rows: pl.DataFrame
    methods: list[str]
    networks: list[str]


def curvature_info(
    loaded: LoadedStudy, benchmark: str, choices: list[Choice]
) -> CurvatureInfo | None:
    """Read the curvature probes of a benchmark's chosen configurations; None without probes."""
    titles = titles_by_trial(loaded, benchmark, choices)
    probes = _read_probes(loaded, titles).filter(pl.col("quantity").is_in(list(_CURVATURE)))
    if not probes.height:
        return None
    positive = probes.filter(pl.col("value") > 0)
    traces = pl.concat(
        summarize_seeds(
            positive.filter(pl.col("quantity") == quantity), titles, ["iteration"], "value"
        ).with_columns(pl.lit(space).alias("space"))
        for quantity, space in _CURVATURE.items()
    )
    return CurvatureInfo(
        traces,
        _ratios(loaded, titles, probes),
        loaded.method_titles,
        _task_starts(loaded, titles),
        probes.height - positive.height,
    )


def _ratios(loaded: LoadedStudy, titles: dict[str, str], probes: pl.DataFrame) -> pl.DataFrame:
    """Compare the ratio of the two eigenvalues with g², for methods in which they differ."""
    gains = pl.DataFrame(loaded.results.read("steps", titles)).select(*_RUN_ITERATION, "gain")
    wide = probes.pivot("quantity", index=_RUN_ITERATION, values="value").join(
        gains, on=_RUN_ITERATION
    )
    raw, effective = pl.col("sharpness_raw"), pl.col("sharpness_effective")
    return (
        wide.filter(pl.col("gain").is_not_nan())
        .with_columns(
            pl.col("trial_id").replace_strict(titles).alias("Method"),
            (raw / (pl.col("gain") ** 2 * effective) - 1).abs().alias("deviation"),
        )
        .filter((raw != effective).any().over("Method"))
        .group_by("Method")
        .agg(pl.col("deviation").median())
        .sort("deviation", "Method")
    )


def fast_and_slow_info(
    loaded: LoadedStudy, benchmark: str, choices: list[Choice]
) -> FastAndSlowInfo | None:
    """Read the weight probes of a benchmark's chosen configurations.

    Returns:
        None without probes, or if the gain of no configuration changes.
    """
    titles = titles_by_trial(loaded, benchmark, choices)
    probes = _read_probes(loaded, titles).filter(~pl.col("quantity").is_in(list(_CURVATURE)))
    if not probes.height:
        return None
    wide = probes.pivot("quantity", index=_RUN_ITERATION, values="value")
    moving = wide.group_by("trial_id").agg(pl.col("fast_norm").abs().max() > 0)
    wide = wide.filter(
        pl.col("trial_id").is_in(moving.filter("fast_norm")["trial_id"].to_list())
    ).with_columns((pl.col("slow_norm") + pl.col("fast_norm")).alias("norm"))
    if not wide.height:
        return None
    starts = _task_starts(loaded, titles)
    wide = thin(wide, starts)
    shares = summarize_seeds(
        wide.with_columns(pl.col("fast_norm") / pl.col("norm")), titles, ["iteration"], "fast_norm"
    )
    moves = pl.concat(
        summarize_seeds(
            wide.drop_nulls(quantity).with_columns(pl.col(quantity).abs() / pl.col("norm")),
            titles,
            ["iteration"],
            quantity,
        ).with_columns(pl.lit(kind).alias("kind"))
        for quantity, kind in _MOVES.items()
    )
    return FastAndSlowInfo(shares, moves, loaded.method_titles, starts)


def cost_info(loaded: LoadedStudy) -> CostInfo | None:
    """Read the measured costs of a training step; None if the study measured none."""
    rows = pl.DataFrame(loaded.results.read("costs")).filter(pl.col("time_ratio").is_finite())
    if not rows.height:
        return None
    rows = rows.with_columns(
        pl.col("method").map_elements(loaded.method_title, return_dtype=pl.String).alias("Method"),
        pl.format("{} {} x {}", "family", "depth", "width").alias("network"),
    )
    methods = [loaded.method_title(name) for name in loaded.study.methods]
    return CostInfo(rows, methods, rows["network"].unique(maintain_order=True).to_list())


def _read_probes(loaded: LoadedStudy, titles: dict[str, str]) -> pl.DataFrame:
    return pl.DataFrame(loaded.results.read("probes", titles)).with_columns(
        pl.col("value").fill_nan(None)
    )


def _task_starts(loaded: LoadedStudy, titles: dict[str, str]) -> list[int]:
    steps = pl.DataFrame(loaded.results.read("steps", list(titles)[:1]))
    return list(task_starts(steps).values())
