"""Warm start: initial points of a study from the results of another study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ngm_tune.errors import UserError
from ngm_tune.methods import Config
from ngm_tune.metrics.pareto import on_front
from ngm_tune.metrics.selection import hypervolume_subset
from ngm_tune.results.columns import decode_hyperparameters
from ngm_tune.results.directory import STUDY, Results
from ngm_tune.results.eligibility import is_eligible
from ngm_tune.results.ids import TrialId
from ngm_tune.results.outcome import Row, compute_outcome
from ngm_tune.study.files import validate_study
from ngm_tune.study.initial_points import locate
from ngm_tune.study.plan import StudyPlan
from ngm_tune.study.search_spaces import TOML_TYPES, Point, method_with_ranges
from ngm_tune.study.study import Study
from ngm_tune.workspace.manifest import load_stored_study, load_study_copy

_MAX_POINTS = 5
"""Maximum number of points for one benchmark and method: they cover a front, but leave most trials
of a typical search to the sampler."""


def add_warm_start_points(study: Study, source: str, location: str) -> tuple[Study, int | None]:
    """Return the study with initial points from the fronts of another study.

    These points follow the ``points_to_evaluate`` of the study. A benchmark starts from the fronts
    of the other study on this benchmark, or from its fronts on all benchmarks if the other study
    did not run it.

    Args:
        study: The study to start.
        source: Results directory of the other study.
        location: Results directory of ``study``. If it already holds the study, the study keeps the
            points with which it was started.

    Returns:
        The study, and the number of configurations omitted because they lie outside its search
        spaces. The number is None if the study was already started.

    Raises:
        UserError: ``source`` holds no results, or no eligible trial of the study's methods; or the
            study does not search.
    """
    existing = Results(location)
    stored = load_stored_study(existing, study.name) or load_study_copy(existing)
    if stored is not None:
        content = study.model_dump() | {"points_to_evaluate": stored.points_to_evaluate}
        return validate_study(content, f"{location}/{STUDY}"), None
    if study.settings is not None:
        raise UserError(
            f"--warm-start {source}: not allowed for a study with settings, which does not search"
        )
    results = Results(source)
    results.require_study()
    rows = [row for row in results.read("trials").to_pylist() if row["method"] in study.methods]
    searches = [(benchmark, method) for benchmark in study.benchmarks for method in study.methods]
    plan = StudyPlan.resolve(study)
    points: list[Point] = []
    n_configurations = n_outside = 0
    for benchmark, method in searches:
        initial = plan.points_of(benchmark, method)
        n_free = study.trials - len(initial)
        for configuration in _select_configurations(study, rows, benchmark, method):
            n_configurations += 1
            try:
                coordinates = locate("", plan.methods[method], plan.spaces[method], configuration)
            except ValueError:
                n_outside += 1
                continue
            if coordinates not in initial and n_free > 0:
                values = {
                    name: value if type(value) in TOML_TYPES else str(value)
                    for name, value in configuration.items()
                }
                points.append({"method": method, "benchmark": benchmark, **values})
                n_free -= 1
    if not n_configurations:
        raise UserError(
            f"--warm-start {source}: no completed, feasible trial of {', '.join(study.methods)} "
            f"with values of {', '.join(study.objectives)}"
        )
    content = study.model_dump() | {"points_to_evaluate": [*study.points_to_evaluate, *points]}
    return validate_study(content, f"--warm-start {source}"), n_outside


def _select_configurations(
    study: Study, rows: Sequence[Row], benchmark: str, method: str
) -> list[Config]:
    """Return up to ``_MAX_POINTS`` distinct configurations from the fronts of a method.

    Args:
        study: The study to start.
        rows: Rows in ``trials/`` of the other study.
        benchmark: Benchmark of the search to start.
        method: Method of the search to start.
    """
    rows = [row for row in rows if row["method"] == method]
    available = {row["benchmark"] for row in rows}
    benchmarks = [benchmark] if benchmark in available else sorted(available)
    fronts = [
        _find_front([row for row in rows if row["benchmark"] == b], study) for b in benchmarks
    ]
    n_per_front = max(1, _MAX_POINTS // max(1, len(benchmarks)))
    distinct: dict[tuple[Any, ...], Config] = {}
    for front in fronts:
        for configuration in front[:n_per_front]:
            distinct.setdefault(tuple(configuration.values()), configuration)
    return list(distinct.values())[:_MAX_POINTS]


def _find_front(rows: Sequence[Row], study: Study) -> list[Config]:
    """Return the front of a method on a benchmark, in the order of greedy hypervolume selection.

    Only search trials count: confirmations and transfers would carry test data into another search.
    In a study without a search, all fixed hyper-parameters count. Their constraints are not
    checked, because these would be evaluated on test data.
    """
    trials: dict[str, list[Row]] = {}
    for row in rows:
        if not TrialId.parse(row["trial_id"]).is_selected:
            trials.setdefault(row["trial_id"], []).append(row)
    n_seeds = max(map(len, trials.values()), default=0)
    candidates: dict[tuple[float, ...], Row] = {}
    for seeds in trials.values():
        outcome = compute_outcome(seeds, study.objectives, study.constraints).finite()
        violation = () if seeds[0]["phase"] == "confirm" else outcome.violation  # fixed runs
        has_every_seed = len(seeds) == n_seeds
        if is_eligible(outcome.status, outcome.values, violation, has_every_seed=has_every_seed):
            assert outcome.values is not None
            candidates[outcome.values] = seeds[0]
    objectives = study.objective_metrics
    values = np.array(list(candidates))
    front = values[on_front(values, objectives)]
    order = hypervolume_subset(front, objectives, study.reference_point, len(front))
    return [_searched_hyperparameters(candidates[tuple(front[i])], study) for i in order]


def _searched_hyperparameters(row: Row, study: Study) -> Config:
    """Return the searched hyper-parameters of a row in ``trials/``."""
    name = row["method"]
    domains = method_with_ranges(name, study.search_space.get(name, {})).domains
    hyperparameters = decode_hyperparameters(row, domains)
    return {name: hyperparameters[name] for name in domains if name in hyperparameters}
