"""Search spaces: where the selected configurations lie, and which space contains which."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from ngm_tune.metrics.curves import Floats
from ngm_tune.results.columns import SEARCH_PREFIX, decode
from ngm_tune.results.records import Range

from ..loaded_study import LoadedStudy

NEAR_BOUND = 0.05
"""Distance to a bound, as a share of the range on its scale, up to which a value is near it."""
_ROUNDING = 1e-9


class SearchedRange(NamedTuple):
    """The range of one search coordinate of a method, and the selected values in it.

    Attributes:
        method: Name of the method.
        coordinate: Name of the search coordinate.
        limits: The searched range.
        selected: Its value in every configuration that the study confirms, over all repetitions:
            numbers from smallest to largest, or choices in the order of the range.
        n_near_low: Number of these within :data:`NEAR_BOUND` of the lower bound.
        n_near_high: Number of these within :data:`NEAR_BOUND` of the upper bound.
    """

    method: str
    coordinate: str
    limits: Range
    selected: list[Any]
    n_near_low: int
    n_near_high: int


class SharedRange(NamedTuple):
    """The ranges of a search coordinate that a method shares with its ablation.

    Attributes:
        coordinate: Name of the search coordinate.
        full: Range of the full method.
        ablation: Range of the ablation.
    """

    coordinate: str
    full: Range
    ablation: Range

    @property
    def is_contained(self) -> bool:
        """Whether the range of the full method contains that of its ablation."""
        if self.full.choices or self.ablation.choices:
            known = set(map(str, self.full.choices))
            return bool(self.ablation.choices) and known >= set(map(str, self.ablation.choices))
        (low, high), (least, most) = _bounds(self.full), _bounds(self.ablation)
        return (low <= least or math.isclose(low, least, rel_tol=_ROUNDING)) and (
            high >= most or math.isclose(high, most, rel_tol=_ROUNDING)
        )


class AblationSpace(NamedTuple):
    """The search spaces of a method and its ablation or control.

    If the space of the full method does not contain that of the ablation, the ablation can be
    better by its range alone.

    Attributes:
        method: Name of the full method.
        ablation: Name of its ablation or control.
        shared: The coordinates of both, in the order of the ablation's space.
    """

    method: str
    ablation: str
    shared: list[SharedRange]

    @property
    def outside(self) -> list[SharedRange]:
        """The coordinates in which the full method does not cover the range of the ablation."""
        return [each for each in self.shared if not each.is_contained]


def searched_ranges(loaded: LoadedStudy, benchmark: str) -> list[SearchedRange]:
    """Return the range of each search coordinate of every method on a benchmark.

    Methods whose search space the results lack are omitted.
    """
    return [
        _searched_range(loaded, benchmark, method, coordinate, limits)
        for method in loaded.methods_on(benchmark)
        for coordinate, limits in loaded.search_space(method).items()
        if not loaded.has_fixed_runs
    ]


def _searched_range(
    loaded: LoadedStudy, benchmark: str, method: str, coordinate: str, limits: Range
) -> SearchedRange:
    column = SEARCH_PREFIX + coordinate
    trials = loaded.search_trials(benchmark, method).filter("to_confirm")
    stored = trials[column].drop_nulls() if column in trials.columns else pl.Series([])
    if limits.choices:
        order = {str(choice): index for index, choice in enumerate(limits.choices)}
        choices = [decode(value, limits.choices) for value in stored]
        choices.sort(key=lambda choice: order.get(str(choice), len(order)))
        return SearchedRange(method, coordinate, limits, choices, 0, 0)
    values = stored.cast(pl.Float64).sort()
    at = positions(values, limits)
    return SearchedRange(
        method,
        coordinate,
        limits,
        values.to_list(),
        int(np.sum(at <= NEAR_BOUND + _ROUNDING)),
        int(np.sum(at >= 1.0 - NEAR_BOUND - _ROUNDING)),
    )


def positions(values: ArrayLike, limits: Range) -> Floats:
    """Return where values lie in a range of numbers, from 0 (low) to 1 (high) on its scale.

    In a range of a single value every position is 0.5.

    Args:
        values: Values of the search coordinate, shape (N,).
        limits: The range.

    Returns:
        Shape (N,).
    """
    scale = np.log if limits.log else np.asarray
    low, high = map(scale, _bounds(limits))
    scaled = scale(np.asarray(values, dtype=np.float64))
    return np.full(scaled.shape, 0.5) if low == high else np.asarray((scaled - low) / (high - low))


def ablation_spaces(loaded: LoadedStudy, benchmark: str) -> list[AblationSpace]:
    """Return the search spaces of every method on a benchmark and each of its ablations there.

    Pairs are omitted if the results lack a search space, or what is an ablation of what.
    """
    if loaded.has_fixed_runs:
        return []
    methods = [name for name in loaded.methods_on(benchmark) if loaded.search_space(name)]
    return [
        AblationSpace(
            method,
            ablation,
            [
                SharedRange(coordinate, loaded.search_space(method)[coordinate], limits)
                for coordinate, limits in loaded.search_space(ablation).items()
                if coordinate in loaded.search_space(method)
            ],
        )
        for method in methods
        for ablation in methods
        if method in loaded.ablated_methods(ablation)
    ]


def _bounds(limits: Range) -> tuple[float, float]:
    assert limits.low is not None
    assert limits.high is not None
    return limits.low, limits.high
