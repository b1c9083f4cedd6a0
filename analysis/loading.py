"""From a results directory to one table of trials."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pyarrow as pa

from ngm_tune.errors import UserError
from ngm_tune.kept import KeptStudy, problem_of_kept
from ngm_tune.membership import Membership, fresh_seeds, seeds_of
from ngm_tune.metrics import METRICS, Metric
from ngm_tune.pareto import Constraint, is_kept, on_front, spread
from ngm_tune.results import Results
from ngm_tune.schema import (
    CONFIG_PREFIX,
    CONFIRM_SUFFIX,
    SEARCH_PREFIX,
    STATUSES,
)
from ngm_tune.study_tables import Confirm

PARTIAL = "partial"
"""Status of a trial that did not get all seeds: it lost the race for them, or is still in it."""


_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


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
    study: dict[str, Any]
    environment: dict[str, Any]
    objectives: list[Metric]
    runs: pl.DataFrame
    search: pl.DataFrame
    confirmed: pl.DataFrame

    @property
    def benchmarks(self) -> list[str]:
        """Benchmarks that have trials, in the study's order."""
        there = {*self.search["benchmark"], *self.confirmed["benchmark"]}
        return [name for name in self.study["benchmarks"] if name in there]

    @property
    def methods(self) -> list[str]:
        """Methods that have trials, in the study's order."""
        there = {*self.search["method"], *self.confirmed["method"]}
        return [name for name in self.study["methods"] if name in there]

    @property
    def seeds(self) -> int:
        """Of every trial of the search."""
        return len(seeds_of(self.study["seeds"]))

    @property
    def fresh_seeds(self) -> int:
        """Of every confirmed trial."""
        return int(self.confirmed["seeds"].max() or 0)  # type: ignore[arg-type]

    @property
    def given(self) -> bool:
        """Whether the settings were given, instead of searched."""
        return self.study.get("settings") is not None

    @property
    def racing(self) -> bool:
        """Whether seeds were raced for."""
        return self.study.get("racing") is not None

    def due(self, benchmark: str) -> int:
        """Configurations of a benchmark's search fronts that the study confirms."""
        fronts = self.searched(benchmark).filter("front").group_by("method").len()["len"]
        return int(fronts.clip(upper_bound=self._most).sum())

    def is_confirmed(self, benchmark: str) -> bool:
        """Whether claims about a benchmark rest on test data and seeds that chose nothing.

        Only once all that is to be confirmed is: else some methods would be compared on other data.
        """
        confirmed = self.confirmed_of(benchmark).height
        return confirmed > 0 and (self.given or confirmed == self.due(benchmark))

    @property
    def _most(self) -> int:
        """Configurations of each front that are confirmed at most."""
        return int(self.study.get("confirm", {}).get("top", 0))

    def title(self, kind: str, name: str) -> str:
        """How people call a benchmark or method; ``kind`` is the plural."""
        return str(self.environment.get(kind, {}).get(name, {}).get("title", name))

    def space(self, method: str) -> dict[str, dict[str, Any]]:
        """What was searched of a method: by coordinate, its range; empty if that was not kept."""
        return dict(self.environment.get("methods", {}).get(method, {}).get("space", {}))

    @property
    def plateaus(self) -> dict[str, int]:
        """By benchmark, after how many runs of every method its search ended on a plateau."""
        return dict(self.environment.get("plateaus", {}))

    def starting_points(self, benchmark: str) -> dict[str, int]:
        """By the titles of the methods, how many points their searches started from."""
        points = self.environment.get("points", {}).get(benchmark, {})
        return {self.title("methods", method): count for method, count in points.items()}

    def of(self, benchmark: str, method: str | None = None) -> pl.DataFrame:
        """The trials that claims about a benchmark, or one arm, rest on: confirmed ones if any."""
        trials = self.confirmed if self.is_confirmed(benchmark) else self.search
        return _arm(trials, benchmark, method)

    def searched(self, benchmark: str, method: str | None = None) -> pl.DataFrame:
        """The trials of the search on a benchmark, or of one arm."""
        return _arm(self.search, benchmark, method)

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
    study = results.study()
    problem = problem_of_kept(KeptStudy, study)
    if problem is not None:
        raise UserError(f"{location}/study.toml: no study of this version: {problem}")
    try:
        objectives = [METRICS[name] for name in study["objectives"]]
        for metric in objectives:
            study["reference_point"][metric.name]
        for name in (*study["benchmarks"], *study["methods"]):
            if not _NAME.fullmatch(name):  # files of the report are called after them
                raise ValueError(f"{name!r} is no name of a benchmark or method")
        constraints = [Constraint.parse(text) for text in study.get("constraints", [])]
    except (KeyError, ValueError) as error:
        raise UserError(f"{location}/study.toml: no study of this version: {error!r}") from error
    rows = pl.DataFrame(_trials(results, study)).with_columns(pl.col(pl.Float64).fill_nan(None))
    if not (rows["status"] == "completed").any():
        ended = rows["status"].value_counts().sort("status").rows()
        others = ", ".join(f"{count} {status}" for status, count in ended) or "none at all"
        if results.left_out:
            others += f"; damaged files: {', '.join(results.left_out)}"
        raise UserError(
            f"{location}: no run completed, so there is nothing to analyze; runs there: {others}"
        )
    trials = _per_trial(rows, constraints)
    loaded = LoadedStudy(
        results,
        study,
        results.environment(),
        objectives,
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
    search = _with_fronts(search, objectives)
    confirmed = loaded.confirmed.with_columns(
        pl.col("trial_id").str.strip_suffix(CONFIRM_SUFFIX).alias("origin")
    )
    if not loaded.given:
        confirmed = confirmed.filter(pl.col("origin").is_in(_regarded(loaded, search, confirmed)))
    return loaded._replace(search=search, confirmed=_with_fronts(confirmed, objectives))


def runs_per_search(study: dict[str, Any]) -> int:
    """Trials of each benchmark and method, or with racing seed-runs, unless a plateau ends them."""
    racing = study.get("racing") is not None
    return int(study["trials"] * (len(seeds_of(study["seeds"])) if racing else 1))


def _trials(results: Results, study: dict[str, Any]) -> pa.Table:
    """The table ``trials/`` of a study; what is none of it, or not all there, is left out."""
    parts = dict(results.runs("trials", _membership(study).problem))
    for run, problem in _of_other_types(parts).items():
        results.left_out[f"trials/{run}.parquet"] = problem
        del parts[run]
    ended = {f"{run}.parquet": rows for run, rows in parts.items()}
    for table, name in results.gone(ended, probed=bool(study.get("probes"))):
        results.left_out[f"{table}/{name}"] = "it is gone, though its trial is complete"
    return results.joined("trials", list(parts.values()))


def _membership(study: dict[str, Any]) -> Membership:
    seeds = seeds_of(study["seeds"])
    return Membership(
        name=study["name"],
        benchmarks=study["benchmarks"],
        methods=study["methods"],
        configurations=runs_per_search(study),
        seeds=seeds,
        fresh=fresh_seeds(seeds, study.get("confirm", {}).get("seeds", Confirm().seeds)),
        racing=study.get("racing") is not None,
        given=study.get("settings") is not None,
    )


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
    feasible = [
        pl.col(limit.metric.name).map_elements(_keeper(limit), return_dtype=pl.Boolean)
        for limit in constraints
    ]
    severity = pl.col("status").replace_strict({name: i for i, name in enumerate(STATUSES)})
    return (
        rows.group_by(key, maintain_order=True)
        .agg(
            pl.col("status").get(severity.arg_max()),
            pl.len().alias("seeds"),
            *(pl.col(name).first() for name in config),
            *(pl.col(name).mean() for name in metrics),
            *(pl.col(name).std().alias(f"{name}_sd") for name in metrics),
            *(pl.col(name).sum() for name in ("iterations", "wall_seconds")),
        )
        .with_columns(
            feasible=pl.all_horizontal(*feasible).fill_null(value=False)
            if feasible
            else pl.lit(value=True)
        )
        .sort("benchmark", "method", pl.col("trial_id").str.len_chars(), "trial_id")
    )


def _keeper(limit: Constraint) -> Callable[[float], bool]:
    """Whether a value keeps a constraint, as a function of it."""
    return lambda value: is_kept(limit.excess(value))


def _regarded(loaded: LoadedStudy, search: pl.DataFrame, confirmed: pl.DataFrame) -> list[str]:
    """Confirmed trials of the search: of each arm at most as many as the study confirms.

    Trials that were added later may have pushed a confirmed one off its front, or in its place.
    """
    names = [metric.name for metric in loaded.objectives]
    regarded = []
    for _, front in search.filter("front").group_by("benchmark", "method", maintain_order=True):
        order = spread(
            front.select(names).to_numpy(),
            loaded.objectives,
            loaded.study["reference_point"],
            front.height,
        )
        ids = [front["trial_id"][i] for i in order]
        there = set(confirmed["origin"])
        regarded += [trial_id for trial_id in ids if trial_id in there][: loaded._most]
    return regarded


def _with_fronts(trials: pl.DataFrame, objectives: list[Metric]) -> pl.DataFrame:
    """Mark the front of every arm."""
    trials = trials.with_row_index("row")
    names = [metric.name for metric in objectives]
    whole = trials.filter(pl.col("status") == "completed", "feasible").drop_nulls(names)
    front: set[int] = set()
    for _, arm in whole.group_by("benchmark", "method"):
        front.update(arm["row"].to_numpy()[on_front(arm.select(names).to_numpy(), objectives)])
    return trials.with_columns(front=pl.col("row").is_in(sorted(front))).drop("row")
