"""Comparing results directories."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from ngm_tune.results.directory import Results
from ngm_tune.results.schema import Table

SCHEMA_1 = Path(__file__).parents[1] / "data" / "schema-1"
"""Results as ngm-tune wrote them before ``tasks/`` and ``search_`` columns existed."""


def assert_same_results(location: str | Path, whole: Path) -> None:
    """Assert that two results directories have the same rows, bit for bit, none twice."""
    tables: tuple[Table, ...] = ("trials", "tasks", "curves", "steps")
    for table in tables:
        rows, expected = (
            pl.DataFrame(Results(str(place)).read(table))
            .drop("wall_seconds", "node", strict=False)
            .sort("trial_id", "seed", maintain_order=True)
            for place in (location, whole)
        )
        assert rows.equals(expected), table
