"""Searches with a plateau whose outcomes are invented."""

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
"""Accuracy of a method's runs, by number; every gap is 0.1."""


def flat(_: int) -> float:
    return 0.8


def rising(number: int) -> float:
    return 0.4 + 0.01 * number


def slow(number: int) -> float:
    """Hardly any gain from run 9 on."""
    return 0.8 - 0.5 * math.exp(-number / 2)


def searches_of(
    journal: Path, finished: dict[str, Outcome] | None = None, **changes: Any
) -> list[MethodSearch]:
    """Return the searches of a study with a plateau."""
    plateau = {"plateau": {"patience": 4}, "trials": 30, "sampler": "random", "methods": METHODS}
    study = a_study(**{**plateau, **changes})
    storage = open_storage(journal)
    return [
        search
        for benchmark in study.benchmarks
        for search in BenchmarkSearch(
            StudyPlan.resolve(study), benchmark, storage=storage, finished=finished or {}
        ).searches
    ]


def search(
    arms: Sequence[MethodSearch], curves: Sequence[Curve], most: int = 10_000
) -> dict[str, Outcome]:
    """Run the arms by turns, newest first within each; the outcomes by run id."""
    ended: dict[str, Outcome] = {}
    counts = [len(arm.outcomes) for arm in arms]
    going = True
    while going:
        going = False
        for n, (arm, curve) in enumerate(zip(arms, curves, strict=True)):
            running = []
            while proposal := arm.ask():
                running.append(proposal)
            for proposal in reversed(running):
                if len(ended) == most:
                    return ended
                number = int(proposal.trial_id[-4:])
                ended[proposal.run_id] = Outcome("completed", (curve(number), 0.1))
                arm.finish(proposal.run_id, ended[proposal.run_id])
                counts[n] += 1
                going = True
    return ended


def lengths(arms: Sequence[MethodSearch]) -> list[int]:
    return [len(arm.outcomes) for arm in arms]
