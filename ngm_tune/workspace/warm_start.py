"""Points to start searches from, out of the results of another study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ngm_tune.errors import UserError
from ngm_tune.methods import Config, get_method
from ngm_tune.metrics.constraints import is_feasible
from ngm_tune.metrics.pareto import on_front
from ngm_tune.metrics.selection import hypervolume_subset
from ngm_tune.results.columns import hyperparameters_of
from ngm_tune.results.directory import Results
from ngm_tune.results.ids import CONFIRM_SUFFIX
from ngm_tune.results.outcome import outcome_of
from ngm_tune.study.files import validate_study
from ngm_tune.study.initial_points import located
from ngm_tune.study.plan import StudyPlan
from ngm_tune.study.search_spaces import IN_TOML, Point
from ngm_tune.study.study import Study
from ngm_tune.workspace.manifest import copied_study, stored_study

_MOST = 5
"""Points of one benchmark and method: enough to cover a front, few against usual trials."""

Row = dict[str, Any]


def warm_started(study: Study, location: str, there: str) -> tuple[Study, int | None]:
    """The study with points from the fronts of another one's results, after its own points.

    A benchmark that the other study had takes its fronts from there, any other benchmark those of
    all that it had.

    Args:
        study: The study to start.
        location: The results directory of the other one.
        there: That of the study itself; if it was started there, with the points of then.

    Returns:
        The study, and how many configurations were left out as outside of its search spaces; None
        where it was started already, so that nothing is taken from there.

    Raises:
        UserError: There are no such results, no trial of the study's methods among them, or the
            study does not search.
    """
    started = Results(there)
    former = stored_study(started, study.name) or copied_study(started)
    if former is not None:
        content = study.model_dump() | {"points_to_evaluate": former.points_to_evaluate}
        return validate_study(content, f"{there}/study.toml"), None
    if study.settings is not None:
        raise UserError(f"--warm-start {location}: with settings there is no search to start")
    results = Results(location)
    results.require()
    rows = [row for row in results.read("trials").to_pylist() if row["method"] in study.methods]
    arms = [(benchmark, method) for benchmark in study.benchmarks for method in study.methods]
    plan = StudyPlan.resolve(study)
    points: list[Point] = []
    found = outside = 0
    for benchmark, method in arms:
        own = plan.points_of(benchmark, method)
        room = study.trials - len(own)
        for settings in _best(study, rows, benchmark, method):
            found += 1
            try:
                place = located("", plan.methods[method], plan.spaces[method], settings)
            except ValueError:
                outside += 1
                continue
            if place not in own and room > 0:
                spelled = {k: v if type(v) in IN_TOML else str(v) for k, v in settings.items()}
                points.append({"method": method, "benchmark": benchmark, **spelled})
                room -= 1
    if not found:
        raise UserError(
            f"--warm-start {location}: no completed trial there of {', '.join(study.methods)} that "
            f"has {', '.join(study.objectives)} and keeps the constraints"
        )
    content = study.model_dump() | {"points_to_evaluate": [*study.points_to_evaluate, *points]}
    return validate_study(content, f"--warm-start {location}"), outside


def _best(study: Study, rows: Sequence[Row], benchmark: str, method: str) -> list[Config]:
    """At most so many configurations of a method's fronts."""
    rows = [row for row in rows if row["method"] == method]
    there = {row["benchmark"] for row in rows}
    sources = [benchmark] if benchmark in there else sorted(there)
    fronts = [_front([row for row in rows if row["benchmark"] == b], study) for b in sources]
    share = max(1, _MOST // max(1, len(sources)))
    distinct: dict[tuple[Any, ...], Config] = {}
    for front in fronts:
        for settings in front[:share]:
            distinct.setdefault(tuple(settings.values()), settings)
    return list(distinct.values())[:_MOST]


def _front(rows: Sequence[Row], study: Study) -> list[Config]:
    """The front of one arm, what dominates most first.

    Of its search, on validation data; confirmed trials would carry test data into another search.
    Where nothing was searched, the settings that were given, whatever they reached on test data.
    """
    trials: dict[str, list[Row]] = {}
    for row in rows:
        if not row["trial_id"].endswith(CONFIRM_SUFFIX):
            trials.setdefault(row["trial_id"], []).append(row)
    whole = max(map(len, trials.values()), default=0)
    complete: dict[tuple[float, ...], Row] = {}
    for seeds in trials.values():
        ended = outcome_of(seeds, [], study.objectives, study.constraints).finite()
        given = seeds[0]["phase"] == "confirm"
        eligible = ended.status == "completed" and (given or all(map(is_feasible, ended.violation)))
        if eligible and ended.values is not None and len(seeds) == whole:
            complete[ended.values] = seeds[0]
    objectives = study.objective_metrics
    values = np.array(list(complete))
    front = values[on_front(values, objectives)]
    order = hypervolume_subset(front, objectives, study.reference_point, len(front))
    return [_settings(complete[tuple(front[i])]) for i in order]


def _settings(row: Row) -> Config:
    """The searched hyper-parameters of a trial."""
    searched = get_method(row["method"]).domains
    found = hyperparameters_of(row, searched)
    return {name: found[name] for name in searched if name in found}
