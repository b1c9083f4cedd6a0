"""Comparison of two configurations, paired over seeds.

The search alone selects the configurations to compare: per method, the one with the best second
objective among those whose first objective is within 0.01 of the best that the search reached with
any method (:func:`ngm_tune.metrics.selection.find_contender`). This configuration is always
confirmed, so the selection does not bias its confirmed values. Confirmations that diverged enter
with the worst values. Without a confirmation, and for fixed runs, the selection and the report use
the same values.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

import numpy as np
import polars as pl
from scipy import stats

from ngm_tune.metrics.curves import Floats
from ngm_tune.metrics.selection import are_near, best_in_second

from ..loaded_study import LoadedStudy
from .optimism import values_by_seed

CONFIDENCE = 0.95
"""Confidence level of intervals."""

ESTIMATE = "estimate_"
"""Prefix of columns with the objectives that select the compared configurations."""


class Outcome(Enum):
    """Outcome of a comparison of two means."""

    LARGER = "larger"
    SMALLER = "smaller"
    NOT_SIGNIFICANT = "not significant"
    SINGLE_SEED = "single seed"


class Difference(NamedTuple):
    """A mean difference over paired seeds and its confidence interval.

    The interval belongs to these two configurations on these test data. It contains the variation
    over seeds, but neither that over test examples nor that over repetitions of the search.

    Attributes:
        mean: Mean difference, in the unit of the metric.
        low: Lower bound of the paired t interval; NaN for a single seed.
        high: Upper bound; NaN for a single seed.
    """

    mean: float
    low: float
    high: float

    @property
    def outcome(self) -> Outcome:
        """Sign of the difference, if its interval excludes zero."""
        if np.isnan(self.low):
            return Outcome.SINGLE_SEED
        if self.low > 0.0 or self.high < 0.0:
            return Outcome.LARGER if self.mean > 0.0 else Outcome.SMALLER
        return Outcome.NOT_SIGNIFICANT


class Contender(NamedTuple):
    """The configuration with which a method enters the comparison.

    Attributes:
        method: Name of the method.
        trial_id: The trial with the values below.
        estimates: Objectives that selected the configuration, shape (M,).
        values: Objectives of the trial, means over seeds, shape (M,).
        sd: Their standard deviations over seeds, shape (M,); NaN for a single seed.
        n_diverged: Number of diverged seeds.
        feasible: Whether the trial satisfies the study's constraints.
    """

    method: str
    trial_id: str
    estimates: Floats
    values: Floats
    sd: Floats
    n_diverged: int
    feasible: bool

    @property
    def single_seed(self) -> bool:
        """Whether the trial has a single seed."""
        return bool(np.isnan(self.sd[1]))


def contenders(loaded: LoadedStudy, benchmark: str, *, near: bool = True) -> dict[str, Contender]:
    """Return the contender of each method.

    Args:
        loaded: The study.
        benchmark: Name of the benchmark.
        near: Select among configurations whose first objective is within
            :data:`ngm_tune.metrics.selection.NEAR` of the best; with False, among all others.

    Returns:
        Contenders by method; methods without such a configuration are omitted. Empty for a study
        with a single objective.
    """
    objectives, names = loaded.objectives, [metric.name for metric in loaded.objectives]
    trials = candidates(loaded, benchmark)
    if not trials.height or len(names) < 2:
        return {}
    estimates = trials.select(pl.col(ESTIMATE + name) for name in names).to_numpy()
    selected = are_near(estimates, objectives, _best_first_objective(loaded, benchmark)) == near
    result = {}
    for method in loaded.methods:
        rows = np.flatnonzero(selected & (trials["method"] == method).to_numpy())
        if len(rows):
            row = int(rows[best_in_second(estimates[rows], objectives)])
            trial_id = trials["trial_id"][row]
            result[method] = Contender(
                method,
                trial_id,
                estimates[row],
                trials[row].select(names).to_numpy()[0],
                trials[row].select(f"{name}_sd" for name in names).to_numpy()[0],
                loaded.runs.filter(trial_id=trial_id, status="diverged").height,
                trials["feasible"][row],
            )
    return result


def compared_contenders(loaded: LoadedStudy, benchmark: str) -> list[Contender]:
    """Return the contender of the study's first method, then that of its best rival.

    The best rival has the best estimate of the second objective. A method without a contender is
    omitted, so the list has zero to two entries.
    """
    by_method = contenders(loaded, benchmark)
    focus = by_method.pop(loaded.study.methods[0], None)
    rivals = sorted(by_method.values(), key=second_objective(loaded))
    return [each for each in (focus, *rivals[:1]) if each is not None]


def second_objective(loaded: LoadedStudy) -> Callable[[Contender], float]:
    """Return a sort key: a contender's estimate of the second objective, lower is better."""
    sign = loaded.objectives[1].sign
    return lambda contender: float(contender.estimates[1] * sign)


def candidates(loaded: LoadedStudy, benchmark: str) -> pl.DataFrame:
    """Return the trials on which claims can rest, with the objectives that select them.

    Columns ``estimate_<objective>`` hold the search's estimates for confirmed configurations, and
    the trial's own values otherwise.
    """
    names = [metric.name for metric in loaded.objectives]
    trials = loaded.evidence(benchmark).drop_nulls(names)
    if loaded.has_fixed_runs or not loaded.is_confirmed(benchmark):
        eligible = trials.filter("eligible")
        return eligible.with_columns(pl.col(name).alias(ESTIMATE + name) for name in names)
    search = loaded.search_trials(benchmark).select(
        pl.col("trial_id").alias("origin"), *(pl.col(n).alias(ESTIMATE + n) for n in names)
    )
    return trials.join(search, on="origin", how="inner", maintain_order="left")


def paired_differences(loaded: LoadedStudy, trial_id: str, other_id: str) -> list[Difference]:
    """Return the mean difference between two trials over their common seeds.

    The interval is that of Student's paired t test (:func:`scipy.stats.ttest_1samp` of the
    differences).

    Args:
        loaded: The study.
        trial_id: The trial to subtract from.
        other_id: The trial to subtract.

    Returns:
        One difference per objective.
    """
    values = values_by_seed(loaded, pl.Series([trial_id, other_id]))
    differences = values[0] - values[1]
    differences = differences[np.isfinite(differences).all(axis=1)]
    means = differences.mean(axis=0)
    lows = highs = np.full_like(means, np.nan)
    if len(differences) > 1:
        with warnings.catch_warnings():  # equal differences have a valid interval of zero width
            warnings.simplefilter("ignore", RuntimeWarning)
            test = stats.ttest_1samp(differences, 0.0, axis=0)
            lows, highs = test.confidence_interval(CONFIDENCE)
    return [Difference(*map(float, row)) for row in zip(means, lows, highs, strict=True)]


def _best_first_objective(loaded: LoadedStudy, benchmark: str) -> float:
    """Return the best first objective of any eligible trial of the search, or fixed run."""
    first = loaded.objectives[0]
    trials = loaded.first_phase_trials(benchmark).filter("eligible")
    return first.best_among(trials[first.name].drop_nulls())
