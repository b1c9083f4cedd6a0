"""Data of the Pareto chart: trials, attainment surfaces and the chosen configurations."""

from __future__ import annotations

from typing import NamedTuple

import moocore
import polars as pl

from ngm_tune.metrics.registry import METRICS, Metric

from ..loaded_study import LoadedStudy
from .choice import Choice
from .optimism import SEARCHED, confirmation_pairs
from .references import references
from .replicates import compared_repetitions


class ParetoInfo(NamedTuple):
    """Data of the Pareto chart.

    Attributes:
        trials: One row per completed trial, search and confirmed: ``Method`` (display name),
            ``trial_id``, the configuration, all metrics, ``claim`` (whether claims rest on it),
            ``front`` and ``chosen``.
        attained: Corners of each method's median attainment surface, the boundary of what at least
            half of its repetitions dominate, up to the reference point; with one repetition that is
            the front. Empty for fixed runs and with a number of objectives other than two, because
            the points are then not a front in the plane of x and y.
        spread: Range of one standard deviation over seeds around each point on test data, in
            columns ``x_low``, ``x_high``, ``y_low`` and ``y_high``.
        pairs: One row per confirmed configuration with its metrics and, under
            ``searched_<metric>``, the search's estimates. Empty until all configurations to confirm
            have been confirmed.
        references: One row per method and reference
            (:func:`~analysis.statistics.references.references`), with ``visible``: whether it
            completed and lies in the visible range.
        methods: Display names of all methods, in the order of colours.
        x: Metric of the horizontal axis.
        y: Metric of the vertical axis.
        x_domain: Visible range of ``x``: chosen points and most of the fronts, or all fixed runs.
        y_domain: Visible range of ``y``.
        n_hidden: Number of trials outside the visible range.
        n_hidden_claims: Number of these on which claims rest.
    """

    trials: pl.DataFrame
    attained: pl.DataFrame
    spread: pl.DataFrame
    pairs: pl.DataFrame
    references: pl.DataFrame
    methods: list[str]
    x: Metric
    y: Metric
    x_domain: tuple[float, float]
    y_domain: tuple[float, float]
    n_hidden: int
    n_hidden_claims: int


def pareto_info(loaded: LoadedStudy, benchmark: str, choices: list[Choice]) -> ParetoInfo:
    """Collect the completed trials of a benchmark.

    The study's first objective is on the y axis and the second on the x axis. With a single
    objective, the x axis shows the stability gap or, if the objective is the stability gap, the
    average accuracy.
    """
    y, x = _axes(loaded.objectives)
    confirmed = loaded.is_confirmed(benchmark)
    marked = not loaded.has_fixed_runs  # with one point per method, marks carry no information
    chosen = [choice.trial_id for choice in choices if marked and choice.benchmark == benchmark]
    parts = [loaded.evidence(benchmark).with_columns(claim=pl.lit(value=True))]
    if confirmed:
        parts.append(loaded.search_trials(benchmark).with_columns(claim=False, front=False))
    trials = (
        pl.concat(parts, how="diagonal")
        .filter(pl.col("status") == "completed")
        .with_columns(
            _titles(loaded).alias("Method"),
            pl.col("trial_id").is_in(chosen).alias("chosen"),
        )
        .sort(x.name)
    )
    pairs = confirmation_pairs(loaded, benchmark).filter(pl.col("status") == "completed")
    if not confirmed:  # no claim rests on an incomplete confirmation
        pairs = pairs.clear()
    pairs = pairs.with_columns(_titles(loaded).alias("Method"))
    front = trials.filter("front")
    always = trials if not marked else trials.filter("chosen")
    x_domain = _visible_range(front, always, pairs, x)
    y_domain = _visible_range(front, always, pairs, y)
    visible = pl.col(x.name).is_between(*x_domain) & pl.col(y.name).is_between(*y_domain)
    hidden = trials.filter(~visible)
    has_line = len(loaded.objectives) == 2 and marked
    return ParetoInfo(
        trials=trials,
        attained=_attained(loaded, benchmark, front if has_line else front.clear(), x, y),
        spread=_spread(trials, x, y),
        pairs=pairs,
        references=references(loaded, benchmark).with_columns(
            visible=visible.fill_null(value=False)
        ),
        methods=loaded.method_titles,
        x=x,
        y=y,
        x_domain=x_domain,
        y_domain=y_domain,
        n_hidden=hidden.height,
        n_hidden_claims=hidden.filter("claim").height,
    )


def _attained(
    loaded: LoadedStudy, benchmark: str, front: pl.DataFrame, x: Metric, y: Metric
) -> pl.DataFrame:
    """Return the corners of each method's median attainment surface, sorted by x.

    Source: Fonseca, Guerreiro, López-Ibáñez and Paquete, EMO 2011 (:func:`moocore.eaf`).
    """
    if front.is_empty():
        return front.select("Method", x.name, y.name)
    repetitions = compared_repetitions(loaded, benchmark)
    reference_point = loaded.reference_point(benchmark)
    worst = {metric.name: metric.sign * reference_point[metric.name] for metric in (x, y)}
    minimized = front.select(
        "Method", "repetition", *(pl.col(metric.name) * metric.sign for metric in (x, y))
    )
    parts = [front.select("Method", x.name, y.name).clear()]
    for (method,), points in minimized.group_by("Method", maintain_order=True):
        # A repetition without a point attains the reference point and what is worse.
        padded = (
            points.select("repetition", x.name, y.name)
            .vstack(
                pl.DataFrame(
                    [{"repetition": repetition, **worst} for repetition in repetitions],
                    schema=points.drop("Method").schema,
                )
            )
            .sort("repetition")
        )  # moocore wants the points of a set together
        surface = moocore.eaf(
            padded.select(x.name, y.name).to_numpy(), padded["repetition"], percentiles=[50]
        )
        corners = pl.DataFrame({x.name: surface[:, 0], y.name: surface[:, 1]})
        end = pl.DataFrame({x.name: [worst[x.name]], y.name: [corners[y.name].to_numpy().min()]})
        parts.append(
            corners.vstack(end)
            .filter(pl.col(x.name) <= worst[x.name])
            .select(
                pl.lit(method).alias("Method"),
                *(pl.col(metric.name) * metric.sign for metric in (x, y)),
            )
        )
    return pl.concat(parts).sort("Method", x.name)


def _spread(trials: pl.DataFrame, x: Metric, y: Metric) -> pl.DataFrame:
    """Return the range of one standard deviation around each point on test data."""
    bounds: dict[str, pl.Expr] = {}
    for axis, metric in (("x", x), ("y", y)):
        value, sd = pl.col(metric.name), pl.col(f"{metric.name}_sd")
        bounds |= {f"{axis}_low": value - sd, f"{axis}_high": value + sd}
    return trials.filter(phase="confirm").select("Method", x.name, y.name, **bounds).drop_nulls()


def _titles(loaded: LoadedStudy) -> pl.Expr:
    return pl.col("method").replace({name: loaded.method_title(name) for name in loaded.methods})


def _axes(objectives: list[Metric]) -> tuple[Metric, Metric]:
    if len(objectives) > 1:
        return objectives[0], objectives[1]
    other = "avg_sg" if objectives[0].name != "avg_sg" else "avg_acc"
    return objectives[0], METRICS[other]


def _visible_range(
    front: pl.DataFrame, always: pl.DataFrame, pairs: pl.DataFrame, metric: Metric
) -> tuple[float, float]:
    """Return the range of an axis.

    Args:
        front: Points of the fronts; the worst 15 % may be hidden.
        always: Points that are always visible, even beyond the ideal.
        pairs: Confirmed configurations, whose search estimates count as points of the fronts.
        metric: Metric of the axis.
    """
    ideal = metric.best * metric.sign
    values = front[metric.name]
    if pairs.height:
        values = pl.concat([values, pairs[SEARCHED + metric.name]]).drop_nulls()
    losses = (values * metric.sign).clip(ideal)
    low = float(losses.quantile(0.0) or 0.0)
    high = float(losses.quantile(0.85, "linear") or 0.0)
    required = (always[metric.name] * metric.sign).to_list()
    low, high = min([low, *required]), max([high, *required])
    margin = 0.08 * (high - low) or 0.05
    edges = sorted((metric.sign * (low - margin), metric.sign * (high + margin)))
    return edges[0], edges[1]
