"""Suggestions of Optuna's samplers, as a function of what is known."""

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
# Multivariate TPE, GPSampler and metric names are marked so; the versions are pinned.
warnings.filterwarnings("ignore", category=ExperimentalWarning)

_SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": lambda seed: TPESampler(multivariate=True, seed=seed),
    # Optuna's own probability, 1 / coordinates, would be a random search of methods with one.
    "nsga2": lambda seed: NSGAIISampler(population_size=20, mutation_prob=1 / 3, seed=seed),
    "gp": lambda seed: GPSampler(seed=seed, deterministic_objective=False),
    "random": lambda seed: RandomSampler(seed=seed),
}


def suggest(
    sampler: str,
    space: Mapping[str, BaseDistribution],
    directions: Sequence[Literal["minimize", "maximize"]],
    known: Iterable[FrozenTrial],
    seed: int,
    point: Mapping[str, Any] | None = None,
) -> FrozenTrial:
    """The next trial of a search, running: the same for the same arguments.

    Args:
        sampler: Its name.
        space: Search coordinates and their ranges.
        directions: Of the objectives.
        known: The trials before it, those without a result running.
        seed: Of the sampler.
        point: What is to be suggested; the sampler takes note of it.
    """
    study = optuna.create_study(directions=list(directions), sampler=_SAMPLERS[sampler](seed))
    if sampler != "random":  # which learns nothing, and a study would take ever longer to fill
        study.add_trials(known)
    if point is not None:
        study.enqueue_trial(dict(point))
    study.ask(fixed_distributions=dict(space))
    return study.get_trials(deepcopy=False)[-1]


def problem_of_coordinates(
    space: Mapping[str, BaseDistribution], coordinates: Mapping[str, Any]
) -> str | None:
    """Why search coordinates cannot be of a space; None if they can, as far as they go."""
    for name, value in coordinates.items():
        match space.get(name):
            case None:
                return f"{name} was not searched"
            case CategoricalDistribution(choices=choices):
                there = value in choices
            case FloatDistribution(low=low, high=high) | IntDistribution(low=low, high=high):
                there = type(value) in (int, float) and low <= value <= high
            case where:
                raise TypeError(f"{name}: no range of {where}")
        if not there:
            return f"{name} = {value!r} is not in what was searched"
    return None


def restored_coordinates(
    space: Mapping[str, BaseDistribution], stored: Mapping[str, Any]
) -> dict[str, Any]:
    """Search coordinates as Optuna knows them, from those that results have."""
    return {
        name: decode(value, _domain(space[name])) if name in space else value
        for name, value in stored.items()
    }


def _domain(where: BaseDistribution) -> Domain:
    if isinstance(where, CategoricalDistribution):
        return where.choices
    return int if isinstance(where, IntDistribution) else float


def with_coordinates(trial: FrozenTrial, coordinates: Mapping[str, Any]) -> FrozenTrial:
    """The suggestion with other search coordinates, if these are others and complete.

    Args:
        trial: The suggestion.
        coordinates: As results have them.
    """
    space = trial.distributions
    found = restored_coordinates(space, {k: v for k, v in coordinates.items() if k in space})
    whole = found.keys() == space.keys() and problem_of_coordinates(space, found) is None
    if not whole or found == trial.params:
        return trial
    return create_trial(
        state=TrialState.RUNNING,
        params=found,
        distributions=dict(space),
        system_attrs=_notes(trial),
    )


def as_trial(
    trial: FrozenTrial,
    state: TrialState,
    values: Sequence[float] | None = None,
    constraints: Mapping[str, float] | None = None,
    **attributes: Any,
) -> FrozenTrial:
    """The same suggestion in another state; with what the sampler noted of it.

    Args:
        trial: A suggestion.
        state: Its new state.
        values: Objectives of a complete one.
        constraints: By how much each is violated, of a complete one.
        attributes: What Optuna's storage should say of it.
    """
    return create_trial(
        state=state,
        values=values,
        params=trial.params,
        distributions=trial.distributions,
        system_attrs=_notes(trial),
        user_attrs=attributes,
        constraints=dict(constraints) if constraints and state is TrialState.COMPLETE else None,
    )


def _notes(trial: FrozenTrial) -> dict[str, Any]:
    """What the sampler noted of a suggestion: without constraints, which Optuna sets only once."""
    return {k: v for k, v in trial.system_attrs.items() if not k.startswith("constr")}
