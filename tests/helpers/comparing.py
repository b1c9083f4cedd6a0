"""Comparison of results directories."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from ngm_tune.results.directory import Results
from ngm_tune.results.schema import Table

SCHEMA_1 = Path(__file__).parents[1] / "data" / "schema-1"
"""Results of schema version 1, without ``tasks/`` and ``search_`` columns."""


def assert_same_results(location: str | Path, reference: Path) -> None:
    """Assert that two results directories have the same rows, bit for bit.

    Columns that differ between runs are ignored.
    """
    tables: tuple[Table, ...] = ("trials", "tasks", "curves", "steps", "probes")
    for table in tables:
        rows, expected = (
            pl.DataFrame(Results(str(folder)).read(table))
            .drop("wall_seconds", "node", strict=False)
            .sort("trial_id", "seed", maintain_order=True)
            for folder in (location, reference)
        )
        assert rows.equals(expected), table
