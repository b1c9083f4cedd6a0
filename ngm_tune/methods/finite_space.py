"""Search spaces that have so many configurations and no more, each with a number."""

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
    """The configurations of a search space whose every coordinate has a number of values.

    One without coordinates, of a method that leaves nothing to be tuned, has one configuration.

    Args:
        space: Search coordinates and their ranges, none of them of real numbers.
    """

    def __init__(self, space: Mapping[str, BaseDistribution]) -> None:
        self._space = space
        self._counts = {name: _count(where) for name, where in space.items()}

    @property
    def size(self) -> int:
        """How many configurations there are."""
        return math.prod(self._counts.values())

    def number(self, coordinates: Mapping[str, Any]) -> int:
        """The number of a configuration, from 0, by its search coordinates."""
        number = 0
        for name, count in self._counts.items():
            number = number * count + _place(self._space[name], coordinates[name])
        return number

    def at(self, number: int) -> dict[str, Any]:
        """The search coordinates of a configuration by its number."""
        found = {}
        for name, count in reversed(self._counts.items()):
            number, place = divmod(number, count)
            found[name] = _value(self._space[name], place)
        return dict(reversed(found.items()))


def grid_of(space: Mapping[str, BaseDistribution]) -> Grid | None:
    """The grid of a search space; None if something is searched among real numbers."""
    return None if any(map(_is_real, space.values())) else Grid(space)


def scattered(space: Mapping[str, BaseDistribution], count: int) -> list[dict[str, Any]]:
    """So many points from all over a search space, always the same."""
    random = np.random.default_rng(0)
    return [{name: _drawn(where, random) for name, where in space.items()} for _ in range(count)]


def _drawn(where: BaseDistribution, random: np.random.Generator) -> Any:
    if not _is_real(where):
        return _value(where, int(random.integers(min(_count(where), 2**62))))
    assert isinstance(where, FloatDistribution)
    if where.log:
        return math.exp(random.uniform(math.log(where.low), math.log(where.high)))
    return random.uniform(where.low, where.high)


def _is_real(where: BaseDistribution) -> bool:
    return isinstance(where, FloatDistribution) and where.step is None and not where.single()


def _count(where: BaseDistribution) -> int:
    """How many values a coordinate has that is not of real numbers."""
    if isinstance(where, CategoricalDistribution):
        return len(where.choices)
    assert isinstance(where, IntDistribution | FloatDistribution)
    return 1 if where.single() else _place(where, where.high) + 1


def _place(where: BaseDistribution, value: Any) -> int:
    if isinstance(where, CategoricalDistribution):
        return int(where.to_internal_repr(value))
    assert isinstance(where, IntDistribution | FloatDistribution)
    place: int = round((value - where.low) / (where.step or 1))
    return place


def _value(where: BaseDistribution, place: int) -> Any:
    if isinstance(where, CategoricalDistribution):
        return where.choices[place]
    assert isinstance(where, IntDistribution | FloatDistribution)
    return min(where.low + place * (where.step or 1), where.high)
