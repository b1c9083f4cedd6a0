"""Suggestions of Optuna's samplers as pure functions of the earlier trials."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from ngm_tune.results.columns import Domain, decode

optuna.logging.set_verbosity(optuna.logging.WARNING)
# Multivariate TPE, GPSampler and metric names are experimental in Optuna.
warnings.filterwarnings("ignore", category=ExperimentalWarning)

_SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": lambda seed: TPESampler(multivariate=True, seed=seed),
    # Optuna's default mutation probability, 1 / coordinates, is 1 for methods with one coordinate:
    # a random search.
    "nsga2": lambda seed: NSGAIISampler(population_size=20, mutation_prob=1 / 3, seed=seed),
    "gp": lambda seed: GPSampler(seed=seed, deterministic_objective=False),
    "random": lambda seed: RandomSampler(seed=seed),
}


def suggest(
    sampler: str,
    space: Mapping[str, BaseDistribution],
    directions: Sequence[Literal["minimize", "maximize"]],
    trials: Iterable[FrozenTrial],
    seed: int,
    point: Mapping[str, Any] | None = None,
) -> FrozenTrial:
    """Suggest the next trial of a search. The same arguments give the same suggestion.

    Args:
        sampler: Name of the sampler.
        space: Distribution of each search coordinate.
        directions: Directions of the objectives.
        trials: The earlier trials; those without an outcome have the state RUNNING.
        seed: Seed of the sampler.
        point: Search coordinates to suggest instead of a draw of the sampler.

    Returns:
        The suggestion, as a trial with the state RUNNING.
    """
    study = optuna.create_study(directions=list(directions), sampler=_SAMPLERS[sampler](seed))
    if sampler != "random":  # random search ignores earlier trials, and adding them takes time
        study.add_trials(trials)
    if point is not None:
        study.enqueue_trial(dict(point))
    study.ask(fixed_distributions=dict(space))
    return study.get_trials(deepcopy=False)[-1]


def explain_invalid_coordinates(
    space: Mapping[str, BaseDistribution], coordinates: Mapping[str, Any]
) -> str | None:
    """Return why search coordinates are outside a search space; None if they are inside.

    Missing coordinates are allowed.
    """
    for name, value in coordinates.items():
        match space.get(name):
            case None:
                return f"{name} is not a search coordinate"
            case CategoricalDistribution(choices=choices):
                inside = value in choices
            case FloatDistribution(low=low, high=high) | IntDistribution(low=low, high=high):
                inside = type(value) in (int, float) and low <= value <= high
            case distribution:
                raise TypeError(f"{name}: unsupported distribution {distribution}")
        if not inside:
            return f"{name} = {value!r} is outside the search space"
    return None


def decode_coordinates(
    space: Mapping[str, BaseDistribution], stored: Mapping[str, Any]
) -> dict[str, Any]:
    """Convert search coordinates from their types in the results to those of the search space."""
    return {
        name: decode(value, _domain_of(space[name])) if name in space else value
        for name, value in stored.items()
    }


def _domain_of(distribution: BaseDistribution) -> Domain:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    return int if isinstance(distribution, IntDistribution) else float


def with_coordinates(trial: FrozenTrial, coordinates: Mapping[str, Any]) -> FrozenTrial:
    """Return a suggestion with other search coordinates.

    Incomplete and invalid coordinates are ignored.

    Args:
        trial: The suggestion.
        coordinates: Search coordinates with the types of the results.
    """
    space = trial.distributions
    params = decode_coordinates(space, {k: v for k, v in coordinates.items() if k in space})
    complete = params.keys() == space.keys()
    if not complete or explain_invalid_coordinates(space, params) or params == trial.params:
        return trial
    return create_trial(
        state=TrialState.RUNNING,
        params=params,
        distributions=dict(space),
        system_attrs=_sampler_attributes(trial),
    )


def with_state(
    trial: FrozenTrial,
    state: TrialState,
    values: Sequence[float] | None = None,
    constraints: Mapping[str, float] | None = None,
    **user_attrs: Any,
) -> FrozenTrial:
    """Return a suggestion in another state. It keeps the attributes that the sampler stored.

    Args:
        trial: The suggestion.
        state: The new state.
        values: Objectives, if the new state is COMPLETE.
        constraints: Violation of each constraint; ignored unless the new state is COMPLETE.
        user_attrs: User attributes of the new trial.
    """
    return create_trial(
        state=state,
        values=values,
        params=trial.params,
        distributions=trial.distributions,
        system_attrs=_sampler_attributes(trial),
        user_attrs=user_attrs,
        constraints=dict(constraints) if constraints and state is TrialState.COMPLETE else None,
    )


def _sampler_attributes(trial: FrozenTrial) -> dict[str, Any]:
    """Return the attributes of a sampler without the constraints, which Optuna sets only once."""
    return {k: v for k, v in trial.system_attrs.items() if not k.startswith("constr")}
