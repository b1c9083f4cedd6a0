"""Validation of a study against its methods and benchmarks, without building anything."""

from __future__ import annotations

import math
from inspect import Parameter, signature
from itertools import product
from typing import NamedTuple

from ngm_tune.benchmarks import BENCHMARKS, CUSTOM
from ngm_tune.methods import Config, methods
from ngm_tune.methods.named import is_named
from ngm_tune.methods.named_checks import require_space
from ngm_tune.methods.registry import current_registry
from ngm_tune.metrics.constraints import Constraint
from ngm_tune.results.columns import TEXT_SUFFIX, WHOLE_LIMIT
from ngm_tune.results.ids import is_like_repetition
from ngm_tune.study.names import check_names
from ngm_tune.study.plan import StudyPlan
from ngm_tune.study.sections import Confirm
from ngm_tune.study.study import Study

_METHOD_HINT = (
    "an optimizer of a library is named as torch:Adagrad or pytorch_optimizer:Lion; other methods "
    "need --methods FILE or a package that is not installed"
)
_SEARCH_KEYS = ("search_space", "points_to_evaluate", "constraints", "confirm")
"""Keys that a study with fixed hyper-parameters (``settings``) cannot have."""


def validate(study: Study) -> StudyPlan:
    """Check a study against its methods and benchmarks.

    :func:`ngm_tune.study.builds.check_builds` checks further that the methods can be built.

    Returns:
        The plan of the study.

    Raises:
        ValueError: An entry is invalid; the message names the key, the value and the rule.
    """
    _check_names(study)
    for method in filter(is_like_repetition, study.methods):
        raise ValueError(f"methods has {method}: in the ids of trials it would be a repetition")
    for method in study.search_space:
        _require_method(study, "search_space", method)
    plan = StudyPlan.resolve(study)
    _check_columns(plan)
    _check_arrangement(plan)
    _check_search(plan)
    _check_fixed(plan)
    _check_settings(plan)
    for name in filter(is_named, study.methods) if study.settings is None else ():
        require_space(plan.methods[name], study.fixed.get(name, {}))
    return plan


def _check_names(study: Study) -> None:
    registry = current_registry()
    for name in study.methods:
        if (reason := registry.explain_missing(name)) is not None:
            raise ValueError(f"methods = {study.methods!r}: no method {name!r}: {reason}")
    about_methods = "; ".join([_METHOD_HINT, *(broken.reason for broken in registry.broken)])
    for kind, names, allowed, hint in (
        ("benchmark", study.benchmarks, [*BENCHMARKS, CUSTOM], ""),
        ("method", study.methods, [*methods(), *filter(is_named, study.methods)], about_methods),
    ):
        try:
            check_names(names, allowed, kind, hint)
        except ValueError as error:
            raise ValueError(f"{kind}s = {names!r}: {error}") from None


def _require_method(study: Study, key: str, name: str) -> None:
    if name not in study.methods:
        raise ValueError(
            f"{key} has {name}, which is not a method of the study; its methods are "
            f"{', '.join(study.methods)}"
        )


def _check_columns(plan: StudyPlan) -> None:
    """Raise ValueError if two hyper-parameters have a results column in common."""
    for kinds in (plan.hyperparameters, plan.coordinates):
        for name, kind in kinds.items():
            other = name + TEXT_SUFFIX
            if kind != "float" and kinds.get(other, "str") != "str":
                raise ValueError(
                    f"methods = {plan.study.methods}: the hyper-parameter {name}, as text, and the "
                    f"hyper-parameter {other} have the same results column; rename one of them"
                )


def _check_arrangement(plan: StudyPlan) -> None:
    """Raise ValueError if a class order is to be drawn where there is none."""
    if plan.study.class_order == "drawn" and not any(b.has_order for b in plan.outlines.values()):
        raise ValueError(
            f'class_order = "drawn": {", ".join(plan.outlines)} has the same classes in every task'
        )


def _check_search(plan: StudyPlan) -> None:
    """Raise ValueError unless the keys of the search are valid."""
    study = plan.study
    _check_constraints(study.constraints)
    if study.settings is not None:
        for key in _SEARCH_KEYS:
            if getattr(study, key) not in (None, [], {}, Confirm()):
                raise ValueError(f"{key}: a study with settings has no search")
        return
    _check_transfer(study)
    _check_arguments(plan)
    for benchmark_name, method in product(study.benchmarks, study.methods):
        count = len(plan.points_of(benchmark_name, method))
        if count > study.trials:
            raise ValueError(
                f"points_to_evaluate has {count} points for {method}, more than trials = "
                f"{study.trials}"
            )


def _check_transfer(study: Study) -> None:
    """Raise ValueError if selected configurations have no other benchmark to run on."""
    if not study.confirm.transfer:
        return
    if len(study.benchmarks) < 2:
        raise ValueError(
            "confirm.transfer = true: needs at least two benchmarks; benchmarks = "
            f"{study.benchmarks}"
        )
    if not study.confirm.max_configurations:
        raise ValueError(
            "confirm.transfer = true: needs confirm.max_configurations of at least 1, since only "
            "confirmed configurations are transferred"
        )


def _check_constraints(constraints: list[str]) -> None:
    parsed: list[Constraint] = []
    for text in constraints:
        try:
            constraint = Constraint.parse(text)
        except ValueError as error:
            raise ValueError(f"constraints: {error}") from None
        metric, is_lower_bound = constraint.metric, constraint.at_least
        beyond_ideal = constraint.violation(metric.best) > 0.0 and is_lower_bound == (
            metric.sign < 0
        )
        if beyond_ideal and metric.bounded:
            raise ValueError(
                f"constraints: {text!r} is beyond the ideal value, {metric.best:g}; no trial can "
                "be feasible"
            )
        if (
            metric.worst is not None
            and constraint.violation(metric.worst) > 0.0
            and is_lower_bound == (metric.sign > 0)
        ):
            raise ValueError(
                f"constraints: {text!r} is beyond the worst value, {metric.worst:g}; no trial can "
                "be feasible"
            )
        parsed.append(constraint)
    if len(set(parsed)) != len(parsed):
        raise ValueError("constraints: a constraint is listed twice")
    for low, high in product(parsed, parsed):
        if low.metric is high.metric and low.at_least > high.at_least and low.bound > high.bound:
            raise ValueError(
                f"constraints: {low.metric.name} cannot be at least {low.bound:g} and at most "
                f"{high.bound:g}"
            )


def _check_arguments(plan: StudyPlan) -> None:
    """Raise ValueError unless every required hyper-parameter is searched or fixed."""
    study = plan.study
    unfixed = [method for method in study.methods if method not in study.fixed]
    for benchmark, name in product(study.benchmarks, unfixed):  # _check_fixed checks the others
        method = plan.methods[name]
        arguments = method.example | plan.fixed_hyperparameters(benchmark, name)
        try:
            signature(method.build).bind(None, **arguments)
        except TypeError as error:
            raise ValueError(
                f"{name} needs a hyper-parameter that fixed.{name} can set: {error}"
            ) from error


def _check_fixed(plan: StudyPlan) -> None:
    for name, fixed in plan.study.fixed.items():
        _require_method(plan.study, "fixed", name)
        _check_hyperparameters(plan, f"fixed.{name}", name, fixed, complete=False)


def _check_settings(plan: StudyPlan) -> None:
    study = plan.study
    if study.settings is None:
        return
    if study.trials != 1:
        raise ValueError(f"trials = {study.trials}: a study with settings has one trial per method")
    if set(study.settings) != set(study.methods):
        raise ValueError(
            f"settings has {', '.join(study.settings)}; it must have the methods of the study, "
            f"{', '.join(study.methods)}"
        )
    for name, settings in study.settings.items():
        _check_hyperparameters(plan, f"settings.{name}", name, settings, complete=True)


def _check_hyperparameters(
    plan: StudyPlan, key: str, name: str, settings: Config, *, complete: bool
) -> None:
    """Raise ValueError unless hyper-parameters have values of the right types.

    Args:
        plan: The plan of the study.
        key: Key of the hyper-parameters in the study, for messages.
        name: Name of the method.
        settings: The hyper-parameters.
        complete: Whether these are all hyper-parameters; otherwise others are searched.
    """
    method = plan.methods[name]
    searched = [] if complete else [k for k in settings if k in method.hyperparameters]
    if searched:
        raise ValueError(f"{key} has {searched[0]}, which is a searched hyper-parameter of {name}")
    parameters = signature(method.build).parameters
    for parameter, value in settings.items():
        # The type str of a searched hyper-parameter can also mean choices of several types.
        searched_type = method.hyperparameters.get(parameter, str)
        kind = _annotated_type(parameters.get(parameter)) if searched_type is str else searched_type
        if kind is not None and type(value) not in _KINDS[kind].types:
            raise ValueError(f"{key}.{parameter} = {value!r}: must be {_KINDS[kind].title}")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{key}.{parameter} = {value}: must be a finite number")
        if type(value) is int and abs(value) > WHOLE_LIMIT:
            raise ValueError(
                f"{key}.{parameter} = {value}: must be a whole number from -2**53 to 2**53"
            )


class _Kind(NamedTuple):
    types: tuple[type, ...]
    title: str


_KINDS = {
    bool: _Kind((bool,), "true or false"),
    int: _Kind((int,), "a whole number"),
    float: _Kind((int, float), "a number"),
    str: _Kind((str,), "a string"),
}
"""Allowed TOML values of a hyper-parameter of each type."""


def _annotated_type(parameter: Parameter | None) -> type | None:
    """Return the type of a parameter by annotation or default; None if it is not in _KINDS."""
    if parameter is None:
        return None
    annotation = parameter.annotation
    if annotation is Parameter.empty and type(parameter.default) in (bool, float, str):
        return type(parameter.default)
    return next((kind for kind in _KINDS if annotation in (kind, kind.__name__)), None)
