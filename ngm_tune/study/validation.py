"""What must be true of a study beyond the types of its entries; errors are sentences."""

from __future__ import annotations

import math
from collections.abc import Iterable
from inspect import Parameter, signature
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from optuna.distributions import CategoricalDistribution

from ngm_tune.methods import Config, Method, get_method
from ngm_tune.metrics.constraints import Constraint
from ngm_tune.results.columns import INT64
from ngm_tune.study.sections import Confirm

if TYPE_CHECKING:
    from ngm_tune.study.study import Study

_OF_A_SEARCH = (
    "search_space",
    "points_to_evaluate",
    "constraints",
    "racing",
    "early_stopping",
    "plateau",
    "confirm",
)


def check_search(study: Study) -> None:
    """Raise unless what is said of the search fits the study."""
    _check_constraints(study.constraints)
    if study.settings is not None:
        for key in _OF_A_SEARCH:
            if getattr(study, key) not in (None, [], {}, Confirm()):
                raise ValueError(f"{key}: with settings there is no search that it could be for")
        return
    if study.racing is not None and len(study.seed_list) < 2:
        raise ValueError(f"racing: it needs several seeds, and seeds = {study.seeds}")
    for benchmark in study.benchmarks if study.early_stopping is not None else ():
        tasks = study.tasks(benchmark)
        if study.early_stopping is not None and study.early_stopping.grace_tasks >= tasks:
            raise ValueError(
                f"early_stopping.grace_tasks = {study.early_stopping.grace_tasks}: must be less than the {tasks} tasks of "
                f"{benchmark}"
            )
    _lacks_nothing(study)
    for method in study.search_space:
        if method not in study.methods:
            raise ValueError(
                f"search_space has {method}, which is no method of the study; those are "
                f"{', '.join(study.methods)}"
            )
        _corners_fit(study, method)
    for benchmark in study.benchmarks:
        for method in study.methods:
            count = len(study.points_of(benchmark, method))
            if count > study.trials:
                raise ValueError(
                    f"points_to_evaluate has {count} for {method}, more than trials = {study.trials}"
                )


def _check_constraints(constraints: list[str]) -> None:
    limits: list[Constraint] = []
    for text in constraints:
        try:
            limit = Constraint.parse(text)
        except ValueError as error:
            raise ValueError(f"constraints: {error}") from None
        best, worst = limit.metric.best, limit.metric.worst
        beyond = limit.violation(best) > 0.0 and limit.at_least == (limit.metric.sign < 0)
        if beyond and limit.metric.bounded:
            raise ValueError(
                f"constraints: {text!r} is beyond the ideal, {best:g}, so no trial could keep it"
            )
        if (
            worst is not None
            and limit.violation(worst) > 0.0
            and limit.at_least == (limit.metric.sign > 0)
        ):
            raise ValueError(
                f"constraints: {text!r} is beyond the worst, {worst:g}, so no trial could keep it"
            )
        limits.append(limit)
    if len(set(limits)) != len(limits):
        raise ValueError("constraints: one is listed twice")
    for low, high in product(limits, limits):
        if low.metric is high.metric and low.at_least > high.at_least and low.bound > high.bound:
            raise ValueError(
                f"constraints: {low.metric.name} cannot be at least {low.bound:g} and at most "
                f"{high.bound:g}"
            )


def fits(study: Study, key: str, method: str, settings: Config, *, complete: bool) -> None:
    """Raise unless a method can be built with these settings, on each benchmark of the study."""
    built = get_method(method)
    searched = [] if complete else [name for name in settings if name in built.hyperparameters]
    if searched:
        raise ValueError(f"{key} has {searched[0]}, which {method} searches")
    takes = signature(built.build).parameters
    for name, value in settings.items():
        searched_as = built.hyperparameters.get(name, str)  # which also stands for several types
        kind = _kind(takes.get(name)) if searched_as is str else searched_as
        if kind is not None and type(value) not in _KINDS[kind].types:
            raise ValueError(f"{key}.{name} = {value!r}: must be {_KINDS[kind].said}")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{key}.{name} = {value}: must be a finite number")
        if type(value) is int and not -INT64 <= value < INT64:
            raise ValueError(f"{key}.{name} = {value}: must be a whole number of 64 bits")
    for benchmark in study.benchmarks:
        own = {} if complete else built.example
        arguments = own | study.fixed_hyperparameters(benchmark, method) | settings
        problem = _problem_of(study, benchmark, built, arguments)
        if problem is not None:
            given = ", ".join(f"{k} = {v!r}" for k, v in settings.items()) or "nothing"
            where = f" on {benchmark}" if len(study.benchmarks) > 1 else ""
            raise ValueError(
                f"{key} has {given}{where}: {problem}; searched are "
                f"{', '.join(built.hyperparameters) or 'none'}"
            )


def _problem_of(study: Study, benchmark: str, method: Method, arguments: Config) -> str | None:
    """Why a method cannot be built so for a benchmark's network; None if it can."""
    try:
        model = study.network(benchmark)
        signature(method.build).bind(model, **arguments)
        method.build(model, **arguments)
    except (TypeError, ValueError) as error:
        return str(error)
    except Exception as error:  # whatever somebody's build raises
        return repr(error)
    return None


def _lacks_nothing(study: Study) -> None:
    """Raise unless what methods cannot be built without is searched or given."""
    unfixed = [method for method in study.methods if method not in study.fixed]
    for benchmark, method in product(study.benchmarks, unfixed):  # ``fits`` looks at the others
        built = get_method(method)
        there = built.example | study.fixed_hyperparameters(benchmark, method)
        try:
            signature(built.build).bind(None, **there)
        except TypeError as error:
            raise ValueError(f"{method} lacks what fixed.{method} could give: {error}") from error


class _Kind(NamedTuple):
    types: tuple[type, ...]
    said: str


_KINDS = {
    bool: _Kind((bool,), "true or false"),
    int: _Kind((int,), "a whole number"),
    float: _Kind((int, float), "a number"),
    str: _Kind((str,), "a text"),
}
"""What a setting of a type may be in a study."""


def _kind(parameter: Parameter | None) -> type | None:
    """The type of a parameter of a method, where it says one that a study can be held to."""
    if parameter is None:
        return None
    said = parameter.annotation
    if said is Parameter.empty and type(parameter.default) in (bool, float, str):
        return type(parameter.default)
    return next((kind for kind in _KINDS if said in (kind, kind.__name__)), None)


def _corners_fit(study: Study, method: str) -> None:
    """Raise unless a method can be built at both ends of its ranges."""
    built, space = get_method(method), study.space_of(method)
    for end in ("low", "high"):
        point = {
            name: where.choices[0 if end == "low" else -1]
            if isinstance(where, CategoricalDistribution)
            else getattr(where, end)
            for name, where in space.items()
        }
        for benchmark in study.benchmarks:
            arguments = study.fixed_hyperparameters(benchmark, method) | built.settings_at(point)
            problem = _problem_of(study, benchmark, built, arguments)
            if problem is not None:
                raise ValueError(f"search_space.{method} allows {point}: {problem}")


def known(names: list[str], there: Iterable[str], kind: str, hint: str = "") -> list[str]:
    """The names, if each of them is there and no one twice; else an error, perhaps with a hint."""
    allowed = list(there)
    for name in names:
        if name not in allowed:
            found = f"no {kind} {name!r}; there are {', '.join(allowed)}"
            raise ValueError(f"{found}; {hint}" if hint else found)
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"the {kind} {name!r} is listed twice")
    return names
