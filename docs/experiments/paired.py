"""Print the paired difference between the study's first method and each of the others.

Mean and 95 % interval over seeds, for studies of fixed runs (one configuration per method).

Usage: python docs/experiments/paired.py RESULTS
"""

import sys

from tabulate import tabulate

from ngm_tune.analysis.formatting import signed
from ngm_tune.analysis.loading import load
from ngm_tune.analysis.statistics.answer import answers
from ngm_tune.analysis.statistics.verdict import Comparison


def cell(comparison: Comparison) -> str:
    """Format the value of the other method minus that of the first one, with its interval."""
    mean, low, high = comparison.raw
    return f"{signed(-mean)} ({signed(-high)} to {signed(-low)})"


loaded = load(sys.argv[1])
for answer in answers(loaded):
    rows: dict[str, list[str]] = {}
    for comparison in answer.comparisons:
        title = loaded.method_title(comparison.rival)
        rows.setdefault(title, [title]).append(cell(comparison))
    title, first = loaded.benchmark_title(answer.benchmark), loaded.method_title(answer.focus)
    print(f"{title}, against {first}\n")
    headers = ["method", *(endpoint.title for endpoint in answer.endpoints)]
    print(tabulate(rows.values(), headers=headers, tablefmt="github", disable_numparse=True))
    print()
