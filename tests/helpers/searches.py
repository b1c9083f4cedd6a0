"""Searches with simulated instead of trained outcomes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from ngm_tune.results.outcome import Outcome
from ngm_tune.search.method_search import MethodSearch
from ngm_tune.search.optuna_journal import open_storage
from ngm_tune.search.run_spec import RunSpec
from ngm_tune.study.builds import check_builds
from ngm_tune.study.files import validate_study
from ngm_tune.study.plan import StudyPlan
from ngm_tune.study.study import Study

METHODS = ["sgd", "momentum-sgd", "adam", "ngm-sgd"]
SEARCHES: dict[str, dict[str, Any]] = {
    "plain": {},
    "constrained": {"constraints": ["avg_acc >= 0.9"]},
}
"""Changes to the study for each kind of search."""


def a_study(**changes: Any) -> Study:
    """Return a valid study with some of its keys changed."""
    content = {
        "name": "mine",
        "title": "A study",
        "benchmarks": ["split-digits"],
        "methods": METHODS,
        "searches": 1,
        "trials": 14,
        "seeds": 3,
        "confirm": {"max_configurations": 4, "seeds": 5},
        "split": "fixed",
        "class_order": "paper",
        "reference_point": {"avg_acc": 0.1, "avg_sg": 1.0},
    }
    if "settings" in changes:
        del content["confirm"]
    return validate_study({**content, **changes}, "test")


def a_built_study(**changes: Any) -> Study:
    """Return such a study, and build its methods as loading its file does."""
    study = a_study(**changes)
    check_builds(StudyPlan.resolve(study))
    return study


def make_method_search(
    journal: Path,
    method: str = "sgd",
    finished: Mapping[str, Outcome] | None = None,
    **changes: Any,
) -> MethodSearch:
    """Return the search of one method on Split-Digits.

    It is the only method of its study unless `methods` or `points_to_evaluate` is given.
    """
    defaults = METHODS if "points_to_evaluate" in changes else [method]
    methods = changes.pop("methods", defaults)
    plan = StudyPlan.resolve(a_study(**{"methods": methods, **changes}))
    storage = open_storage(journal)
    return MethodSearch(plan, "split-digits", method, 0, storage=storage, finished=finished or {})


def simulate_outcome(spec: RunSpec) -> Outcome:
    """Return a noisy trade-off. The front is at learning rates between 0.01 and 0.1."""
    x = math.log10(spec.hyperparameters["lr"])
    key = [*spec.trial_id.encode()]
    noise = np.mean([np.random.default_rng([*key, seed]).normal() for seed in spec.seeds])
    accuracy = 1.0 - 0.1 * (x + 1) ** 2 + 0.01 * float(noise)
    gap = 0.1 * (x + 2) ** 2 - 0.01 * float(noise)
    return Outcome("completed", (accuracy, gap), (0.9 - accuracy,))


def simulate_run(search: MethodSearch, spec: RunSpec) -> Outcome:
    """Return the simulated outcome of a run, with the violations of the study's constraints."""
    outcome = simulate_outcome(spec)
    return outcome if search._study.constraints else replace(outcome, violation=())


Suggestions = dict[str, dict[str, Any]]
"""Hyper-parameters by run id."""

Outcomes = dict[str, Outcome]
"""Outcomes by run id."""


def list_suggestions(
    search: MethodSearch, stop: int | None = None, order: tuple[int, ...] = (-1,)
) -> Suggestions:
    """Run a search and return the hyper-parameters that it suggests."""
    return run_search(search, stop, order)[0]


def run_search(
    search: MethodSearch, stop: int | None = None, order: tuple[int, ...] = (-1,)
) -> tuple[Suggestions, Outcomes]:
    """Run a search with as many concurrent runs as it allows.

    Args:
        search: The search.
        stop: Number of runs to finish; None for all.
        order: Positions of the runs to finish next among the running ones, repeated as necessary.
            By default the newest run is finished first.
    """
    suggestions: Suggestions = {}
    outcomes: Outcomes = {}
    running: list[RunSpec] = []
    while len(outcomes) != stop:
        while spec := search.ask():
            suggestions[spec.run_id] = spec.hyperparameters
            running.append(spec)
        if not running:
            break
        done = running.pop(min(order[len(suggestions) % len(order)], len(running) - 1))
        outcomes[done.run_id] = simulate_run(search, done)
        search.finish(done.run_id, outcomes[done.run_id])
    return suggestions, outcomes


def ask_run(search: MethodSearch) -> RunSpec:
    """Start the next run of a search that has one to start."""
    spec = search.ask()
    assert spec is not None
    return spec


def read_optuna_trials(journal: Path, method: str = "sgd") -> list[FrozenTrial]:
    """Return the Optuna trials in the record of a search."""
    study = optuna.load_study(study_name=f"split-digits/{method}", storage=open_storage(journal))
    return study.trials
