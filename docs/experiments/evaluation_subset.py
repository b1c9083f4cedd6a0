"""The bias that fewer evaluated examples, or less precision, bring to the stability gap.

Takes results of the same study, trained alike and evaluated differently, and compares each run's
avg_sg and avg_sg_first with those of the first results, seed by seed.

Usage: python docs/experiments/evaluation_subset.py WHOLE CHEAPER...
"""

import sys
from pathlib import Path

import polars as pl
from tabulate import tabulate

METRICS = ("avg_sg", "avg_sg_first")


def gaps(location: str) -> pl.DataFrame:
    """Of every run."""
    trials = pl.read_parquet(f"{location}/trials/*.parquet")
    return trials.select("method", "seed", *METRICS)


whole = gaps(sys.argv[1])
for metric in METRICS:
    rows = []
    for method in whole["method"].unique(maintain_order=True):
        row: dict[str, object] = {
            "method": method,
            metric: f"{whole.filter(method=method)[metric].mean():.3f}",
        }
        for location in sys.argv[2:]:
            pairs = gaps(location).join(whole, on=["method", "seed"], suffix="_whole")
            found = pairs.filter(method=method)
            bias = found[metric] - found[f"{metric}_whole"]
            row[Path(location).name] = f"{bias.mean():+.3f} ± {bias.std():.3f}"
        rows.append(row)
    print(tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True), end="\n\n")
