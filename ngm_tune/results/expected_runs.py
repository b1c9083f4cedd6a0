"""The runs that a study can have, and the check that a file in ``trials/`` is one of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice

import pyarrow as pa

from ngm_tune.results.ids import CONFIRM_SUFFIX, number_of

_FIRST_FRESH_SEED = 1000
_SEEDS_PER_STUDY = 20_000
"""Distance between the first run seeds of studies whose ``seed`` differs by one."""
MAX_STUDY_SEED = 2**32 - 1
MAX_SEEDS = 10_000
"""Largest number of seeds of a configuration, in the search and in its confirmation."""


def expand_seeds(seeds: int | Sequence[int], study_seed: int) -> list[int]:
    """Return the seeds of each configuration as a list.

    Studies with different seeds share no run, so that repeating a study with another seed repeats
    everything that is random.

    Args:
        seeds: A number n for n seeds that depend on ``study_seed``, 0 to n - 1 for a study with the
            seed 0; or the seeds themselves.
        study_seed: ``seed`` of the study.
    """
    if not isinstance(seeds, int):
        return list(seeds)
    first = study_seed * _SEEDS_PER_STUDY
    return list(range(first, first + seeds))


def fresh_seeds(seeds: int | Sequence[int], study_seed: int, number: int) -> list[int]:
    """Return seeds for the confirm phase, which the search does not use.

    Args:
        seeds: Seeds of the study, as for :func:`expand_seeds`.
        study_seed: ``seed`` of the study.
        number: Number of seeds to return.
    """
    used = set(expand_seeds(seeds, study_seed))
    first = _FIRST_FRESH_SEED
    if isinstance(seeds, int):
        first += study_seed * _SEEDS_PER_STUDY
    return list(islice((seed for seed in count(first) if seed not in used), number))


@dataclass(frozen=True)
class ExpectedRuns:
    """The runs that a study can have.

    Attributes:
        name: Name of the study.
        benchmarks: Names of its benchmarks.
        methods: Names of its methods.
        max_configurations: Largest number of configurations of a benchmark and method.
        seeds: Seeds of each trial of the search, or of each fixed run.
        fresh_seeds: Seeds of each confirmation.
        has_racing: Whether the seeds of a search trial run separately.
        has_search: Whether the study searches; otherwise it has fixed runs on the test data.
    """

    name: str
    benchmarks: Sequence[str]
    methods: Sequence[str]
    max_configurations: int
    seeds: Sequence[int]
    fresh_seeds: Sequence[int]
    has_racing: bool
    has_search: bool

    def find_problem(self, run: str, rows: pa.Table) -> str | None:
        """Return why the rows of a file in ``trials/`` are not part of the study, or None.

        Args:
            run: Id of the run in the name of the file.
            rows: Rows without a problem of :func:`ngm_tune.results.schema.find_rows_problem`.
        """
        return next(self._problems(run, rows), None)

    def _problems(self, run: str, rows: pa.Table) -> Iterator[str]:
        for study in rows["study"].unique().to_pylist():
            if study != self.name:
                yield f"a trial of study {study}, not of study {self.name}"
        benchmark, method = rows["benchmark"][0].as_py(), rows["method"][0].as_py()
        if benchmark not in self.benchmarks or method not in self.methods:
            yield f"a trial of {benchmark} and {method}, which are not both in the study"
        trial, has_seed, seed_in_name = run.partition("@")
        number = number_of(trial, benchmark, method)
        if number is None or number >= self.max_configurations:
            yield (
                f"configuration {number} of a search with at most {self.max_configurations} "
                "configurations"
            )
        is_confirmation = trial.endswith(CONFIRM_SUFFIX)
        if is_confirmation and not self.has_search:
            yield "confirms a search trial, but the study has no search"
        expected_phase = "confirm" if is_confirmation or not self.has_search else "search"
        for phase in rows["phase"].unique().to_pylist():
            if phase != expected_phase:
                yield f"phase {phase!r} instead of {expected_phase!r}"
        if has_seed and (is_confirmation or not self.has_racing):
            yield "a file of one seed; this study keeps all seeds of a trial in one file"
        expected_seeds = set(self.fresh_seeds if is_confirmation else self.seeds)
        if self.has_racing and not is_confirmation:
            expected_seeds = {seed for seed in expected_seeds if str(seed) == seed_in_name}
        seeds = set(rows["seed"].to_pylist())
        if seeds != expected_seeds:
            yield f"seeds {_join(seeds)} instead of {_join(expected_seeds)}"


def _join(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(numbers))) or "none"
