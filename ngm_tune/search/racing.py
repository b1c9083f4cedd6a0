"""Racing: find the configurations that could be on the front, given the seeds run so far.

The model of the value (an objective or the violation of a constraint) of configuration c with seed
s is mu_c + b_s + noise. A seed gives every configuration the same initial weights and batches, so
the seed effect b_s is common to all configurations and cancels in comparisons. Seed effects are
fitted by medians, so a few configurations with extreme values have little influence. The variance
of the noise is pooled over the configurations and adapted to each one by its own residuals. A few
residuals determine a variance poorly, so the variance is drawn at random together with the values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ngm_tune.metrics.constraints import Constraint, are_feasible
from ngm_tune.metrics.curves import Floats
from ngm_tune.metrics.pareto import on_front
from ngm_tune.metrics.registry import Metric

_DRAWS = 256
"""Number of random draws. The standard error of a probability is about 0.03 at most."""

_PRIOR_WEIGHT = 4.0
"""Degrees of freedom of the pooled variance when it is combined with that of a configuration."""

_MIN_TO_CLIP = 5
"""Smallest number of configurations with several seeds from which outliers are clipped."""

_CLIP_QUANTILE = 0.99
"""Quantile of the sum of squares of normal noise at which that of a configuration is clipped."""


def select_for_next_seed(
    run_values: Mapping[int, Sequence[tuple[float, ...]]],
    candidates: Sequence[int],
    objectives: Sequence[Metric],
    min_probability: float,
    seed: int,
    constraints: Sequence[Constraint] = (),
) -> int | None:
    """Return the candidate most likely to be on the front.

    Args:
        run_values: Values of each configuration with each of its seeds, in the order of the
            study's seeds: the objectives, followed by the violation of each constraint.
        candidates: The configurations that can receive a further seed.
        objectives: The metrics.
        min_probability: Smallest probability of being on the front for a further seed.
        seed: Seed of the random draws.
        constraints: The constraints on the means over seeds.

    Returns:
        A candidate; None if no candidate reaches ``min_probability``. Among equally likely
        candidates the one with the most seeds is returned, then the one with the lowest number.
    """
    if not candidates:
        return None
    most_seeds = max(map(len, run_values.values()))
    values = np.full((len(run_values), most_seeds, len(objectives) + len(constraints)), np.nan)
    for row, by_seed in zip(values, run_values.values(), strict=True):
        row[: len(by_seed)] = by_seed
    estimates = front_probabilities(values, objectives, seed, constraints)
    probabilities = dict(zip(run_values, estimates.tolist(), strict=True))
    best = max(candidates, key=lambda c: (probabilities[c], len(run_values[c]), -c))
    return best if probabilities[best] >= min_probability else None


def front_probabilities(
    values: Floats,
    objectives: Sequence[Metric],
    seed: int,
    constraints: Sequence[Constraint] = (),
) -> Floats:
    """Estimate the probability that each configuration is feasible and on the front, shape (C,).

    Args:
        values: Objectives, followed by the violation of each constraint, of each configuration
            with each seed, shape (C, S, M + K); NaN if the configuration was not run with the seed.
            Every configuration has at least one seed.
        objectives: The M metrics.
        seed: Seed of the random draws.
        constraints: The K constraints.

    Returns:
        Probabilities. While no configuration has two comparable seeds (:func:`fit_seed_effects`),
        the noise is unknown: feasible configurations then have probability 1 and the others 0.
    """
    means, residuals = fit_seed_effects(values)
    runs = np.isfinite(residuals[..., 0]).sum(axis=1)
    if runs.max() < 2:
        return _are_feasible(means, objectives, constraints).astype(np.float64)
    variances, freedom = _noise_variances(residuals, runs)
    random = np.random.default_rng(seed)
    draws = random.standard_normal((_DRAWS, *means.shape))
    widening = np.sqrt(freedom / random.chisquare(freedom, (_DRAWS, 1, means.shape[1])))
    errors = np.sqrt(variances / runs[:, None])
    fronts = [
        _on_feasible_front(means + draw * errors, objectives, constraints)
        for draw in draws * widening
    ]
    return np.asarray(np.mean(fronts, axis=0))


def _on_feasible_front(
    values: Floats, objectives: Sequence[Metric], constraints: Sequence[Constraint]
) -> NDArray[np.bool_]:
    """Return which configurations are feasible and not dominated by a feasible one, shape (C,)."""
    on = _are_feasible(values, objectives, constraints)
    on[on] = on_front(values[on, : len(objectives)], objectives)
    return on


def _are_feasible(
    values: Floats, objectives: Sequence[Metric], constraints: Sequence[Constraint]
) -> NDArray[np.bool_]:
    """Return which configurations satisfy all constraints, shape (C,).

    A constraint on an objective is evaluated on the drawn value of that objective, so that both
    agree; the column of its violation is ignored.
    """
    feasible = np.ones(len(values), dtype=np.bool_)
    for column, constraint in enumerate(constraints, len(objectives)):
        if constraint.metric in objectives:
            objective = values[:, objectives.index(constraint.metric)]
            feasible &= are_feasible(constraint.violation(objective))
        else:
            feasible &= are_feasible(values[:, column])
    return feasible


def fit_seed_effects(values: Floats) -> tuple[Floats, Floats]:
    """Fit the model mu_c + b_s.

    All configurations are run with the seeds in the same order. So b_s - b_(s-1) is estimated by
    the median difference of the configurations that have both seeds. A seed that only one of
    several configurations was run with cannot be compared and is excluded: its residuals are NaN.

    Args:
        values: Values of C configurations with S seeds, shape (C, S, M); NaN where not run.

    Returns:
        The means mu at the average seed, shape (C, M), and the residuals, shape (C, S, M).
    """
    shared = np.isfinite(values[..., 0]).sum(axis=0) > 1
    if len(values) == 1:
        shared[:] = True
    effects = np.zeros(values.shape[1:])
    for seed in range(1, int(shared.sum())):
        if len(values) > 1:
            step = np.nanmedian(values[:, seed] - values[:, seed - 1], axis=0)
            effects[seed] = effects[seed - 1] + step
    effects -= effects[shared].mean(axis=0)
    without_effects = np.where(shared[:, None], values - effects, np.nan)
    means = np.nanmean(without_effects, axis=1)
    return means, without_effects - means[:, None]


def _noise_variances(residuals: Floats, runs: NDArray[np.int64]) -> tuple[Floats, float]:
    """Estimate the variance of the noise of each configuration.

    The seed effects were fitted to the same values, which reduces the sum of squares of n
    configurations with several seeds by 1/n. The estimate corrects for this.

    Args:
        residuals: Residuals of :func:`fit_seed_effects`, shape (C, S, M).
        runs: Number of residuals of each configuration, shape (C,).

    Returns:
        The variances, shape (C, M), and the degrees of freedom of the pooled variance.
    """
    several = runs > 1
    remaining = 1.0 - 1.0 / several.sum() if several.sum() > 1 else 1.0
    squares = np.nansum(residuals**2, axis=1) / remaining
    freedom = np.maximum(runs - 1, 0)[:, None]
    clipped, clipped_freedom = squares[several], freedom[several]
    if len(clipped) >= _MIN_TO_CLIP:
        from scipy.stats import chi2  # slow to import, and only used in racing

        typical = np.median(clipped / chi2.median(clipped_freedom), axis=0)
        clipped = np.minimum(clipped, typical * chi2.ppf(_CLIP_QUANTILE, clipped_freedom))
    pooled = clipped.sum(axis=0) / clipped_freedom.sum()
    variances = (_PRIOR_WEIGHT * pooled + squares) / (_PRIOR_WEIGHT + freedom)
    return np.asarray(variances), float(remaining * clipped_freedom.sum())
