"""Where a study searches: ranges it narrows, and points it starts from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    IntDistribution,
)

from ngm_tune.methods import Method
from ngm_tune.results.columns import INT64_LIMIT, decode

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
        values = [decode(value, former.choices) for value in values]
        if len(set(values)) < len(values):
            raise ValueError(f"{key} = {values}: one is listed twice")
        if not values or not set(values) <= set(former.choices):
            raise ValueError(
                f"{key} = {values}: must be some of {', '.join(map(str, former.choices))}"
            )
        return CategoricalDistribution(values)
    kind, limit = (
        ((int,), INT64_LIMIT) if isinstance(former, IntDistribution) else ((int, float), _HUGE)
    )
    if len(values) != 2 or not all(type(v) in kind and abs(v) < limit for v in values):
        what = "whole numbers" if kind == (int,) else "finite numbers"
        raise ValueError(f"{key} = {values}: must be its lowest and its highest value, {what}")
    low, high = values
    if not low < high:
        raise ValueError(f"{key} = {values}: the range is empty; the first must be the lower one")
    step = former.step  # type: ignore[attr-defined]
    if step is not None and not is_whole((high - low) / step):
        raise ValueError(f"{key} = {values}: must be a whole number of steps of {step} apart")
    try:
        return type(former)(low=low, high=high, log=former.log, step=former.step)  # type: ignore[call-arg,attr-defined]
    except ValueError as error:
        raise ValueError(f"{key} = {values}: {error}") from error


def is_whole(steps: float) -> bool:
    """Whether a number of steps is whole, up to rounding."""
    return abs(steps - round(steps)) < _ROUNDING * max(1.0, abs(steps))
