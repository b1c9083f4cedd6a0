"""Published values of arXiv 2507.14056, by benchmark and method.

Sources: the tables of the paper and, for Split-MNIST, the runs that its authors published.
Accuracies and stability gaps are fractions.
"""

from __future__ import annotations

from typing import NamedTuple

N_PUBLISHED_SEEDS = 5
"""Number of seeds behind each published value."""


class PublishedValue(NamedTuple):
    """A published mean and, if given, its standard deviation over seeds."""

    mean: float
    sd: float | None = None


_Values = dict[str, dict[str, PublishedValue]]
_Series = dict[str, dict[str, tuple[float, ...]]]

MEAN_CURVE_GAP: _Values = {
    "split-mnist": {
        "ngm-sgd": PublishedValue(0.017),
        "momentum-sgd": PublishedValue(0.267),
        "adam": PublishedValue(0.283),
        "sgd": PublishedValue(0.034),
    },
    "rotated-mnist": {
        "ngm-sgd": PublishedValue(0.054),
        "momentum-sgd": PublishedValue(0.117),
        "adam": PublishedValue(0.092),
        "sgd": PublishedValue(0.053),
    },
    "split-cifar10": {
        "ngm-sgd": PublishedValue(0.134, 0.043),
        "momentum-sgd": PublishedValue(0.425, 0.044),
        "adam": PublishedValue(0.310, 0.088),
        "sgd": PublishedValue(0.241),
    },
    "domain-cifar100": {
        "ngm-sgd": PublishedValue(0.224),
        "momentum-sgd": PublishedValue(0.232),
        "adam": PublishedValue(0.256),
        "sgd": PublishedValue(0.243),
    },
    "split-mini-imagenet": {
        "ngm-sgd": PublishedValue(0.300, 0.071),
        "momentum-sgd": PublishedValue(0.409),
        "adam": PublishedValue(0.384),
        "sgd": PublishedValue(0.332),
    },
}
"""Average stability gap of the first task, with minima taken on the mean curve over seeds."""

PER_SEED_GAP: _Values = {
    "split-mnist": {
        "ngm-sgd": PublishedValue(0.028, 0.002),
        "momentum-sgd": PublishedValue(0.274, 0.007),
        "adam": PublishedValue(0.259, 0.087),  # with n - 1, as all deviations here; with n: 0.078
        "sgd": PublishedValue(0.010, 0.001),
    },
}
"""Average stability gap of the first task, with minima taken per seed."""

TRANSITION_GAPS: _Series = {
    "split-mnist": {
        "ngm-sgd": (0.029, 0.015, 0.013, 0.019),
        "momentum-sgd": (1.000, 0.042, 0.015, 0.022),
        "adam": (0.313, 0.159, 0.097, 0.052),
        "sgd": (0.016, 0.006, 0.007, 0.005),
    },
}
"""Stability gap of each transition for the first task, on the mean curve of the published seeds."""

TASK_END_ACCURACY: _Series = {
    "split-mnist": {
        "ngm-sgd": (0.9988, 0.9922, 0.9909, 0.9871, 0.9818),
        "momentum-sgd": (0.9993, 0.9919, 0.9900, 0.9889, 0.9841),
        "adam": (0.9994, 0.9911, 0.9836, 0.9820, 0.9739),
        "sgd": (0.9982, 0.9853, 0.9805, 0.9769, 0.9741),
    },
}
"""First-task accuracy at the end of each task."""

TASK_END_GAIN = {"split-mnist": (1.31, 1.68, 1.89, 1.94, 2.11)}
"""Gain of NGM-SGD at the end of each task."""

PEAK_GAIN = {"split-mnist": 3.09, "rotated-mnist": 5.8, "split-cifar10": 2.8}
"""Largest gain of NGM-SGD during a run."""
