"""Search spaces of a study, and the types of its initial points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    IntDistribution,
)

from ngm_tune.methods import Method, get_method
from ngm_tune.methods.named import is_named, with_ranges
from ngm_tune.results.columns import WHOLE_LIMIT, decode

SearchSpace = dict[str, BaseDistribution]
"""Distribution of each search coordinate of a method."""
_ROUNDING = 1e-9
_FLOAT_LIMIT = 1e300
"""Bounds of ranges are smaller in magnitude, so that differences of bounds are finite."""
TOML_TYPES = (bool, int, float, str)
"""Types of values that a study file can contain. Other values are written as strings."""
Reference = Literal["default", "paper"]
"""Untuned default settings of each optimizer, or the paper's settings for the benchmark."""
Point = Reference | dict[str, bool | int | float | str]
"""Hyper-parameters with their method and optionally a benchmark, or the name of a reference."""


def method_with_ranges(name: str, ranges: Mapping[str, Sequence[Any]]) -> Method:
    """Return a method by name; an optimizer of a library also has the ranges of the study.

    Args:
        name: Name of the method.
        ranges: Its ranges in ``search_space`` of the study.

    Raises:
        ValueError: The name is unknown, or a range is invalid.
    """
    method = get_method(name)
    return with_ranges(method, ranges) if is_named(name) else method


def narrow_space(method: Method, ranges: Mapping[str, Sequence[Any]]) -> SearchSpace:
    """Return the search space of a method with some of its ranges replaced.

    Args:
        method: The method.
        ranges: Lowest and highest value, or choices, of each search coordinate to replace.

    Raises:
        ValueError: The method has no such search coordinate, or a range is empty or invalid.
    """
    space = dict(method.space)
    for name, values in ranges.items():
        if name not in space:
            raise ValueError(
                f"search_space.{method.name} has {name}, which is not a search coordinate of "
                f"{method.name}; its search coordinates are {', '.join(space)}"
            )
        key = f"search_space.{method.name}.{name}"
        space[name] = _replace_range(key, space[name], list(values))
    return space


def _replace_range(key: str, former: BaseDistribution, values: list[Any]) -> BaseDistribution:
    if isinstance(former, CategoricalDistribution):
        values = [decode(value, former.choices) for value in values]
        if len(set(values)) < len(values):
            raise ValueError(f"{key} = {values}: a choice is listed twice")
        if not values or not set(values) <= set(former.choices):
            raise ValueError(
                f"{key} = {values}: must be a selection of {', '.join(map(str, former.choices))}"
            )
        return CategoricalDistribution(values)
    is_integer = isinstance(former, IntDistribution)
    types, limit = ((int,), WHOLE_LIMIT) if is_integer else ((int, float), _FLOAT_LIMIT)
    if len(values) != 2 or not all(type(v) in types and abs(v) < limit for v in values):
        numbers = "whole numbers" if is_integer else "finite numbers"
        raise ValueError(f"{key} = {values}: must be the lowest and the highest value, {numbers}")
    low, high = values
    if not low < high:
        raise ValueError(f"{key} = {values}: the range is empty; the first value must be lower")
    step = former.step  # type: ignore[attr-defined]
    if step is not None and not is_whole((high - low) / step):
        raise ValueError(f"{key} = {values}: the difference must be a multiple of the step, {step}")
    try:
        return type(former)(low=low, high=high, log=former.log, step=former.step)  # type: ignore[call-arg,attr-defined]
    except ValueError as error:
        raise ValueError(f"{key} = {values}: {error}") from error


def is_whole(steps: float) -> bool:
    """Whether a number of steps is a whole number, up to rounding errors."""
    return abs(steps - round(steps)) < _ROUNDING * max(1.0, abs(steps))
