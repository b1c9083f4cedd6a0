"""Searches whose outcomes are invented instead of trained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from ngm_tune.results.outcome import Outcome
from ngm_tune.search.benchmark_search import BenchmarkSearch
from ngm_tune.search.method_search import MethodSearch
from ngm_tune.search.optuna_journal import open_storage
from ngm_tune.search.run_spec import RunSpec
from ngm_tune.study.files import validate_study
from ngm_tune.study.plan import StudyPlan
from ngm_tune.study.study import Study

METHODS = ["sgd", "momentum-sgd", "adam", "ngm-sgd"]
TASKS = 5


SEARCHES: dict[str, dict[str, Any]] = {
    "plain": {},
    "constrained": {"constraints": ["avg_acc >= 0.9"]},
    "racing": {"racing": {}, "trials": 9},
    "early_stopping": {"early_stopping": {"min_peers": 3}},
    "racing and stopping": {
        "racing": {"min_probability": 0.3},
        "early_stopping": {"min_peers": 2},
        "trials": 9,
    },
}


def a_study(**changes: Any) -> Study:
    content = {
        "name": "mine",
        "title": "A study",
        "benchmarks": ["split-digits"],
        "methods": METHODS,
        "trials": 14,
        "reference_point": {"avg_acc": 0.1, "avg_sg": 1.0},
    }
    return validate_study({**content, **changes}, "test")


def benchmark_search(
    journal: Path,
    methods: Sequence[str] = ("sgd",),
    finished: Mapping[str, Outcome] | None = None,
    **changes: Any,
) -> BenchmarkSearch:
    """Return the searches of some methods on Split-Digits."""
    study = a_study(**{"methods": list(methods), **changes})
    storage = open_storage(journal)
    return BenchmarkSearch(
        StudyPlan.resolve(study), "split-digits", storage=storage, finished=finished or {}
    )


def method_search(
    journal: Path,
    method: str = "sgd",
    finished: Mapping[str, Outcome] | None = None,
    **changes: Any,
) -> MethodSearch:
    """Return the search of one method on Split-Digits.

    It is the only method of its study, unless points or other methods are given.
    """
    alone = [method] if "points_to_evaluate" not in changes else METHODS
    methods = changes.pop("methods", alone)
    benchmark = benchmark_search(journal, methods, finished, **changes)
    return benchmark.searches[methods.index(method)]


def score(spec: RunSpec) -> Outcome:
    """Return an invented trade-off, best at learning rates between 0.01 and 0.1, with noise."""
    x = math.log10(spec.hyperparameters["lr"])
    key = [*spec.trial_id.encode()]
    noise = np.mean([np.random.default_rng([*key, seed]).normal() for seed in spec.seeds])
    accuracy = 1.0 - 0.1 * (x + 1) ** 2 + 0.01 * float(noise)
    gap = 0.1 * (x + 2) ** 2 - 0.01 * float(noise)
    interim = [(accuracy, math.nan)]
    interim += [(accuracy + 0.02 * (TASKS - k), gap * k / TASKS) for k in range(2, TASKS + 1)]
    return Outcome("completed", (accuracy, gap), (0.9 - accuracy,), tuple(interim))


def train(search: MethodSearch, spec: RunSpec) -> Outcome:
    """Return the outcome of a run, which can be stopped after any task but the last."""
    outcome = score(spec)
    for task in range(1, TASKS):
        if search.should_prune(spec.run_id, outcome.interim[:task]):
            return Outcome("stopped", None, interim=outcome.interim[:task])
    if not search._study.constraints:
        return Outcome(outcome.status, outcome.values, (), outcome.interim)
    return outcome


Drawn = dict[str, dict[str, Any]]


Outcomes = dict[str, Outcome]


def draw(search: MethodSearch, stop: int | None = None, order: tuple[int, ...] = (-1,)) -> Drawn:
    """Return the hyper-parameters that a search proposes, by run id, for all or some runs."""
    return draw_and_keep(search, stop, order)[0]


def draw_and_keep(
    search: MethodSearch, stop: int | None = None, order: tuple[int, ...] = (-1,)
) -> tuple[Drawn, Outcomes]:
    """Start all runs that may run at once, finish one of them in ``order``; newest by default."""
    drawn: Drawn = {}
    outcomes: Outcomes = {}
    running: list[RunSpec] = []
    while len(outcomes) != stop:
        while spec := search.ask():
            drawn[spec.run_id] = spec.hyperparameters
            running.append(spec)
        if not running:
            break
        done = running.pop(min(order[len(drawn) % len(order)], len(running) - 1))
        outcomes[done.run_id] = train(search, done)
        search.finish(done.run_id, outcomes[done.run_id])
    return drawn, outcomes


def one(search: MethodSearch) -> RunSpec:
    spec = search.ask()
    assert spec is not None
    return spec


def optuna_trials(journal: Path, method: str = "sgd") -> list[FrozenTrial]:
    study = optuna.load_study(study_name=f"split-digits/{method}", storage=open_storage(journal))
    return study.trials
