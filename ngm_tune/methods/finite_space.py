"""Points of search spaces, and the configurations of finite search spaces by index."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)


class Grid:
    """The configurations of a search space without continuous coordinates.

    The search space of a method without searched hyper-parameters has one configuration.

    Args:
        space: Distributions of the search coordinates, none of them continuous.
    """

    def __init__(self, space: Mapping[str, BaseDistribution]) -> None:
        self._space = space
        self._counts = {name: _count(axis) for name, axis in space.items()}

    @property
    def size(self) -> int:
        """Number of configurations."""
        return math.prod(self._counts.values())

    def index_of(self, coordinates: Mapping[str, Any]) -> int:
        """Return the index of the configuration at search coordinates, from 0."""
        index = 0
        for name, count in self._counts.items():
            index = index * count + _position(self._space[name], coordinates[name])
        return index

    def at(self, index: int) -> dict[str, Any]:
        """Return the search coordinates of the configuration with an index."""
        coordinates = {}
        for name, count in reversed(self._counts.items()):
            index, position = divmod(index, count)
            coordinates[name] = _value(self._space[name], position)
        return dict(reversed(coordinates.items()))


def grid_of(space: Mapping[str, BaseDistribution]) -> Grid | None:
    """Return the grid of a search space; None if a coordinate is continuous."""
    return None if any(map(_is_continuous, space.values())) else Grid(space)


def draw_points(space: Mapping[str, BaseDistribution], count: int) -> list[dict[str, Any]]:
    """Draw ``count`` random points of a search space, the same in every call."""
    random = np.random.default_rng(0)
    return [{name: _draw(axis, random) for name, axis in space.items()} for _ in range(count)]


def corner(space: Mapping[str, BaseDistribution], *, high: bool) -> dict[str, Any]:
    """Return the corner of a search space with all lowest or all highest values.

    The lowest value of a categorical coordinate is its first choice, the highest its last.
    """
    return {name: _bound(axis, high=high) for name, axis in space.items()}


def centre(space: Mapping[str, BaseDistribution]) -> dict[str, Any]:
    """Return the centre of a search space: the geometric mean of bounds on a logarithmic scale."""
    return {name: _middle(axis) for name, axis in space.items()}


def _middle(axis: BaseDistribution) -> Any:
    if isinstance(axis, CategoricalDistribution):
        return axis.choices[len(axis.choices) // 2]
    assert isinstance(axis, IntDistribution | FloatDistribution)
    middle = (axis.low * axis.high) ** 0.5 if axis.log else (axis.low + axis.high) / 2
    if axis.step is not None:
        middle = axis.low + round((middle - axis.low) / axis.step) * axis.step
    return type(axis.low)(middle)


def _bound(axis: BaseDistribution, *, high: bool) -> Any:
    if isinstance(axis, CategoricalDistribution):
        return axis.choices[-1 if high else 0]
    assert isinstance(axis, IntDistribution | FloatDistribution)
    return axis.high if high else axis.low


def _draw(axis: BaseDistribution, random: np.random.Generator) -> Any:
    if not _is_continuous(axis):
        return _value(axis, int(random.integers(min(_count(axis), 2**62))))
    assert isinstance(axis, FloatDistribution)
    if axis.log:
        return math.exp(random.uniform(math.log(axis.low), math.log(axis.high)))
    return random.uniform(axis.low, axis.high)


def _is_continuous(axis: BaseDistribution) -> bool:
    return isinstance(axis, FloatDistribution) and axis.step is None and not axis.single()


def _count(axis: BaseDistribution) -> int:
    """Return the number of values of a coordinate that is not continuous."""
    if isinstance(axis, CategoricalDistribution):
        return len(axis.choices)
    assert isinstance(axis, IntDistribution | FloatDistribution)
    return 1 if axis.single() else _position(axis, axis.high) + 1


def _position(axis: BaseDistribution, value: Any) -> int:
    if isinstance(axis, CategoricalDistribution):
        return int(axis.to_internal_repr(value))
    assert isinstance(axis, IntDistribution | FloatDistribution)
    position: int = round((value - axis.low) / (axis.step or 1))
    return position


def _value(axis: BaseDistribution, position: int) -> Any:
    if isinstance(axis, CategoricalDistribution):
        return axis.choices[position]
    assert isinstance(axis, IntDistribution | FloatDistribution)
    return min(axis.low + position * (axis.step or 1), axis.high)
