"""Bias of the stability gap under sparse evaluation, on recorded curves.

Read the runs of a study that were evaluated after every iteration, such as confirmations. Thin
their curves, and compare avg_sg and avg_sg_first of the thin and the complete curves, run by run.

Usage: python docs/experiments/evaluation_fidelity.py RESULTS
"""

import itertools
import sys

import numpy as np
import polars as pl
from tabulate import tabulate

from ngm_tune.metrics.curves import AccuracyCurves, GapOf
from ngm_tune.metrics.functional import average_stability_gap

METRICS: dict[str, GapOf] = {"avg_sg": "previous", "avg_sg_first": "first"}
FIDELITIES = {
    "every 2nd": (2, 0),
    "every 5th": (5, 0),
    "every 10th": (10, 0),
    "every 20th": (20, 0),
    "20th, first 10": (20, 10),
    "20th, first 30": (20, 30),
    "20th, first 60": (20, 60),
}
"""eval_every and eval_dense."""


def runs(location: str) -> dict[tuple[str, str], list[AccuracyCurves]]:
    """Complete curves, by benchmark and method."""
    rows = pl.read_parquet(f"{location}/curves/*.parquet").sort("trial_id", "seed", "iteration")
    complete: dict[tuple[str, str], list[AccuracyCurves]] = {}
    for (trial, _), run in rows.group_by("trial_id", "seed", maintain_order=True):
        ends = run.group_by("task").agg(pl.col("iteration").max()).sort("task")["iteration"]
        wide = run.pivot("eval_task", index="iteration", values="accuracy").sort("iteration")
        if wide.height < wide["iteration"].max():
            continue  # evaluated sparsely, as in a search
        accuracy = wide.select(str(task) for task in range(len(ends)) if str(task) in wide.columns)
        padded = np.full((wide.height, len(ends)), np.nan)  # the last task is never an old one
        padded[:, : accuracy.width] = accuracy.to_numpy()
        benchmark, method, *_ = str(trial).split(".")
        curves = AccuracyCurves(wide["iteration"].to_numpy(), padded, ends.to_numpy())
        complete.setdefault((benchmark, method), []).append(curves)
    return complete


def evaluated(curves: AccuracyCurves, every: int, dense: int) -> np.ndarray:
    """Mask of the evaluations of a run that sparse evaluation keeps, shape (E,)."""
    task = np.searchsorted(curves.task_ends, curves.iterations)
    elapsed = curves.iterations - np.concatenate([[0], curves.task_ends])[task]
    ends = np.isin(curves.iterations, curves.task_ends)
    return np.asarray((elapsed % every == 0) | ends | ((task > 0) & (elapsed <= dense)))


def thinned(curves: AccuracyCurves, every: int, dense: int) -> AccuracyCurves:
    """Curves under sparse evaluation."""
    mask = evaluated(curves, every, dense)
    return AccuracyCurves(curves.iterations[mask], curves.accuracy[mask], curves.task_ends)


curves_of = runs(sys.argv[1])
for benchmark, (metric, of) in itertools.product(
    dict.fromkeys(name for name, _ in curves_of), METRICS.items()
):
    methods = {method: each for (name, method), each in curves_of.items() if name == benchmark}
    table = []
    for method, each in methods.items():
        reference = np.array([average_stability_gap(curves, of) for curves in each])
        row = {"method": method, metric: f"{reference.mean():.3f}"}
        for name, fidelity in FIDELITIES.items():
            thin = np.array([average_stability_gap(thinned(run, *fidelity), of) for run in each])
            bias = thin - reference
            row[name] = f"{bias.mean():+.3f} ± {bias.std(ddof=1):.3f}"
        table.append(row)
    any_run = next(iter(methods.values()))[0]
    shares = {name: f"{evaluated(any_run, *f).mean():.0%}" for name, f in FIDELITIES.items()}
    table.append({"method": "share", metric: "100%"} | shares)
    print(f"{benchmark}: {', '.join(f'{len(each)} runs of {m}' for m, each in methods.items())}\n")
    print(tabulate(table, headers="keys", tablefmt="github", disable_numparse=True), end="\n\n")
