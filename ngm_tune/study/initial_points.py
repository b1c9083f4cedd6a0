"""Initial points: the configurations with which searches start."""

from __future__ import annotations

import math
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
        name: value if isinstance(searched[name], type) else decode(value, searched[name])
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
    on_grid = where.step is None or is_whole((value - where.low) / where.step)
    return on_grid and bool(where.low <= value <= where.high)


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
