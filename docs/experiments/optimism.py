"""Print the search's estimates next to the scores confirmed with fresh seeds on test data.

Usage: python docs/experiments/optimism.py RESULTS...
"""

import sys

from tabulate import tabulate

from ngm_tune.analysis.loading import load
from ngm_tune.analysis.report.tables import optimism_rows

for location in sys.argv[1:]:
    loaded = load(location)
    for benchmark in loaded.benchmarks:
        rows = optimism_rows(loaded, benchmark)
        print(f"{loaded.benchmark_title(benchmark)}\n")
        print(tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True), end="\n\n")
