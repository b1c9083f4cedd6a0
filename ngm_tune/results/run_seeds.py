"""The seeds of the runs of a study, which no two runs of different repetitions share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, islice

_FIRST_FRESH_SEED = 1000
_SEEDS_PER_REPETITION = 20_000
MAX_SEARCHES = 1000
"""Largest number of repetitions of a search."""
MAX_STUDY_SEED = 2**32 - 1
MAX_SEEDS = 10_000
"""Largest number of seeds of a configuration, in the search and in its confirmation."""


@dataclass(frozen=True)
class RunSeeds:
    """The seeds of the runs of a study.

    If ``seeds`` is a number, each repetition of each study has seeds of its own, so that repeating
    a search, or a study with another seed, repeats everything that is random.

    Attributes:
        seeds: Number of seeds of each configuration; or the seeds themselves.
        study_seed: ``seed`` of the study.
        fresh: Number of seeds of each confirmation.

    Example:
        >>> RunSeeds(seeds=2, study_seed=0, fresh=3).of_search(repetition=1)
        [20000, 20001]
        >>> RunSeeds(seeds=2, study_seed=0, fresh=3).of_confirmation(repetition=0)
        [1000, 1001, 1002]
    """

    seeds: int | Sequence[int]
    study_seed: int
    fresh: int

    def __len__(self) -> int:
        """Number of seeds of each configuration of the search."""
        return self.seeds if isinstance(self.seeds, int) else len(self.seeds)

    def of_search(self, repetition: int) -> list[int]:
        """Return the seeds of each configuration of a search, or of each fixed run."""
        if not isinstance(self.seeds, int):
            return list(self.seeds)
        first = self._first(repetition)
        return list(range(first, first + self.seeds))

    def of_confirmation(self, repetition: int) -> list[int]:
        """Return the fresh seeds of each confirmation, which no search uses."""
        used = set(self.of_search(repetition))
        first = self._first(repetition) if isinstance(self.seeds, int) else 0
        fresh = (seed for seed in count(first + _FIRST_FRESH_SEED) if seed not in used)
        return list(islice(fresh, self.fresh))

    def _first(self, repetition: int) -> int:
        return (self.study_seed * MAX_SEARCHES + repetition) * _SEEDS_PER_REPETITION
