"""Print the paired difference between each method and the study's first one.

Mean and 95 % interval over seeds, for studies of fixed runs (one configuration per method).

Usage: python docs/experiments/paired.py RESULTS
"""

import sys

from tabulate import tabulate

from ngm_tune.analysis.formatting import signed
from ngm_tune.analysis.loading import load
from ngm_tune.analysis.statistics.comparison import Difference, paired_differences


def cell(difference: Difference) -> str:
    """Format a difference with its interval."""
    return f"{signed(difference.mean)} ({signed(difference.low)} to {signed(difference.high)})"


loaded = load(sys.argv[1])
for benchmark in loaded.benchmarks:
    trials = {
        name: loaded.confirmed_trials(benchmark, name)["trial_id"][0] for name in loaded.methods
    }
    first, *others = trials
    rows = [
        [
            loaded.method_title(other),
            *map(cell, paired_differences(loaded, trials[other], trials[first])),
        ]
        for other in others
    ]
    print(f"{loaded.benchmark_title(benchmark)}, against {loaded.method_title(first)}\n")
    headers = ["method", *(metric.title for metric in loaded.objectives)]
    print(tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True), end="\n\n")
