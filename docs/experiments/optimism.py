"""What searches promised, against what was confirmed with fresh seeds on test data.

Usage: python docs/experiments/optimism.py RESULTS...
"""

import sys

from tabulate import tabulate

from ngm_tune.analysis.loading import load
from ngm_tune.analysis.optimism import optimism
from ngm_tune.analysis.tables import methods_table

for location in sys.argv[1:]:
    loaded = load(location)
    table = methods_table(loaded, [])
    for benchmark in loaded.benchmarks:
        rows = []
        for method in loaded.methods:
            row: dict[str, object] = {"method": loaded.title("methods", method)}
            for found in optimism(loaded, benchmark, method):
                row[found.metric.name] = (
                    f"{found.searched:.3f} → {found.confirmed:.3f} ({found.optimism:+.3f})"
                )
            arm = table.filter(benchmark=benchmark, method=method)
            searched, confirmed = arm.select("search_hypervolume", "hypervolume").row(0)
            row["hypervolume"] = f"{searched:.3f} → {confirmed:.3f} ({searched - confirmed:+.3f})"
            rows.append(row)
        print(f"{loaded.title('benchmarks', benchmark)}\n")
        print(tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True), end="\n\n")
