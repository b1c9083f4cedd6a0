"""A study and its results as tables of trials."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import polars as pl
import pyarrow as pa

from ngm_tune.metrics.registry import Metric
from ngm_tune.results.columns import Domain
from ngm_tune.results.records import Range, StoredEnvironment, StoredStudy
from ngm_tune.results.schema import Table

TASK_AWARE_MARK = "†"
"""Mark of the titles of methods that use information on tasks."""


class Tables(Protocol):
    """Tables of one or several results directories."""

    @property
    def location(self) -> str:
        """Path or URI, for messages."""

    @property
    def left_out(self) -> Mapping[str, str]:
        """Why a file was skipped, by its path."""

    def read(self, table: Table, trial_ids: Iterable[str] | None = None) -> pa.Table:
        """Read a table, as :meth:`ngm_tune.results.directory.Results.read` does."""


class LoadedStudy(NamedTuple):
    """A study with one row per trial.

    ``search`` and ``confirmed`` contain the identifying columns of ``trials/*.parquet``, the
    configuration, ``status`` (the worst over seeds), ``seeds`` (their number), the mean over seeds
    of every metric and, in ``<metric>_sd``, its sample standard deviation (n - 1; null for a single
    seed), and flags. ``feasible``: the trial satisfies the constraints. ``eligible``: the trial
    may be on a front (:func:`~ngm_tune.results.eligibility.is_eligible`). ``front``: the trial is
    eligible, and no other eligible trial of the same search dominates it. ``to_confirm`` (only in
    ``search``): the study confirms the configuration as one of the best of its search.
    ``reference``: names of the references that the trial evaluates, such as ``"default"`` or
    ``"default, paper"``; null for other trials.

    Attributes:
        results: The tables of the results directory, or of all joined directories.
        study: Contents of ``study.toml``.
        environment: Contents of ``environment.json``.
        runs: One row per seed, as in ``trials/*.parquet``.
        search: Trials evaluated on validation data.
        confirmed: Trials evaluated on test data: configurations of a search front with fresh seeds,
            or the fixed runs of a study without a search. ``origin`` is the id of the search trial
            that has the same configuration.
        references: Trials that confirm the references, evaluated on test data. Those that a front
            also selected are in ``confirmed``, too. No claim rests on the others.
        transferred: Trials on test data of configurations that were selected on another benchmark.
            ``benchmark`` is the benchmark on which they ran, ``origin`` the id of the search trial
            and ``origin_benchmark`` its benchmark. No verdict uses them.
        parts: The study of each directory if several are joined; otherwise empty.
    """

    results: Tables
    study: StoredStudy
    environment: StoredEnvironment
    runs: pl.DataFrame
    search: pl.DataFrame
    confirmed: pl.DataFrame
    references: pl.DataFrame
    transferred: pl.DataFrame
    parts: Sequence[LoadedStudy] = ()

    @property
    def benchmarks(self) -> list[str]:
        """Benchmarks with at least one trial, in the study's order."""
        with_trials = {*self.search["benchmark"], *self.confirmed["benchmark"]}
        return [name for name in self.study.benchmarks if name in with_trials]

    @property
    def methods(self) -> list[str]:
        """Methods with at least one trial, in the study's order."""
        with_trials = {*self.search["method"], *self.confirmed["method"]}
        return [name for name in self.study.methods if name in with_trials]

    @property
    def objectives(self) -> list[Metric]:
        """The optimized metrics."""
        return self.study.objective_metrics

    def reference_point(self, benchmark: str) -> Mapping[str, float]:
        """Return the least useful value of each objective on a benchmark.

        Joined studies of different benchmarks can declare different ones.
        """
        declaring = (part.study for part in self.parts if benchmark in part.study.benchmarks)
        return next(declaring, self.study).reference_point

    @property
    def n_seeds(self) -> int:
        """Number of seeds per trial of the search."""
        return len(self.study.run_seeds)

    @property
    def n_fresh_seeds(self) -> int:
        """Largest number of seeds of a confirmed trial; 0 if no trial is confirmed."""
        return int(self.confirmed["seeds"].max() or 0)  # type: ignore[arg-type]

    @property
    def has_fixed_runs(self) -> bool:
        """Whether the study runs fixed hyper-parameters instead of a search."""
        return self.study.settings is not None

    def n_to_confirm(self, benchmark: str) -> int:
        """Return the number of configurations of a benchmark that the study confirms."""
        return self.search_trials(benchmark).filter("to_confirm").height

    def methods_on(self, benchmark: str) -> list[str]:
        """Return the methods with at least one trial on a benchmark, in the study's order."""
        trials = self.first_phase_trials(benchmark)
        return [name for name in self.methods if name in set(trials["method"])]

    def repetitions(self, benchmark: str) -> list[int]:
        """Return the repetitions on which claims about a benchmark can rest.

        In these, every method with a trial on the benchmark has ended its search, and all
        configurations to confirm have been confirmed with every seed.
        """
        confirmed = self.confirmed_trials(benchmark).filter(seeds=self.study.confirm.seeds)
        n_trials = _count_by_search(self.first_phase_trials(benchmark))
        n_to_confirm = _count_by_search(self.search_trials(benchmark).filter("to_confirm"))
        n_confirmed = _count_by_search(confirmed)

        def is_complete(method: str, repetition: int) -> bool:
            search = method, repetition
            has_ended = n_trials[search] >= self.expected_trials(benchmark, method)
            if self.has_fixed_runs:
                return has_ended
            # A search is confirmed once it has ended; it may have been extended afterwards.
            has_ended |= n_confirmed[search] > 0
            return has_ended and n_confirmed[search] == n_to_confirm[search]

        methods = self.methods_on(benchmark)
        return [
            repetition
            for repetition in range(self.study.searches)
            if all(is_complete(method, repetition) for method in methods)
        ]

    def is_confirmed(self, benchmark: str) -> bool:
        """Return whether claims about a benchmark rest on test data.

        They do once a repetition is complete and anything is confirmed in it. Before that, methods
        would be compared on different data.
        """
        confirmed = self.confirmed_trials(benchmark)["repetition"]
        return not set(confirmed).isdisjoint(self.repetitions(benchmark))

    def benchmark_title(self, name: str) -> str:
        """Return the display name of a benchmark."""
        record = self.environment.benchmarks.get(name)
        return name if record is None or record.title is None else record.title

    def method_title(self, name: str) -> str:
        """Return the display name of a method, marked if the method is task-aware."""
        record = self.environment.methods.get(name)
        if record is None:
            return name
        title = name if record.title is None else record.title
        return f"{title} {TASK_AWARE_MARK}" if record.task_aware else title

    @property
    def has_task_aware_methods(self) -> bool:
        """Whether the title of a method with a trial has the mark of task-aware methods."""
        records = map(self.environment.methods.get, self.methods)
        return any(record is not None and record.task_aware for record in records)

    @property
    def method_titles(self) -> list[str]:
        """Display names of the methods with at least one trial, in the study's order."""
        return [self.method_title(name) for name in self.methods]

    def search_space(self, method: str) -> dict[str, Range]:
        """Return the range of each searched coordinate; empty if the results lack it."""
        record = self.environment.methods.get(method)
        return {} if record is None else record.space

    def ablated_methods(self, method: str) -> list[str]:
        """Return the methods of which a method is an ablation or a control, as far as recorded."""
        record = self.environment.methods.get(method)
        return [] if record is None else record.ablation_of

    @property
    def default_sources(self) -> dict[str, str]:
        """Source of the default settings of each method that has any."""
        methods = self.environment.methods
        return {name: each.default_source for name, each in methods.items() if each.default_source}

    def domains(self, method: str) -> dict[str, Domain]:
        """Return the type or choices of each hyper-parameter; empty if the results lack them."""
        record = self.environment.methods.get(method)
        return {} if record is None else record.domains

    def trials_at_exhaustion(self, benchmark: str) -> dict[str, int]:
        """Return the number of trials with which each method had tried its whole search space."""
        return self.environment.exhausted.get(benchmark, {})

    def expected_trials(self, benchmark: str, method: str) -> int:
        """Return the number of trials of one complete search."""
        trials = self.environment.plateaus.get(benchmark, self.study.trials)
        return self.trials_at_exhaustion(benchmark).get(method, trials)

    def initial_points(self, benchmark: str) -> dict[str, int]:
        """Return the number of ``points_to_evaluate`` of each method search, by display name."""
        counts = self.environment.points.get(benchmark, {})
        return {self.method_title(method): count for method, count in counts.items()}

    def evidence(self, benchmark: str, method: str | None = None) -> pl.DataFrame:
        """Return the trials on which claims rest: confirmed trials, or else search trials.

        Confirmed trials are those of complete repetitions (:meth:`repetitions`).
        """
        if not self.is_confirmed(benchmark):
            return self.search_trials(benchmark, method)
        repetitions = self.repetitions(benchmark)
        confirmed = self.confirmed_trials(benchmark, method)
        return confirmed.filter(pl.col("repetition").is_in(repetitions))

    def search_trials(self, benchmark: str, method: str | None = None) -> pl.DataFrame:
        """Return the search trials of a benchmark, or of one of its method searches."""
        return _select(self.search, benchmark, method)

    def confirmed_trials(self, benchmark: str, method: str | None = None) -> pl.DataFrame:
        """Return the confirmed trials of a benchmark, or of one of its methods."""
        return _select(self.confirmed, benchmark, method)

    def first_phase_trials(self, benchmark: str, method: str | None = None) -> pl.DataFrame:
        """Return the search trials or, in a study without a search, the fixed runs."""
        select = self.confirmed_trials if self.has_fixed_runs else self.search_trials
        return select(benchmark, method)


def _count_by_search(trials: pl.DataFrame) -> Counter[tuple[str, int]]:
    """Return the number of trials of each method and repetition."""
    return Counter(trials.select("method", "repetition").iter_rows())


def _select(trials: pl.DataFrame, benchmark: str, method: str | None) -> pl.DataFrame:
    selected = trials.filter(pl.col("benchmark") == benchmark)
    return selected if method is None else selected.filter(pl.col("method") == method)
