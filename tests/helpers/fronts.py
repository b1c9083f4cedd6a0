"""Synthetic results with a front for each method."""

from __future__ import annotations

import pyarrow as pa

from ngm_tune.results.directory import Results
from ngm_tune.results.schema import trials_schema

Trial = tuple[str, tuple[float, float], tuple[float, float]]
"""Status of a trial, and the accuracies and gaps of its two seeds."""

STUDY = """
name = "made-up"
title = "Made up"
benchmarks = ["split-digits"]
methods = ["ngm-sgd", "sgd", "adam"]
trials = 5
seeds = 2
seed = 0
sampler = "tpe"
objectives = ["avg_acc", "avg_sg"]
reference_point = { avg_acc = 0.1, avg_sg = 1.0 }
"""

NGM: list[Trial] = [
    ("completed", (0.95, 0.97), (0.30, 0.30)),  # front: best accuracy
    ("completed", (0.93, 0.93), (0.08, 0.12)),  # front: the knee
    ("completed", (0.50, 0.50), (0.05, 0.05)),  # front: smallest gap
    ("completed", (0.90, 0.90), (0.20, 0.20)),  # dominated
    ("stopped", (0.99, 0.99), (0.00, 0.00)),  # incomplete: never on a front
]


def write_trials(results: Results, method: str, trials: list[Trial], phase: str = "search") -> None:
    """Write trials of a method on Split-Digits, numbered in order."""
    seeds = (0, 1) if phase == "search" else (1000, 1001)
    for number, (status, accuracies, gaps) in enumerate(trials):
        trial_id = f"split-digits.{method}.{number:04d}"
        trial_id += ".confirm" if phase == "confirm" else ""
        rows = [
            {
                "study": "made-up",
                "benchmark": "split-digits",
                "method": method,
                "repetition": 0,
                "trial_id": trial_id,
                "seed": seed,
                "phase": phase,
                "status": status,
                "config_lr": 0.1 * (number + 1),
                "config_gain_sensitivity": 0.25 if method == "ngm-sgd" else None,
                "avg_acc": accuracy,
                "avg_sg": gap,
                "wall_seconds": 1.5,
            }
            for seed, accuracy, gap in zip(seeds, accuracies, gaps, strict=True)
        ]
        schema = trials_schema({"lr": "float", "gain_sensitivity": "float"})
        results.write("trials", trial_id, pa.Table.from_pylist(rows, schema))
