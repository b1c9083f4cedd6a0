"""Initial points: the configurations with which the searches of a study start."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from ngm_tune.methods import Config, Method
from ngm_tune.results.columns import decode
from ngm_tune.study.paper import paper_study
from ngm_tune.study.search_spaces import Point, Reference, SearchSpace, is_whole

_ROUNDING = 1e-9
"""Relative difference that rounding can cause."""


class InitialPoint(NamedTuple):
    """An initial point of the search of one method on one benchmark.

    Attributes:
        key: Its key in the study, for messages.
        settings: Values of all searched hyper-parameters.
        reference: Name of the reference that the point is, if any.
    """

    key: str
    settings: Config
    reference: Reference | None


def locate(key: str, method: Method, space: SearchSpace, settings: Config) -> Config:
    """Return the search coordinates of hyper-parameters.

    Args:
        key: Key of the hyper-parameters in the study, for messages.
        method: The method.
        space: Search space of the method in the study.
        settings: All searched hyper-parameters of the method. Choices that TOML cannot express,
            such as None, are strings.

    Raises:
        ValueError: A hyper-parameter is missing, unknown, invalid or outside the search space.
    """
    domains = method.domains
    if set(settings) != set(domains):
        raise ValueError(
            f"{key} has {', '.join(settings) or 'nothing'} for {method.name}; it must have "
            f"{', '.join(domains)}"
        )
    settings = {
        name: value if isinstance(domains[name], type) else decode(value, domains[name])
        for name, value in settings.items()
    }
    try:
        point = method.coordinates_of(settings)
        point = {name: point[name] for name in space}
    except (KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise ValueError(
            f"{key}: {settings} are not valid settings of {method.name}: {error}"
        ) from error
    listed = ", ".join(f"{k} = {v!r}" for k, v in settings.items())
    for name, distribution in space.items():
        point[name] = value = _snap_to_bounds(point[name], distribution)
        if not _is_inside(value, distribution):
            raise ValueError(
                f"{key} has {listed}: {name} = {value!r} is outside the search space of "
                f"{method.name}, {_describe(distribution)}"
            )
    configured = method.settings_at(point)
    if any(not _is_close(configured.get(name), value) for name, value in settings.items()):
        raise ValueError(
            f"{key} has {listed}: locate of {method.name} is not the inverse of its configure, "
            f"which returns {configured}"
        )
    return point


def _snap_to_bounds(value: Any, distribution: BaseDistribution) -> Any:
    """Return the bound of a range if a value differs from it by rounding only, else the value."""
    if not isinstance(distribution, FloatDistribution | IntDistribution) or not _is_number(value):
        return value
    if isinstance(distribution, IntDistribution) and value == int(value):
        return int(value)
    bounds = (distribution.low, distribution.high)
    return next((bound for bound in bounds if _is_close(value, bound)), value)


def _describe(distribution: BaseDistribution) -> str:
    """Return the values of a search coordinate in words."""
    if isinstance(distribution, CategoricalDistribution):
        return f"one of {', '.join(map(str, distribution.choices))}"
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    step = f" in steps of {distribution.step}" if distribution.step not in (None, 1) else ""
    return f"{distribution.low} to {distribution.high}{step}"


def _is_inside(value: Any, distribution: BaseDistribution) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    if not _is_number(value):
        return False
    if isinstance(distribution, IntDistribution) and type(value) is not int:
        return False
    low, high, step = distribution.low, distribution.high, distribution.step
    return bool(low <= value <= high) and (step is None or is_whole((value - low) / step))


def _is_number(value: Any) -> bool:
    """Whether a value is a finite number that a float can hold."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def _is_close(a: Any, b: Any) -> bool:
    if _is_number(a) and _is_number(b):
        return math.isclose(a, b, rel_tol=_ROUNDING)
    return bool(a == b)


def select_points(
    points: Sequence[Point],
    benchmark: str,
    method: str,
    benchmarks: Sequence[str],
    methods: Mapping[str, Method],
) -> list[InitialPoint]:
    """Return the initial points of a benchmark and method.

    A reference gives no point to a method for which it has no settings.

    Args:
        points: ``points_to_evaluate`` of the study.
        benchmark: Name of the benchmark.
        method: Name of the method.
        benchmarks: Benchmarks of the study.
        methods: Methods of the study by name.

    Raises:
        ValueError: The study does not have the method or benchmark of a point, the paper has no
            settings for the benchmark, or no method has default settings.
    """
    selected = []
    for number, point in enumerate(points):
        key = f"points_to_evaluate[{number}]"
        if isinstance(point, str):
            of_methods = _reference_settings(key, point, benchmark, methods)
            searched = methods[method].hyperparameters
            settings = {k: v for k, v in of_methods.get(method, {}).items() if k in searched}
            selected += [InitialPoint(key, settings, point)] if settings else []
            continue
        for name, allowed in (("method", methods), ("benchmark", benchmarks)):
            if point.get(name, benchmark if name == "benchmark" else None) not in allowed:
                raise ValueError(
                    f"{key}.{name} = {point.get(name)!r}: must be a {name} of the study: "
                    f"{', '.join(allowed)}"
                )
        if point["method"] == method and point.get("benchmark", benchmark) == benchmark:
            settings = {k: v for k, v in point.items() if k not in ("method", "benchmark")}
            selected.append(InitialPoint(key, settings, None))
    return selected


def _reference_settings(
    key: str, reference: Reference, benchmark: str, methods: Mapping[str, Method]
) -> dict[str, Config]:
    """Return the settings of a reference by method, for the methods that have any.

    Raises:
        ValueError: No method has any.
    """
    if reference == "paper":
        published = paper_settings(benchmark)
        if not published:
            raise ValueError(f'{key} = "paper": the paper has no settings for {benchmark}')
        return published
    defaults = {name: each.default for name, each in methods.items()}
    settings = {name: dict(default) for name, default in defaults.items() if default}
    if not settings:
        raise ValueError(
            f'{key} = "default": no method of the study has default settings: {", ".join(methods)}'
        )
    return settings


def paper_settings(benchmark: str) -> dict[str, Config]:
    """Return the paper's settings for a benchmark by method; {} if the paper has none."""
    return dict(paper_study(benchmark).get("settings", {}))
