"""Quantities over the iterations of runs, summarized over seeds."""

from __future__ import annotations

import polars as pl

from ..loaded_study import LoadedStudy
from .choice import Choice

_MAX_POINTS = 2000
"""Target number of points per quantity over all methods, without those after transitions."""

_DENSE = 60
"""Number of iterations after a transition in which every iteration is kept."""


def titles_by_trial(loaded: LoadedStudy, benchmark: str, choices: list[Choice]) -> dict[str, str]:
    """Return the method's display name for the id of each trial chosen on a benchmark."""
    return {
        choice.trial_id: loaded.method_title(choice.method)
        for choice in choices
        if choice.benchmark == benchmark
    }


def task_starts(rows: pl.DataFrame) -> dict[int, int]:
    """Return the first iteration of every task but the first, by task.

    The start is derived from the end of the task before: unlike the first iteration of a task, its
    last one is always evaluated.
    """
    ends = rows.group_by("task").agg(pl.col("iteration").max()).sort("task")
    return {task + 1: end + 1 for task, end in ends.head(-1).iter_rows()}


def thin(rows: pl.DataFrame, task_starts: list[int]) -> pl.DataFrame:
    """Keep the iterations that a chart can resolve: every one after a transition, else every n-th.

    Args:
        rows: Rows with ``trial_id`` and ``iteration``.
        task_starts: First iteration of every task but the first.
    """
    iterations = rows["iteration"].n_unique() * rows["trial_id"].n_unique()
    regular = pl.col("iteration") % max(1, iterations // _MAX_POINTS) == 0
    after = [pl.col("iteration").is_between(start, start + _DENSE) for start in [1, *task_starts]]
    return rows.filter(pl.any_horizontal(regular, *after))


def summarize_seeds(
    rows: pl.DataFrame, titles: dict[str, str], key: list[str], column: str
) -> pl.DataFrame:
    """Summarize a column over the seeds of each method.

    Args:
        rows: Rows with ``trial_id``, the key and the column.
        titles: Display name of the method by trial id.
        key: Columns to group by, besides the method.
        column: The column to summarize.

    Returns:
        ``Method``, the key, and ``mean``, ``low`` (minimum) and ``high`` (maximum), rounded to four
        significant digits.
    """
    value = pl.col(column).cast(pl.Float64)
    return (
        rows.with_columns(pl.col("trial_id").replace_strict(titles).alias("Method"))
        .group_by("Method", *key)
        .agg(value.mean().alias("mean"), value.min().alias("low"), value.max().alias("high"))
        .with_columns(pl.col("mean", "low", "high").round_sig_figs(4))
        .sort("Method", *key)
    )
