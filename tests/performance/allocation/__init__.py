"""Where the compute of a study is best spent: comparisons on recorded runs.

A study repeats the search of each method ``searches`` times. A search tries ``trials`` settings
with ``seeds`` seeds each and confirms at most ``configurations`` of them with ``confirm_seeds``
fresh seeds. The score of a search is its confirmed hypervolume: the volume that the means of the
confirmed configurations dominate, divided by the volume between reference point and ideal. Two
methods are compared by the paired t interval of the difference over the repetitions, in which both
have the same arrangement of the data and the same seeds.

    python -m tests.performance.allocation    both comparisons, in about 15 minutes

See :mod:`.table` for the runs, :mod:`.splits` for the splits of the compute, and :mod:`.options`
for early stopping and more seeds per trial.
"""
