"""Where a study searches: ranges it narrows, and points it starts from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from ngm_tune.methods import Config, Method, get_method
from ngm_tune.results.columns import INT64, restored
from ngm_tune.study.paper import paper_study

SearchSpace = dict[str, BaseDistribution]
_ROUNDING = 1e-9
_HUGE = 1e300
IN_TOML = (bool, int, float, str)
"""Types of the values that a study can give; any other value is spelled as a text."""
Point = Literal["paper"] | dict[str, bool | int | float | str]
"""Settings with their method, and possibly a benchmark; or those that the paper has."""


def narrowed(method: Method, ranges: Mapping[str, Sequence[Any]]) -> SearchSpace:
    """The search space of a method with some of its ranges replaced.

    Args:
        method: The method.
        ranges: By search coordinate its lowest and highest value, or its choices.

    Raises:
        ValueError: A coordinate is not searched, or its range is empty or not allowed.
    """
    space = dict(method.space)
    for name, values in ranges.items():
        if name not in space:
            raise ValueError(
                f"search_space.{method.name} has {name}, which it does not search; searched are "
                f"{', '.join(space)}"
            )
        space[name] = _replaced(f"search_space.{method.name}.{name}", space[name], list(values))
    return space


def _replaced(key: str, former: BaseDistribution, values: list[Any]) -> BaseDistribution:
    if isinstance(former, CategoricalDistribution):
        values = [restored(value, former.choices) for value in values]
        if len(set(values)) < len(values):
            raise ValueError(f"{key} = {values}: one is listed twice")
        if not values or not set(values) <= set(former.choices):
            raise ValueError(
                f"{key} = {values}: must be some of {', '.join(map(str, former.choices))}"
            )
        return CategoricalDistribution(values)
    kind, limit = ((int,), INT64) if isinstance(former, IntDistribution) else ((int, float), _HUGE)
    if len(values) != 2 or not all(type(v) in kind and abs(v) < limit for v in values):
        what = "whole numbers" if kind == (int,) else "finite numbers"
        raise ValueError(f"{key} = {values}: must be its lowest and its highest value, {what}")
    low, high = values
    if not low < high:
        raise ValueError(f"{key} = {values}: the range is empty; the first must be the lower one")
    step = former.step  # type: ignore[attr-defined]
    if step is not None and not _is_whole((high - low) / step):
        raise ValueError(f"{key} = {values}: must be a whole number of steps of {step} apart")
    try:
        return type(former)(low=low, high=high, log=former.log, step=former.step)  # type: ignore[call-arg,attr-defined]
    except ValueError as error:
        raise ValueError(f"{key} = {values}: {error}") from error


def located(key: str, method: Method, space: SearchSpace, settings: Config) -> Config:
    """The search coordinates of hyper-parameters, which must lie in the search space.

    Args:
        key: How errors call it.
        method: The method.
        space: What is searched of it.
        settings: All of its searched hyper-parameters. A choice that TOML does not have, such as
            None, is spelled as a text.

    Raises:
        ValueError: One is missing, unknown, no number, or outside.
    """
    searched = method.domains
    if set(settings) != set(searched):
        raise ValueError(
            f"{key} has {', '.join(settings) or 'nothing'} for {method.name}; it must have "
            f"{', '.join(searched)}"
        )
    settings = {
        name: value if isinstance(searched[name], type) else restored(value, searched[name])
        for name, value in settings.items()
    }
    try:
        point = method.coordinates_of(settings)
        point = {name: point[name] for name in space}
    except (KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"{key}: {settings} are no settings of {method.name}: {error}") from error
    told = ", ".join(f"{k} = {v!r}" for k, v in settings.items())
    for name, where in space.items():
        point[name] = value = _rounded(point[name], where)
        if not _is_inside(value, where):
            raise ValueError(
                f"{key} has {told}, which puts {name} at {value!r}, outside of what is searched of "
                f"{method.name}: {_spelled(where)}"
            )
    back = method.settings_at(point)
    if any(not _same(back.get(name), value) for name, value in settings.items()):
        raise ValueError(
            f"{key} has {told}, which {method.name} does not give back: its locate is not the "
            "inverse of its configure"
        )
    return point


def _rounded(value: Any, where: BaseDistribution) -> Any:
    """The end of a range that a value misses by no more than rounding, or else the value."""
    if not isinstance(where, (FloatDistribution, IntDistribution)) or not _is_number(value):
        return value
    if isinstance(where, IntDistribution) and value == int(value):
        return int(value)
    ends = [end for end in (where.low, where.high) if _same(value, end)]
    return ends[0] if ends else value


def _spelled(where: BaseDistribution) -> str:
    """What is searched of a coordinate, in words."""
    if isinstance(where, CategoricalDistribution):
        return f"one of {', '.join(map(str, where.choices))}"
    assert isinstance(where, FloatDistribution | IntDistribution)
    step = f" in steps of {where.step}" if where.step not in (None, 1) else ""
    return f"{where.low} to {where.high}{step}"


def _is_inside(value: Any, where: BaseDistribution) -> bool:
    if isinstance(where, CategoricalDistribution):
        return value in where.choices
    if not _is_number(value) or (isinstance(where, IntDistribution) and type(value) is not int):
        return False
    assert isinstance(where, FloatDistribution | IntDistribution)
    on_grid = where.step is None or _is_whole((value - where.low) / where.step)
    return on_grid and bool(where.low <= value <= where.high)


def _is_whole(steps: float) -> bool:
    return abs(steps - round(steps)) < _ROUNDING * max(1.0, abs(steps))


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _same(a: Any, b: Any) -> bool:
    return (
        math.isclose(a, b, rel_tol=_ROUNDING) if _is_number(a) and _is_number(b) else bool(a == b)
    )


def points_for(
    points: Sequence[Point],
    benchmark: str,
    method: str,
    benchmarks: Sequence[str],
    methods: Sequence[str],
) -> list[tuple[str, Config]]:
    """The points that are for a benchmark and method, and how errors call each.

    Args:
        points: Those of the study.
        benchmark: Of the study's ``benchmarks``.
        method: Of the study's ``methods``.
        benchmarks: What points can be for.
        methods: What points can be of.

    Raises:
        ValueError: A point is of another method or for another benchmark, or there is none.
    """
    found = []
    for number, point in enumerate(points):
        key = f"points_to_evaluate[{number}]"
        if isinstance(point, str):
            settings = published(benchmark)
            if not settings:
                raise ValueError(f'{key} = "paper": the paper has no settings for {benchmark}')
            searched = get_method(method).hyperparameters
            own = {k: v for k, v in settings.get(method, {}).items() if k in searched}
            found += [(key, own)] if own else []
            continue
        for name, allowed in (("method", methods), ("benchmark", benchmarks)):
            if point.get(name, benchmark if name == "benchmark" else None) not in allowed:
                raise ValueError(
                    f"{key}.{name} = {point.get(name)!r}: must be one of the study's, "
                    f"{', '.join(allowed)}"
                )
        if point["method"] == method and point.get("benchmark", benchmark) == benchmark:
            given = {k: v for k, v in point.items() if k not in ("method", "benchmark")}
            found.append((key, given))
    return found


def published(benchmark: str) -> dict[str, Config]:
    """The paper's settings of a benchmark, by method; {} if it has none."""
    return dict(paper_study(benchmark).get("settings", {}))
