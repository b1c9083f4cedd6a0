"""Ways to harm a results directory, and what is found of them."""

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


def damage(location: Path) -> dict[str, tuple[str, str | None]]:
    return {f.name: (f.what, f.mended) for f in examine(str(location)) if f.kind == "damage"}


def notes(location: Path) -> dict[str, str]:
    return {f.name: f.what for f in examine(str(location)) if f.kind == "note"}


def contents(location: Path) -> dict[bytes, int]:
    """Everything in a directory, whatever it is called."""
    found = [path.read_bytes() for path in location.rglob("*") if path.is_file()]
    return {content: found.count(content) for content in found}


def metrics(path: Path) -> pl.DataFrame:
    return pl.read_parquet(path).drop("wall_seconds", "node")


def rename_trial(location: Path, new: str) -> None:
    """Let a trial be another one, in all tables."""
    for path in location.glob(f"*/{TRIAL}.parquet"):
        rows = pq.read_table(path)
        place = rows.schema.get_field_index("trial_id")
        ids = pa.array([new] * rows.num_rows)
        rows = rows.set_column(place, rows.schema.field("trial_id"), ids)
        pq.write_table(rows, path.with_name(f"{new}.parquet"))
        path.unlink()


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def other_bytes(path: Path) -> None:
    path.write_bytes(b"\x00" * 100)


def other_table(path: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), path)


def twice(path: Path) -> None:
    rows = pq.read_table(path)
    pq.write_table(pa.concat_tables([rows, rows]), path)


def one_seed(path: Path) -> None:
    pq.write_table(pq.read_table(path).slice(0, 1), path)


def no_rows(path: Path) -> None:
    pq.write_table(pq.read_table(path).slice(0, 0), path)


def other_trial(path: Path) -> None:
    shutil.copy(path.with_name("split-digits.sgd.0001.parquet"), path)


def other_status(path: Path) -> None:
    rows = pq.read_table(path)
    place = rows.schema.get_field_index("status")
    gone = pa.array(["gone"] * rows.num_rows)
    pq.write_table(rows.set_column(place, rows.schema.field("status"), gone), path)


def no_status(path: Path) -> None:
    pq.write_table(pq.read_table(path).drop_columns(["status"]), path)


def other_type(path: Path) -> None:
    rows = pq.read_table(path)
    pq.write_table(rows.set_column(4, "seed", rows["seed"].cast(pa.string())), path)


HARMS: list[tuple[Callable[[Path], None], str]] = [
    (truncated, "not readable as Parquet"),
    (other_bytes, "not readable as Parquet"),
    (other_table, "schema version none"),
    (twice, "several rows of the same trial_id, seed"),
    (one_seed, "seeds 7 instead of 7, 8"),
    (no_rows, "no rows"),
    (other_trial, "rows of trial split-digits.sgd.0001, not of split-digits.sgd.0000"),
    (other_status, "status 'gone'; there are completed"),
    (no_status, "no column status"),
    (other_type, "column seed is of type string instead of int64"),
]
"""Ways to harm the file of a trial, and what is said of each."""
