"""The runs that a study can have, and the check that a file in ``trials/`` is one of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from ngm_tune.results.ids import TrialId, parse_run
from ngm_tune.results.run_seeds import RunSeeds


@dataclass(frozen=True)
class ExpectedRuns:
    """The runs that a study can have.

    Attributes:
        name: Name of the study.
        benchmarks: Names of its benchmarks.
        methods: Names of its methods.
        searches: Number of repetitions of the search of each benchmark and method.
        max_configurations: Largest number of configurations of a search.
        seeds: Seeds of the runs.
        has_search: Whether the study searches; otherwise it has fixed runs on the test data.
        has_transfer: Whether selected configurations run on the other benchmarks too.
        has_racing: Whether the seeds of a search trial ran separately, with the ``racing`` of
            earlier versions.
    """

    name: str
    benchmarks: Sequence[str]
    methods: Sequence[str]
    searches: int
    max_configurations: int
    seeds: RunSeeds
    has_search: bool
    has_transfer: bool
    has_racing: bool = False

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
        trial = parse_run(run)
        assert trial is not None  # find_rows_problem checks the id
        if trial.repetition >= self.searches:
            yield f"repetition {trial.repetition} of a study with searches = {self.searches}"
        if trial.number >= self.max_configurations:
            yield (
                f"configuration {trial.number} of a search with at most {self.max_configurations} "
                "configurations"
            )
        yield from self._problems_of_phase(trial, rows)
        yield from self._problems_of_seeds(run, trial, rows)

    def _problems_of_phase(self, trial: TrialId, rows: pa.Table) -> Iterator[str]:
        if trial.confirms and not self.has_search:
            yield "confirms a search trial, but the study has no search"
        expected = "confirm" if trial.confirms or not self.has_search else "search"
        if trial.origin is not None:
            expected = "transfer"
            if not self.has_transfer:
                yield "a transfer between benchmarks; the study has no confirm.transfer"
            if trial.origin == trial.benchmark or trial.origin not in self.benchmarks:
                yield f"a transfer from {trial.origin}, which is not another benchmark of the study"
        for phase in rows["phase"].unique().to_pylist():
            if phase != expected:
                yield f"phase {phase!r} instead of {expected!r}"

    def _problems_of_seeds(self, run: str, trial: TrialId, rows: pa.Table) -> Iterator[str]:
        _, has_seed, seed_in_name = run.partition("@")
        if has_seed and not (trial.is_selected or self.has_racing):
            yield "a file of one seed; this study keeps all seeds of a trial in one file"
        of_phase = self.seeds.of_confirmation if trial.is_selected else self.seeds.of_search
        expected = of_phase(trial.repetition)
        seeds = set(rows["seed"].to_pylist())
        if has_seed:
            expected = [seed for seed in expected if str(seed) == seed_in_name]
        elif trial.is_selected:  # the study can have had fewer seeds when the run started
            expected = expected[: len(seeds)]
        if seeds != set(expected):
            yield f"seeds {_join(seeds)} instead of {_join(expected)}"


def _join(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(numbers))) or "none"
