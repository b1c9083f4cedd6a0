"""What a search promised, against what its confirmation found.

A search reports the best of many noisy scores, on the data that it chose by; fresh seeds on test
data have no part in the choice. Training is on more data then, which also changes a score a little.
"""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from ngm_tune.metrics import METRICS, Metric

from .loading import LoadedStudy


class Optimism(NamedTuple):
    """One objective of one method: means over the ``configurations`` that were confirmed."""

    metric: Metric
    configurations: int
    searched: float
    confirmed: float

    @property
    def optimism(self) -> float:
        """How much better the search made it look, in the metric's unit."""
        return self.metric.sign * (self.confirmed - self.searched)


def optimism(loaded: LoadedStudy, benchmark: str, method: str) -> list[Optimism]:
    """For every objective; none where nothing was confirmed.

    A configuration that diverged when it was run again counts with the worst values.
    """
    pairs = pairs_of(loaded, benchmark).filter(method=method)
    if not pairs.height:
        return []
    return [
        Optimism(
            metric,
            pairs.height,
            float(pairs[SEARCHED + metric.name].to_numpy().mean()),
            float(pairs[metric.name].to_numpy().mean()),
        )
        for metric in loaded.objectives
    ]


SEARCHED = "searched_"
"""Before the name of a metric: as the search had it."""


def pairs_of(loaded: LoadedStudy, benchmark: str) -> pl.DataFrame:
    """Confirmed trials with the metrics of the search's beside theirs."""
    search = loaded.searched(benchmark).select(
        pl.col("trial_id").alias("origin"),
        *(pl.col(n).alias(SEARCHED + n) for n in METRICS if n in loaded.search.columns),
    )
    confirmed = loaded.confirmed_of(benchmark).filter(
        pl.col("status").is_in(["completed", "diverged"])
    )
    names = [metric.name for metric in loaded.objectives]
    return confirmed.join(search, on="origin").drop_nulls(names)


def optimism_rows(loaded: LoadedStudy, benchmark: str) -> list[dict[str, str]]:
    """Of every method with confirmed configurations, as people read it."""
    rows = []
    for method in loaded.methods:
        found = optimism(loaded, benchmark, method)
        if not found:
            continue
        row = {
            "Method": loaded.title("methods", method),
            "Configurations": str(found[0].configurations),
        }
        for entry in found:
            title = entry.metric.title
            row[f"{title}, searched"] = f"{entry.searched:.3f}"
            row[f"{title}, confirmed"] = f"{entry.confirmed:.3f}"
            row[f"{title}, optimism"] = f"{entry.optimism:+.3f}"
        rows.append(row)
    return rows
