"""From a results directory to one table of trials."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from ngm_tune.errors import UserError
from ngm_tune.metrics.functional import METRICS, Metric
from ngm_tune.metrics.pareto import Constraint, are_kept, on_front, to_confirm
from ngm_tune.results.columns import Domain
from ngm_tune.results.directory import Results
from ngm_tune.results.records import KeptEnvironment, KeptStudy, Range, read_kept
from ngm_tune.results.schema import (
    CONFIG_PREFIX,
    CONFIRM_SUFFIX,
    SEARCH_PREFIX,
    STATUSES,
)

PARTIAL = "partial"
"""Status of a trial that did not get all seeds: it lost the race for them, or is still in it."""


ELIGIBLE = (pl.col("status") == "completed") & pl.col("feasible")
"""Trials that could be on a front: with all seeds to the end, and within the constraints."""


class LoadedStudy(NamedTuple):
    """A study with its trials, one row per trial.

    ``runs`` has them as they are in ``trials/*.parquet``, a row per seed. ``search`` has those that
    were scored on validation data, ``confirmed`` those that were run on test data: configurations
    of a search front with fresh seeds, or a study's given settings. Both have the identifying
    columns of ``trials/*.parquet``, the configuration, ``status`` of the trial as a whole,
    ``seeds``, every metric as the mean over seeds and, under ``<metric>_sd``, its standard
    deviation (n - 1; null for one seed), and ``front``: whether no other trial of the same
    benchmark and method dominates it, of those that completed with all seeds and keep the study's
    constraints. ``confirmed`` also has ``origin``, the trial of the search that it repeats.
    """

    results: Results
    study: KeptStudy
    environment: KeptEnvironment
    runs: pl.DataFrame
    search: pl.DataFrame
    confirmed: pl.DataFrame

    @property
    def benchmarks(self) -> list[str]:
        """Benchmarks that have trials, in the study's order."""
        there = {*self.search["benchmark"], *self.confirmed["benchmark"]}
        return [name for name in self.study.benchmarks if name in there]

    @property
    def methods(self) -> list[str]:
        """Methods that have trials, in the study's order."""
        there = {*self.search["method"], *self.confirmed["method"]}
        return [name for name in self.study.methods if name in there]

    @property
    def objectives(self) -> list[Metric]:
        """The metrics that were optimised."""
        return self.study.objective_metrics

    @property
    def seeds(self) -> int:
        """Of every trial of the search."""
        return len(self.study.seed_list)

    @property
    def fresh_seeds(self) -> int:
        """Of every confirmed trial."""
        return int(self.confirmed["seeds"].max() or 0)  # type: ignore[arg-type]

    @property
    def given(self) -> bool:
        """Whether the settings were given, instead of searched."""
        return self.study.settings is not None

    @property
    def racing(self) -> bool:
        """Whether seeds were raced for."""
        return self.study.racing is not None

    def due(self, benchmark: str) -> int:
        """Configurations of a benchmark's search fronts that the study confirms."""
        fronts = self.searched(benchmark).filter("front").group_by("method").len()["len"]
        return int(fronts.clip(upper_bound=self.study.confirm.top).sum())

    def is_confirmed(self, benchmark: str) -> bool:
        """Whether claims about a benchmark rest on test data and seeds that chose nothing.

        Only once all that is to be confirmed is: else some methods would be compared on other data.
        """
        confirmed = self.confirmed_of(benchmark).height
        return confirmed > 0 and (self.given or confirmed == self.due(benchmark))

    def benchmark_title(self, name: str) -> str:
        """How people call a benchmark."""
        kept = self.environment.benchmarks.get(name)
        return name if kept is None or kept.title is None else kept.title

    def method_title(self, name: str) -> str:
        """How people call a method."""
        kept = self.environment.methods.get(name)
        return name if kept is None or kept.title is None else kept.title

    @property
    def method_titles(self) -> list[str]:
        """How people call the methods that have trials, in the study's order."""
        return [self.method_title(name) for name in self.methods]

    def space(self, method: str) -> dict[str, Range]:
        """What was searched of a method: by coordinate, its range; empty if that was not kept."""
        kept = self.environment.methods.get(method)
        return {} if kept is None else kept.space

    def domains(self, method: str) -> dict[str, Domain]:
        """What each hyper-parameter of a method can be; empty if that was not kept."""
        kept = self.environment.methods.get(method)
        return {} if kept is None else kept.domains

    @property
    def plateaus(self) -> dict[str, int]:
        """By benchmark, after how many runs of every method its search ended on a plateau."""
        return self.environment.plateaus

    def runs_due(self, benchmark: str, method: str) -> int:
        """Trials of a search, or with racing seed-runs, when it is complete."""
        whole = self.plateaus.get(benchmark, self.study.runs_per_search)
        return self.exhausted(benchmark).get(method, whole)

    def exhausted(self, benchmark: str) -> dict[str, int]:
        """By method, the runs after which a search had tried all that there is in its space."""
        return self.environment.exhausted.get(benchmark, {})

    def starting_points(self, benchmark: str) -> dict[str, int]:
        """By the titles of the methods, how many points their searches started from."""
        points = self.environment.points.get(benchmark, {})
        return {self.method_title(method): count for method, count in points.items()}

    def of(self, benchmark: str, method: str | None = None) -> pl.DataFrame:
        """The trials that claims about a benchmark, or one arm, rest on: confirmed ones if any."""
        trials = self.confirmed if self.is_confirmed(benchmark) else self.search
        return _arm(trials, benchmark, method)

    def searched(self, benchmark: str, method: str | None = None) -> pl.DataFrame:
        """The trials of the search on a benchmark, or of one arm."""
        return _arm(self.search, benchmark, method)

    def tried(self, benchmark: str, method: str | None = None) -> pl.DataFrame:
        """The trials that others were chosen from: those of the search, or the settings given."""
        return (self.confirmed_of if self.given else self.searched)(benchmark, method)

    def confirmed_of(self, benchmark: str, method: str | None = None) -> pl.DataFrame:
        """The confirmed trials of a benchmark, or of one arm."""
        return _arm(self.confirmed, benchmark, method)


def _arm(trials: pl.DataFrame, benchmark: str, method: str | None) -> pl.DataFrame:
    wanted = pl.col("benchmark") == benchmark
    return trials.filter(wanted if method is None else wanted & (pl.col("method") == method))


def load(location: str) -> LoadedStudy:
    """Read a results directory.

    Files that are damaged are left out, and named in ``results.left_out``.

    Raises:
        UserError: There are no results, none of them is complete, or they cannot be read.
    """
    try:
        return _loaded(Results(location, tolerant=True))
    except OSError as error:
        raise UserError(f"{location}: cannot be read: {error}") from error


def _loaded(results: Results) -> LoadedStudy:
    results.require()
    location = results.location
    try:
        study = read_kept(KeptStudy, results.study())
    except ValueError as error:
        raise UserError(f"{location}/study.toml: no study of this version: {error}") from error
    rows = pl.DataFrame(_trials(results, study)).with_columns(pl.col(pl.Float64).fill_nan(None))
    if not (rows["status"] == "completed").any():
        ended = rows["status"].value_counts().sort("status").rows()
        others = ", ".join(f"{count} {status}" for status, count in ended) or "none at all"
        if results.left_out:
            others += f"; damaged files: {', '.join(results.left_out)}"
        raise UserError(
            f"{location}: no run completed, so there is nothing to analyze; runs there: {others}"
        )
    trials = _per_trial(rows, study.limits)
    loaded = LoadedStudy(
        results,
        study,
        read_kept(KeptEnvironment, results.environment()),
        rows,
        trials.filter(phase="search"),
        trials.filter(phase="confirm"),
    )
    search = loaded.search.with_columns(
        pl.when((pl.col("status") == "completed") & (pl.col("seeds") < loaded.seeds))
        .then(pl.lit(PARTIAL))
        .otherwise("status")
        .alias("status")
    )
    search = _with_fronts(search, loaded.objectives)
    confirmed = loaded.confirmed.with_columns(
        pl.col("trial_id").str.strip_suffix(CONFIRM_SUFFIX).alias("origin")
    )
    if not loaded.given:
        confirmed = confirmed.filter(pl.col("origin").is_in(_regarded(loaded, search, confirmed)))
    return loaded._replace(search=search, confirmed=_with_fronts(confirmed, loaded.objectives))


def _trials(results: Results, study: KeptStudy) -> pa.Table:
    """The table ``trials/`` of a study; what is none of it, or not all there, is left out."""
    parts = dict(results.runs("trials", study.membership.problem))
    for run, problem in _of_other_types(parts).items():
        results.left_out[f"trials/{run}.parquet"] = problem
        del parts[run]
    ended = {f"{run}.parquet": rows for run, rows in parts.items()}
    for table, name in results.gone(ended, probed=bool(study.probes)):
        results.left_out[f"{table}/{name}"] = "it is gone, though its trial is complete"
    return results.joined("trials", list(parts.values()))


def _of_other_types(parts: dict[str, pa.Table]) -> dict[str, str]:
    """What is the matter with runs that have a column of another type than most, by run."""
    columns = [(field.name, field.type, run) for run in parts for field in parts[run].schema]
    counts = Counter((name, kind) for name, kind, _ in columns)
    usual = {name: kind for (name, kind), _ in reversed(counts.most_common())}
    return {
        run: f"column {name} is of type {kind}, elsewhere of type {usual[name]}"
        for name, kind, run in columns
        if kind != usual[name]
    }


def output_beside(location: str, name: str) -> Path:
    """Where a file or folder goes by default: into the results directory.

    Raises:
        UserError: The results are at a URI, where only reading is done.
    """
    if "://" in location:
        raise UserError(f"{location}: say with --output where on this machine to write")
    return Path(location) / name


def _per_trial(rows: pl.DataFrame, constraints: list[Constraint]) -> pl.DataFrame:
    """Fold the seeds of every trial into one row."""
    key = ["study", "benchmark", "method", "trial_id", "phase"]
    config = [n for n in rows.columns if n.startswith((CONFIG_PREFIX, SEARCH_PREFIX))]
    metrics = [name for name in METRICS if name in rows.columns]
    severity = pl.col("status").replace_strict({name: i for i, name in enumerate(STATUSES)})
    trials = (
        rows.group_by(key, maintain_order=True)
        .agg(
            pl.col("status").get(severity.arg_max()),
            pl.len().alias("seeds"),
            *(pl.col(name).first() for name in config),
            *(pl.col(name).mean() for name in metrics),
            *(pl.col(name).std().alias(f"{name}_sd") for name in metrics),
            *(pl.col(name).sum() for name in ("iterations", "wall_seconds")),
        )
        .sort("benchmark", "method", pl.col("trial_id").str.len_chars(), "trial_id")
    )
    feasible = np.ones(trials.height, dtype=np.bool_)
    for limit in constraints:
        values = trials[limit.metric.name].cast(pl.Float64).to_numpy()
        feasible &= are_kept(limit.excess(values))
    return trials.with_columns(feasible=feasible)


def _regarded(loaded: LoadedStudy, search: pl.DataFrame, confirmed: pl.DataFrame) -> list[str]:
    """Confirmed trials of the search: of each arm at most as many as the study confirms.

    Trials that were added later may have pushed a confirmed one off its front, or in its place.
    """
    names = [metric.name for metric in loaded.objectives]
    regarded = []
    for _, front in search.filter("front").group_by("benchmark", "method", maintain_order=True):
        firsts = search.filter("front", benchmark=front["benchmark"][0])[names[0]]
        order = to_confirm(
            front.select(names).to_numpy(),
            loaded.objectives,
            loaded.study.reference_point,
            front.height,
            loaded.objectives[0].best_among(firsts),
        )
        ids = [front["trial_id"][i] for i in order]
        there = set(confirmed["origin"])
        regarded += [trial_id for trial_id in ids if trial_id in there][: loaded.study.confirm.top]
    return regarded


def _with_fronts(trials: pl.DataFrame, objectives: list[Metric]) -> pl.DataFrame:
    """Mark the front of every arm."""
    trials = trials.with_row_index("row")
    names = [metric.name for metric in objectives]
    whole = trials.filter(ELIGIBLE).drop_nulls(names)
    front: set[int] = set()
    for _, arm in whole.group_by("benchmark", "method"):
        front.update(arm["row"].to_numpy()[on_front(arm.select(names).to_numpy(), objectives)])
    return trials.with_columns(front=pl.col("row").is_in(sorted(front))).drop("row")
