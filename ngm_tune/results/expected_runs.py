"""Which runs a study has: what a file in ``trials/`` must be to be of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice

import pyarrow as pa

from ngm_tune.results.ids import CONFIRM_SUFFIX, number_of


def seeds_of(seeds: int | Sequence[int]) -> list[int]:
    """The seeds that a study's ``seeds`` stands for: how many (0, 1, ...), or which."""
    return list(range(seeds)) if isinstance(seeds, int) else list(seeds)


def fresh_seeds(seeds: Iterable[int], number: int) -> list[int]:
    """Seeds of confirmation, which are none of the search's."""
    known = set(seeds)
    return list(islice((seed for seed in count(1000) if seed not in known), number))


@dataclass(frozen=True)
class ExpectedRuns:
    """What runs there can be of a study.

    Attributes:
        name: Of the study.
        benchmarks: Of the study.
        methods: Of the study.
        most_configurations: That there can be of each benchmark and method.
        seeds: Of every trial, but for those that confirm another.
        fresh: Of every trial that confirms another.
        racing: Whether the seeds of a search are runs of their own.
        given: Whether settings are given, which are evaluated on the test data, instead of a
            search.
    """

    name: str
    benchmarks: Sequence[str]
    methods: Sequence[str]
    most_configurations: int
    seeds: Sequence[int]
    fresh: Sequence[int]
    racing: bool
    searched: bool

    def problem(self, run: str, rows: pa.Table) -> str | None:
        """Why the rows of a file in ``trials/`` are none of the study; None if they are.

        Args:
            run: The run that the file is named after.
            rows: That :func:`ngm_tune.results.schema.problem_of_rows` has nothing to say of.
        """
        return next(self._problems(run, rows), None)

    def _problems(self, run: str, rows: pa.Table) -> Iterator[str]:
        for study in rows["study"].unique().to_pylist():
            if study != self.name:
                yield f"a trial of the study {study}, not of {self.name}"
        benchmark, method = rows["benchmark"][0].as_py(), rows["method"][0].as_py()
        if benchmark not in self.benchmarks or method not in self.methods:
            yield f"a trial of {benchmark} and {method}, not of the study"
        trial, alone, of_seed = run.partition("@")
        number = number_of(trial, benchmark, method)
        if number is None or number >= self.most_configurations:
            yield f"configuration {number} of a study that has {self.most_configurations}"
        confirms = trial.endswith(CONFIRM_SUFFIX)
        if confirms and not self.searched:
            yield "confirms a search, and the study has none"
        phase = "confirm" if confirms or not self.searched else "search"
        for found in rows["phase"].unique().to_pylist():
            if found != phase:
                yield f"phase {found!r} instead of {phase!r}"
        if alone and (confirms or not self.racing):
            yield "a file of one seed; this study keeps all seeds of a trial in one file"
        wanted = set(self.fresh if confirms else self.seeds)
        if self.racing and not confirms:
            wanted = {seed for seed in wanted if str(seed) == of_seed}
        seeds = set(rows["seed"].to_pylist())
        if seeds != wanted:
            yield f"seeds {_listed(seeds)} instead of {_listed(wanted)}"


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(numbers))) or "none"
