"""Coverage of the intervals across benchmarks, on made-up hypervolumes with a known truth.

Repetitions have a normally distributed effect that both methods share, half of the variance, and
one of their own. Usage: python docs/experiments/across_coverage.py
"""

import numpy as np
from scipy import stats
from tabulate import tabulate

from ngm_tune.analysis.statistics.across import (
    Interval,
    improvement_probabilities,
    mean_over_benchmarks,
)

STUDIES = 400
PROBABILITIES = (0.5, 0.8, 0.95)


def _covers(interval: Interval, truth: float) -> bool:
    return interval.low <= truth <= interval.high


rng = np.random.default_rng(0)
rows = []
for benchmarks, repetitions in ((2, 2), (2, 3), (2, 5), (2, 10), (3, 5), (5, 5), (5, 10)):
    n_covered = np.zeros(1 + len(PROBABILITIES))
    for _ in range(STUDIES):
        effects = rng.normal(size=(benchmarks, 3, repetitions)) / 2**0.5
        samples = [shared + own for shared, *own in effects]
        n_covered[0] += _covers(mean_over_benchmarks([first for first, _ in samples]), 0.0)
        for column, probability in enumerate(PROBABILITIES, 1):
            difference = 2**0.5 * stats.norm.ppf(probability)  # of two independent repetitions
            shifted = [np.stack([first + difference, other]) for first, other in samples]
            (improvement,) = improvement_probabilities(shifted)
            n_covered[column] += _covers(improvement, probability)
    rows.append([benchmarks, repetitions, *(f"{count / STUDIES:.1%}" for count in n_covered)])
headers = ["benchmarks", "R", "mean", *(f"P = {value:g}" for value in PROBABILITIES)]
print(tabulate(rows, headers, tablefmt="github"))
