"""The bias that cheaper evaluation brings to the stability gap, on recorded curves.

Takes the results of a study that evaluated after every iteration, thins their curves, and compares
avg_sg_first of the thinned curves with that of the whole ones.

Usage: python docs/experiments/evaluation_fidelity.py results/paper-split-mnist
"""

import sys

import numpy as np
import polars as pl
from tabulate import tabulate

from ngm_tune.metrics import AccuracyCurves, average_stability_gap

FIDELITIES = {
    "every 2nd iteration": (2, 0),
    "every 5th": (5, 0),
    "every 10th": (10, 0),
    "every 20th": (20, 0),
    "every 20th, the first 10 of a task": (20, 10),
    "every 20th, the first 30 of a task": (20, 30),
    "every 20th, the first 60 of a task": (20, 60),
}
"""eval_every and eval_dense."""


def runs(location: str) -> dict[str, list[pl.DataFrame]]:
    """First-task accuracy of every run, by method."""
    curves = pl.read_parquet(f"{location}/curves/*.parquet").filter(pl.col("eval_task") == 0)
    found: dict[str, list[pl.DataFrame]] = {}
    for (trial, _), run in curves.sort("iteration").group_by("trial_id", "seed"):
        found.setdefault(str(trial).split(".")[1], []).append(run)
    return found


def gap(run: pl.DataFrame) -> float:
    """avg_sg_first of a run."""
    ends = run.group_by("task").agg(pl.col("iteration").max()).sort("task")["iteration"].to_numpy()
    accuracy = np.full((run.height, len(ends)), np.nan)
    accuracy[:, 0] = run["accuracy"].to_numpy()
    return average_stability_gap(
        AccuracyCurves(run["iteration"].to_numpy(), accuracy, ends), "first"
    )


def thinned(run: pl.DataFrame, every: int, dense: int) -> pl.DataFrame:
    """What an evaluation of that fidelity would have seen."""
    first = pl.col("iteration").min().over("task")
    elapsed = pl.col("iteration") - first + 1
    last = pl.col("iteration") == pl.col("iteration").max().over("task")
    return run.filter((elapsed % every == 0) | last | ((pl.col("task") > 0) & (elapsed <= dense)))


rows = []
for method, found in runs(sys.argv[1]).items():
    whole = np.array([gap(run) for run in found])
    row: dict[str, object] = {"method": method, "every iteration": f"{whole.mean():.3f}"}
    for name, (every, dense) in FIDELITIES.items():
        bias = np.array([gap(thinned(run, every, dense)) for run in found]) - whole
        row[name] = f"{bias.mean():+.3f}"
    rows.append(row)
print(tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True))
share = {n: len(thinned(found[0], *f)) / found[0].height for n, f in FIDELITIES.items()}
print("share of evaluations:", ", ".join(f"{name} {value:.1%}" for name, value in share.items()))
