"""Bias of the stability gap with fewer evaluated examples or lower precision.

Read results of one study that were trained in the same way and evaluated differently. Compare
avg_sg and avg_sg_first of each run with those of the first results, seed by seed.

Usage: python docs/experiments/evaluation_subset.py REFERENCE CHEAPER...
"""

import sys
from pathlib import Path

import polars as pl
from tabulate import tabulate

METRICS = ("avg_sg", "avg_sg_first")


def gaps(location: str) -> pl.DataFrame:
    """Gaps of every run."""
    trials = pl.read_parquet(f"{location}/trials/*.parquet")
    return trials.select("method", "seed", *METRICS)


reference = gaps(sys.argv[1])
for metric in METRICS:
    rows = []
    for method in reference["method"].unique(maintain_order=True):
        row: dict[str, object] = {
            "method": method,
            metric: f"{reference.filter(method=method)[metric].mean():.3f}",
        }
        for location in sys.argv[2:]:
            pairs = gaps(location).join(reference, on=["method", "seed"], suffix="_reference")
            runs = pairs.filter(method=method)
            bias = runs[metric] - runs[f"{metric}_reference"]
            row[Path(location).name] = f"{bias.mean():+.3f} ± {bias.std():.3f}"
        rows.append(row)
    print(tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True), end="\n\n")
