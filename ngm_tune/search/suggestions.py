"""Suggestions of configurations for the search of one method."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from optuna.trial import FrozenTrial

from ngm_tune.methods import Config
from ngm_tune.methods.finite_space import grid_of
from ngm_tune.metrics.registry import Metric
from ngm_tune.search.sampling import suggest, with_coordinates
from ngm_tune.study.search_spaces import SearchSpace


class Suggestions:
    """Suggests the configurations of one method on one benchmark.

    The same arguments give the same configuration. In a finite search space every configuration is
    suggested once only, since a repetition with the same seeds would give the same results.

    Args:
        name: Name of the search, from which random seeds are derived.
        sampler: Name of the sampler.
        seed: Seed of the study.
        space: Distribution of each search coordinate.
        objectives: The metrics to optimize.
        points: Search coordinates of the first configurations.
    """

    def __init__(
        self,
        name: str,
        *,
        sampler: str,
        seed: int,
        space: SearchSpace,
        objectives: Sequence[Metric],
        points: Sequence[Config],
    ) -> None:
        self._name = name
        self._sampler = sampler
        self._seed = seed
        self._space = space
        self._directions = [metric.direction for metric in objectives]
        self._points = points
        self._grid = grid_of(space)

    @property
    def size(self) -> int | None:
        """Number of configurations in the search space; None if it is infinite."""
        return None if self._grid is None else self._grid.size

    def suggest(self, number: int, trials: Iterable[FrozenTrial]) -> FrozenTrial:
        """Suggest a configuration.

        Args:
            number: Number of the configuration.
            trials: Optuna trials of the earlier configurations; those without a known outcome have
                the state RUNNING.
        """
        if self._grid is not None:
            trials = list(trials)
        entropy = (self._seed, number, *self._name.encode())
        suggestion = suggest(
            self._sampler,
            self._space,
            self._directions,
            trials,
            int(np.random.SeedSequence(entropy).generate_state(1)[0]),
            self._points[number] if number < len(self._points) else None,
        )
        return suggestion if self._grid is None else self._replace_if_tried(suggestion, trials)

    def _replace_if_tried(
        self, suggestion: FrozenTrial, trials: Iterable[FrozenTrial]
    ) -> FrozenTrial:
        """Return the suggestion, or the next untried configuration if it was tried already."""
        assert self._grid is not None
        tried = {self._grid.index_of(trial.params) for trial in trials}
        index = self._grid.index_of(suggestion.params)
        if index not in tried or len(tried) == self._grid.size:
            return suggestion
        while index in tried:
            index = (index + 1) % self._grid.size
        return with_coordinates(suggestion, self._grid.at(index))
