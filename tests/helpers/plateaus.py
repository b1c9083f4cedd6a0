"""Searches with a plateau and simulated outcomes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ngm_tune.results.outcome import Outcome
from ngm_tune.search.benchmark_search import BenchmarkSearch
from ngm_tune.search.method_search import MethodSearch
from ngm_tune.search.optuna_journal import open_storage
from ngm_tune.study.plan import StudyPlan
from tests.helpers.searches import a_study

METHODS = ["sgd", "adam", "ngm-sgd"]


Curve = Callable[[int], float]
"""Accuracy of a run of a method as a function of its number. The gap of every run is 0.1."""


def flat(_: int) -> float:
    return 0.8


def rising(number: int) -> float:
    return 0.4 + 0.01 * number


def slow(number: int) -> float:
    """An accuracy that hardly improves from run 9 on."""
    return 0.8 - 0.5 * math.exp(-number / 2)


def make_searches(
    journal: Path, finished: dict[str, Outcome] | None = None, **changes: Any
) -> list[MethodSearch]:
    """Return the searches of all methods of a study with a plateau."""
    plateau = {"plateau": {"patience": 4}, "trials": 30, "sampler": "random", "methods": METHODS}
    study = a_study(**{**plateau, **changes})
    storage = open_storage(journal)
    return [
        search
        for benchmark in study.benchmarks
        for search in BenchmarkSearch(
            StudyPlan.resolve(study), benchmark, 0, storage=storage, finished=finished or {}
        ).searches
    ]


def run_searches(
    searches: Sequence[MethodSearch], curves: Sequence[Curve], most: int = 10_000
) -> dict[str, Outcome]:
    """Run searches in turns. Within a search, the newest run finishes first.

    Args:
        searches: The searches.
        curves: A curve for each search.
        most: Largest number of runs to finish.

    Returns:
        Outcomes by run id.
    """
    outcomes: dict[str, Outcome] = {}
    is_active = True
    while is_active:
        is_active = False
        for search, curve in zip(searches, curves, strict=True):
            running = []
            while spec := search.ask():
                running.append(spec)
            for spec in reversed(running):
                if len(outcomes) == most:
                    return outcomes
                number = int(spec.trial_id[-4:])
                outcomes[spec.run_id] = Outcome("completed", (curve(number), 0.1))
                search.finish(spec.run_id, outcomes[spec.run_id])
                is_active = True
    return outcomes


def count_runs(searches: Sequence[MethodSearch]) -> list[int]:
    """Return the number of ended runs of each search."""
    return [len(search.outcomes) for search in searches]
