"""Ways to damage a results directory, and the findings of the doctor about it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ngm_tune.workspace.doctor import examine

TRIAL = "split-digits.sgd.0000"


def repair_damage(location: Path) -> dict[str, tuple[str, str | None]]:
    """Run the doctor; return description and repair of each damaged file, by its path."""
    findings = examine(str(location))
    return {f.name: (f.description, f.repair) for f in findings if f.kind == "damage"}


def find_notes(location: Path) -> dict[str, str]:
    """Run the doctor; return the description of each harmless finding, by its path."""
    return {f.name: f.description for f in examine(str(location)) if f.kind == "note"}


def count_contents(location: Path) -> dict[bytes, int]:
    """Return how many files of a directory have each content, whatever their names."""
    contents = [path.read_bytes() for path in location.rglob("*") if path.is_file()]
    return {content: contents.count(content) for content in contents}


def read_metrics(path: Path) -> pl.DataFrame:
    """Read a file in ``trials/`` without the columns that differ between equal runs."""
    return pl.read_parquet(path).drop("wall_seconds", "node")


def rename_trial(location: Path, new: str) -> None:
    """Change the id of a trial in all tables."""
    for path in location.glob(f"*/{TRIAL}.parquet"):
        rows = pq.read_table(path)
        index = rows.schema.get_field_index("trial_id")
        ids = pa.array([new] * rows.num_rows)
        rows = rows.set_column(index, rows.schema.field("trial_id"), ids)
        pq.write_table(rows, path.with_name(f"{new}.parquet"))
        path.unlink()


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def overwrite_with_zeros(path: Path) -> None:
    path.write_bytes(b"\x00" * 100)


def replace_with_foreign_table(path: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), path)


def duplicate_rows(path: Path) -> None:
    rows = pq.read_table(path)
    pq.write_table(pa.concat_tables([rows, rows]), path)


def keep_last_seed(path: Path) -> None:
    rows = pq.read_table(path)
    pq.write_table(rows.slice(rows.num_rows - 1), path)


def remove_rows(path: Path) -> None:
    pq.write_table(pq.read_table(path).slice(0, 0), path)


def replace_with_other_trial(path: Path) -> None:
    shutil.copy(path.with_name("split-digits.sgd.0001.parquet"), path)


def write_unknown_status(path: Path) -> None:
    rows = pq.read_table(path)
    index = rows.schema.get_field_index("status")
    statuses = pa.array(["gone"] * rows.num_rows)
    pq.write_table(rows.set_column(index, rows.schema.field("status"), statuses), path)


def remove_status(path: Path) -> None:
    pq.write_table(pq.read_table(path).drop_columns(["status"]), path)


def change_type_of_seed(path: Path) -> None:
    rows = pq.read_table(path)
    index = rows.schema.get_field_index("seed")
    pq.write_table(rows.set_column(index, "seed", rows["seed"].cast(pa.string())), path)


TRIAL_DAMAGES: list[tuple[Callable[[Path], None], str]] = [
    (truncate, "not readable as Parquet"),
    (overwrite_with_zeros, "not readable as Parquet"),
    (replace_with_foreign_table, "schema version none"),
    (duplicate_rows, "several rows of the same trial_id, seed"),
    (keep_last_seed, "seeds 8 instead of 7, 8"),
    (remove_rows, "no rows"),
    (
        replace_with_other_trial,
        "rows of trial split-digits.sgd.0001, not of split-digits.sgd.0000",
    ),
    (write_unknown_status, "status 'gone'; allowed are completed"),
    (remove_status, "no column status"),
    (change_type_of_seed, "column seed is of type string instead of int64"),
]
"""Ways to damage a file in ``trials/``, each with a part of the doctor's description."""
