"""Differences from the first method of a study, paired over seeds: mean and 95 % interval.

For studies with `settings`, in which each method has one configuration.

Usage: python docs/experiments/paired.py RESULTS
"""

import sys

from tabulate import tabulate

from ngm_tune.analysis.loading import load
from ngm_tune.analysis.statistics.answer import difference

loaded = load(sys.argv[1])
for benchmark in loaded.benchmarks:
    trials = {name: loaded.confirmed_of(benchmark, name)["trial_id"][0] for name in loaded.methods}
    first, *others = trials
    rows = [
        [loaded.method_title(other), *map(str, difference(loaded, trials[other], trials[first]))]
        for other in others
    ]
    print(f"{loaded.benchmark_title(benchmark)}, against {loaded.method_title(first)}\n")
    headers = ["method", *(metric.title for metric in loaded.objectives)]
    print(tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True), end="\n\n")
