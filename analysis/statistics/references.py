"""References: named initial points, such as an optimizer's default settings, on the same data."""

from __future__ import annotations

from typing import Any

import polars as pl

from ngm_tune.metrics.registry import METRICS
from ngm_tune.results.columns import CONFIG_PREFIX
from ngm_tune.results.schema import Status

from ..loaded_study import LoadedStudy

REFERENCE_TITLES = {
    "default": "the optimizer's default settings, untuned",
    "paper": "the paper's settings",
}
"""Description of each reference by its name in ``points_to_evaluate``."""


def references(loaded: LoadedStudy, benchmark: str) -> pl.DataFrame:
    """Return the references of a benchmark, on the data on which claims rest.

    No claim rests on a reference, unless the front of a search selected it.

    Returns:
        One row per method and reference: ``Method`` (display name), ``name`` and ``Reference`` (its
        description), ``Source`` of default settings (null if unknown), the configuration, and the
        metrics: means over repetitions and seeds, null unless all runs completed. ``status`` is the
        worst over repetitions, ``repetitions`` and ``seeds`` are numbers of these.
    """
    trials = _trials(loaded, benchmark)
    severity = pl.col("status").replace_strict({name: i for i, name in enumerate(Status)})
    metrics = [name for name in METRICS if name in trials.columns]
    configuration = [name for name in trials.columns if name.startswith(CONFIG_PREFIX)]
    folded = (
        trials.with_columns(name=pl.col("reference").str.split(", "))
        .explode("name")
        .filter(pl.col("status").is_in(list(Status)))
        .group_by("method", "name", maintain_order=True)
        .agg(
            pl.col("status").get(severity.arg_max()),
            *(pl.col(name).first() for name in configuration),
            *(pl.col(name).mean() for name in metrics),
            pl.len().alias("repetitions"),
            pl.col("seeds").sum(),
        )
    )
    completed = pl.col("status") == Status.COMPLETED
    return folded.with_columns(
        _mapped("method", {name: loaded.method_title(name) for name in loaded.methods}, "Method"),
        _mapped("name", REFERENCE_TITLES, "Reference"),
        pl.when(pl.col("name") == "default")
        .then(_mapped("method", loaded.default_sources, "Source"))
        .alias("Source"),
        *(pl.when(completed).then(name).alias(name) for name in metrics),
    )


def _trials(loaded: LoadedStudy, benchmark: str) -> pl.DataFrame:
    """Return one row per reference and repetition."""
    if not loaded.is_confirmed(benchmark):
        return loaded.search_trials(benchmark).filter(pl.col("reference").is_not_null())
    return loaded.references.filter(
        pl.col("repetition").is_in(loaded.repetitions(benchmark)),
        benchmark=benchmark,
        seeds=loaded.study.confirm.seeds,
    )


def _mapped(column: str, texts: dict[str, Any], name: str) -> pl.Expr:
    return pl.col(column).replace_strict(texts, default=None, return_dtype=pl.String).alias(name)
