"""Racing: which configurations could still be on the front, from the seeds run so far.

The value (of an objective or a constraint) of configuration c with seed s is taken as mu_c + b_s +
noise: a seed gives every configuration the same initial weights and batches, so a part of its
effect, b_s, is common to all and drops out of the comparison. It is fitted by medians, which a few
configurations that fell apart do not disturb. What remains is noise, of a variance per objective
that is pooled over configurations and corrected by each one's own residuals. How little a few
residuals say of it is taken into account: it is drawn along with the values.
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
_PRIOR_WEIGHT = 4.0
"""Degrees of freedom that the pooled variance counts for against a configuration's own."""

_MANY = 5
"""Configurations with several seeds of which some may have fallen apart, and are bounded."""

_BOUND = 0.99
"""The quantile of what noise does to a configuration that bounds its part in the variance."""


def next_in_race(
    contenders: Mapping[int, Sequence[tuple[float, ...]]],
    candidates: Sequence[int],
    objectives: Sequence[Metric],
    chance: float,
    seed: int,
    constraints: Sequence[Constraint] = (),
) -> int | None:
    """The candidate likeliest to be on the front of the contenders, if it is likely enough.

    Args:
        contenders: Of each configuration's seeds, the first ones of the study, the objectives and
            after them by how much each constraint is violated.
        candidates: Those of them that could get a further seed.
        objectives: The metrics.
        chance: The probability that is enough.
        seed: Of the random draws.
        constraints: What must hold on the mean.
    """
    if not candidates:
        return None
    most = max(map(len, contenders.values()))
    values = np.full((len(contenders), most, len(objectives) + len(constraints)), np.nan)
    for row, each in zip(values, contenders.values(), strict=True):
        row[: len(each)] = each
    found = chances_of_front(values, objectives, seed, constraints)
    chances = dict(zip(contenders, found.tolist(), strict=True))
    best = max(candidates, key=lambda c: (chances[c], len(contenders[c]), -c))
    return best if chances[best] >= chance else None


def chances_of_front(
    values: Floats,
    objectives: Sequence[Metric],
    seed: int,
    constraints: Sequence[Constraint] = (),
) -> Floats:
    """The probability that each configuration is on the front, within constraints, shape (C,).

    Args:
        values: Objectives, and by how much each constraint is violated, by configuration and seed,
            shape (C, S, M + K); NaN where a seed was not run. Every configuration has at least one.
        objectives: The M metrics.
        seed: Of the random draws, which are so many that a probability is known to about 0.03.
        constraints: The K constraints.

    Returns:
        While no two configurations share two seeds, nothing is known of the noise: 1 for every
        configuration that keeps the constraints so far, and 0 for the others.
    """
    means, residuals = polish(values)
    runs = np.isfinite(residuals[..., 0]).sum(axis=1)
    if runs.max() < 2:
        return _keeps(means, objectives, constraints).astype(np.float64)
    variances, freedom = _variances(residuals, runs)
    random = np.random.default_rng(seed)
    draws = random.standard_normal((_DRAWS, *means.shape))
    wider = np.sqrt(freedom / random.chisquare(freedom, (_DRAWS, 1, means.shape[1])))
    spread = np.sqrt(variances / runs[:, None])
    fronts = [_on_front(means + draw * spread, objectives, constraints) for draw in draws * wider]
    return np.asarray(np.mean(fronts, axis=0))


def _on_front(
    drawn: Floats, objectives: Sequence[Metric], constraints: Sequence[Constraint]
) -> NDArray[np.bool_]:
    """Which of the configurations that keep the constraints no other of them dominates."""
    on = _keeps(drawn, objectives, constraints)
    on[on] = on_front(drawn[on, : len(objectives)], objectives)
    return on


def _keeps(
    drawn: Floats, objectives: Sequence[Metric], constraints: Sequence[Constraint]
) -> NDArray[np.bool_]:
    """Which configurations keep the constraints; one on an objective is judged by its draw."""
    kept = np.ones(len(drawn), dtype=np.bool_)
    for place, limit in enumerate(constraints, len(objectives)):
        same = limit.metric in objectives
        violation = (
            limit.violation(drawn[:, objectives.index(limit.metric)]) if same else drawn[:, place]
        )
        kept &= are_feasible(violation)
    return kept


def polish(values: Floats) -> tuple[Floats, Floats]:
    """Fit mu_c + b_s; the means mu, shape (C, M), at the average seed, and the residuals (C, S, M).

    As every configuration has the first seeds, b_s - b_(s-1) is the median of the differences that
    configurations with both seeds show. A seed that only one of several configurations was run with
    says nothing that could be compared, and is left out: its residuals are NaN.
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
    known = np.where(shared[:, None], values - effects, np.nan)
    means = np.nanmean(known, axis=1)
    return means, known - means[:, None]


def _variances(residuals: Floats, runs: NDArray[np.int64]) -> tuple[Floats, float]:
    """Of the noise of each configuration, shape (C, M), and the degrees of freedom pooled.

    The seeds' effects were fitted to the same values, which takes 1/n of the squares of residuals
    of n configurations with several seeds.
    """
    several = runs > 1
    left = 1.0 - 1.0 / several.sum() if several.sum() > 1 else 1.0
    own = np.nansum(residuals**2, axis=1) / left
    freedom = np.maximum(runs - 1, 0)[:, None]
    bounded, each = own[several], freedom[several]
    if len(bounded) >= _MANY:
        from scipy.stats import chi2  # takes a second, which studies without races save

        typical = np.median(bounded / chi2.median(each), axis=0)
        bounded = np.minimum(bounded, typical * chi2.ppf(_BOUND, each))
    pooled = bounded.sum(axis=0) / each.sum()
    variances = (_PRIOR_WEIGHT * pooled + own) / (_PRIOR_WEIGHT + freedom)
    return np.asarray(variances), float(left * each.sum())
