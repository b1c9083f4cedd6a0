"""Stability gaps of results that an earlier schema defined otherwise, recomputed from their curves.

Until schema version 2 the gap of a transition was signed, so a rise could offset a drop, and it was
0 after an accuracy of 0. The curves contain everything that the present definition needs.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from ngm_tune.metrics.curves import AccuracyCurves
from ngm_tune.metrics.registry import METRICS
from ngm_tune.results.schema import Status, Table, schema_version

GAPS = ("avg_sg", "avg_sg_first", "avg_sg_old", "avg_sg_signed", "avg_sg_first_signed")
"""Metrics whose definition schema version 3 changed or added."""
FIRST_CURRENT_VERSION = 3
"""Schema version of the first files whose gaps are stored as they are defined now."""


def needs_recomputation(table: Table, rows: pa.Table) -> bool:
    """Return whether rows have stability gaps of an earlier schema."""
    return table in ("trials", "tasks") and schema_version(rows.schema) < FIRST_CURRENT_VERSION


def recompute_gaps(table: Table, rows: pa.Table, curves: pa.Table | None) -> pa.Table:
    """Return the rows of a run with stability gaps of the present definition.

    Diverged runs keep the worst values. A gap is null if the curves do not reach the end of the
    last task that it depends on.

    Args:
        table: ``trials`` or ``tasks``.
        rows: Rows of the run in the table, from an earlier schema.
        curves: Rows of the run in ``curves``; None if they are missing or damaged.
    """
    by_seed = {} if curves is None else {seed: _Curves(curves, seed) for seed in _seeds(curves)}
    gaps: dict[str, list[float | None]] = {name: [] for name in GAPS}
    for row in rows.to_pylist():
        stored = {name: row.get(name) for name in GAPS}
        if _has_measured_gaps(table, row):
            curve = by_seed.get(row["seed"])
            last = None if table == "trials" else row["task"]
            end = row["iterations"] if table == "trials" else None
            stored = dict.fromkeys(GAPS) if curve is None else curve.compute_gaps(last, end)
        elif row.get("avg_sg") is not None:
            stored = {name: METRICS[name].worst for name in GAPS}
        for name in GAPS:
            gaps[name].append(stored[name])
    for name, values in gaps.items():
        column = pa.array(values, pa.float64())
        if name in rows.column_names:
            rows = rows.set_column(rows.column_names.index(name), name, column)
        else:
            rows = rows.append_column(name, column)
    return rows


def _has_measured_gaps(table: Table, row: dict[str, object]) -> bool:
    """Whether a row has gaps that were measured, not the worst values of a diverged run."""
    if table == "trials":
        return row["status"] == Status.COMPLETED
    return row.get("avg_sg") is not None and row.get("recovery") is not None


def _seeds(curves: pa.Table) -> list[int]:
    return [int(seed) for seed in curves["seed"].unique().to_pylist()]


class _Curves:
    """The accuracy curves of one seed."""

    def __init__(self, rows: pa.Table, seed: int) -> None:
        of_seed = rows["seed"].to_numpy() == seed
        columns = ("iteration", "task", "eval_task", "accuracy")
        iteration, task, eval_task, accuracy = (rows[c].to_numpy()[of_seed] for c in columns)
        self.iterations, index = np.unique(iteration, return_inverse=True)
        tasks = np.unique(task)
        self.task_ends = np.array([iteration[task == k].max() for k in tasks])
        self.accuracy = np.full((len(self.iterations), len(tasks)), np.nan)
        self.is_consistent = tasks.tolist() == list(range(len(tasks))) and bool(
            np.isin(eval_task, tasks).all() and (np.diff(self.task_ends) > 0).all()
        )
        if self.is_consistent:
            self.accuracy[index, eval_task] = accuracy

    def compute_gaps(self, last: int | None, end: int | None) -> dict[str, float | None]:
        """Return the gaps over the tasks up to ``last``, or over a run of ``end`` iterations."""
        tasks = len(self.task_ends) if last is None else last + 1
        is_incomplete = tasks > len(self.task_ends) or (end not in (None, self.task_ends[-1]))
        if is_incomplete or not self.is_consistent:
            return dict.fromkeys(GAPS)
        until = np.searchsorted(self.iterations, self.task_ends[tasks - 1], side="right")
        curves = AccuracyCurves(
            self.iterations[:until], self.accuracy[:until, :tasks], self.task_ends[:tasks]
        )
        gaps = {name: METRICS[name].compute(curves) for name in GAPS}
        return {name: None if np.isnan(value) else value for name, value in gaps.items()}
