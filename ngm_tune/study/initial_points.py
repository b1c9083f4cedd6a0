"""Initial points: the configurations with which the searches of a study start."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from ngm_tune.methods import Config, Method, get_method
from ngm_tune.results.columns import decode
from ngm_tune.study.paper import paper_study
from ngm_tune.study.search_spaces import Point, SearchSpace, is_whole

_ROUNDING = 1e-9
"""Relative difference that rounding can cause."""


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
    methods: Sequence[str],
) -> list[tuple[str, Config]]:
    """Return the initial points of a benchmark and method, each with its key for messages.

    Args:
        points: ``points_to_evaluate`` of the study.
        benchmark: Name of the benchmark.
        method: Name of the method.
        benchmarks: Benchmarks of the study.
        methods: Methods of the study.

    Raises:
        ValueError: The study does not have the method or benchmark of a point, or the paper has no
            settings for the benchmark.
    """
    selected = []
    for number, point in enumerate(points):
        key = f"points_to_evaluate[{number}]"
        if isinstance(point, str):
            of_paper = paper_settings(benchmark)
            if not of_paper:
                raise ValueError(f'{key} = "paper": the paper has no settings for {benchmark}')
            searched = get_method(method).hyperparameters
            published = {k: v for k, v in of_paper.get(method, {}).items() if k in searched}
            selected += [(key, published)] if published else []
            continue
        for name, allowed in (("method", methods), ("benchmark", benchmarks)):
            if point.get(name, benchmark if name == "benchmark" else None) not in allowed:
                raise ValueError(
                    f"{key}.{name} = {point.get(name)!r}: must be a {name} of the study: "
                    f"{', '.join(allowed)}"
                )
        if point["method"] == method and point.get("benchmark", benchmark) == benchmark:
            settings = {k: v for k, v in point.items() if k not in ("method", "benchmark")}
            selected.append((key, settings))
    return selected


def paper_settings(benchmark: str) -> dict[str, Config]:
    """Return the paper's settings for a benchmark by method; {} if the paper has none."""
    return dict(paper_study(benchmark).get("settings", {}))
