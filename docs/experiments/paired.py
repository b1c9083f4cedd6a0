"""By how much methods differ from a study's first one, over the same seeds: mean and 95 % interval.

Of the one configuration that each has, for studies with given settings.

Usage: python docs/experiments/paired.py RESULTS
"""

import sys

from tabulate import tabulate

from ngm_tune.analysis.answer import difference
from ngm_tune.analysis.loading import load

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
