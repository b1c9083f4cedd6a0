"""Comparison of the options of a search at equal compute, on recorded runs.

More seeds per trial and the sampler "tpe" are replayed by the product's search code
on the runs of :mod:`.table`; a suggestion receives the outcome of the nearest recorded setting. The
compute of a search is counted in tasks trained with one seed and is the same for every option.
Every search then confirms at most four configurations with three fresh seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from optuna.storages import InMemoryStorage
from scipy.spatial import cKDTree

from ngm_tune.methods import get_method
from ngm_tune.metrics.registry import METRICS
from ngm_tune.metrics.selection import hypervolume_subset
from ngm_tune.results.outcome import Outcome
from ngm_tune.results.schema import Status
from ngm_tune.search.method_search import MethodSearch
from ngm_tune.study.plan import StudyPlan
from ngm_tune.study.study import Study

from .splits import (
    REFERENCE,
    SHIFTS,
    Draws,
    Floats,
    Ints,
    confirm,
    detectable,
    dominated_volume,
    to_points,
)
from .table import BENCHMARK, OBJECTIVES, Table, settings_of, to_unit

CONFIGURATIONS, CONFIRM_SEEDS = 4, 3
SEARCHES = 5
"""Number of repetitions of a study for which the resolution is reported."""
BUDGETS = (16, 24)
"""Seed-runs of a search, without its confirmation."""
REPETITIONS = 120


class Option(NamedTuple):
    """A kind of search.

    Attributes:
        name: Its name in the comparison.
        seeds: Number of seeds of a trial.
        keys: Keys of the study.
        baseline: Name of the option that it is compared with; empty for none.
    """

    name: str
    seeds: int = 1
    keys: Mapping[str, Any] = MappingProxyType({})
    baseline: str = "1 seed"


OPTIONS = (
    Option("1 seed", baseline=""),
    Option("2 seeds", 2),
    Option("3 seeds", 3),
    Option("tpe, 1 seed", 1, {"sampler": "tpe"}),
)
"""The sampler is "random" where the name has no other."""


class Scores(NamedTuple):
    """Results of N searches of a method.

    Attributes:
        volume: Confirmed hypervolume, shape (N,).
        shifted: The same with the largest of ``SHIFTS`` added to the gap in the confirmation.
        trials: Number of settings tried, shape (N,).
    """

    volume: Floats
    shifted: Floats
    trials: Ints


class Row(NamedTuple):
    """A row of the comparison.

    Attributes:
        option: Name of the option.
        runs: Compute of a search in seed-runs.
        trials: Mean number of settings tried.
        volume: Mean confirmed hypervolume of each method.
        baseline: Name of the option that it is compared with; empty for none.
        gain: Mean gain in hypervolume over the baseline, mean over the methods.
        error: Standard error of ``gain``; the searches are paired by repetition.
        resolved: Difference in the gap that 80 % of studies with five repetitions find.
    """

    option: str
    runs: float
    trials: float
    volume: list[float]
    baseline: str
    gain: float
    error: float
    resolved: float


class Replay:
    """Replays searches of one method with the product's search code.

    Args:
        method: Name of the method.
        table: Its recorded runs.
    """

    def __init__(self, method: str, table: Table) -> None:
        self.table = table
        self._method = get_method(method)
        points = settings_of(self._method, len(table.search))
        self._tree = cKDTree([to_unit(self._method, point) for point in points])

    def search(
        self, option: Option, budget: int, arrangement: int, seeds: list[int], seed: int
    ) -> tuple[list[int], int, int]:
        """Replay a search until its compute is spent.

        Args:
            option: The kind of search.
            budget: Seed-runs.
            arrangement: Arrangement of the data.
            seeds: Recorded seeds, in the order of their use.
            seed: Seed of the sampler.

        Returns:
            The settings to confirm, the number of settings tried, and the number of trained tasks.
        """
        study = Study.model_validate(
            {
                "name": "replay",
                "title": "A search on recorded runs",
                "benchmarks": [BENCHMARK],
                "methods": [self._method.name],
                "searches": 1,
                "trials": 4 * budget,  # more than the budget allows
                "seeds": seeds[: option.seeds],
                "seed": seed,
                "sampler": "random",
                "reference_point": REFERENCE,
                **option.keys,
            }
        )
        plan, storage = StudyPlan.resolve(study), InMemoryStorage()
        search = MethodSearch(plan, BENCHMARK, self._method.name, 0, storage=storage, finished={})
        settings: dict[str, int] = {}
        tasks = self.table.search.shape[3]
        spent = 0
        # A trial with several seeds starts only if the budget is nearer to its end than before.
        while (spec := search.ask()) is not None:
            if spent + len(spec.seeds) * tasks / 2 > budget * tasks:
                break
            setting = int(self._tree.query(to_unit(self._method, spec.coordinates))[1])
            settings[spec.trial_id] = setting
            values = self.table.search[setting, arrangement][list(spec.seeds)].mean(axis=0)
            spent += tasks * len(spec.seeds)
            search.finish(spec.run_id, _outcome(values[-1]))
        front = search.front()
        tried = list(settings.values())
        chosen = _select([tried[number] for number in front], list(front.values()))
        return chosen, len(tried), spent

    def score(self, option: Option, budget: int, draws: Draws, first_seed: int) -> Scores:
        """Replay N searches and their confirmations."""
        chosen = np.zeros((len(draws.arrangement), CONFIGURATIONS), dtype=np.int64)
        selected = np.zeros(chosen.shape, dtype=np.bool_)
        trials = np.zeros(len(chosen), dtype=np.int64)
        for number, arrangement in enumerate(draws.arrangement.tolist()):
            seeds = draws.seeds[number].tolist()
            found, trials[number], _ = self.search(
                option, budget, arrangement, seeds, first_seed + number
            )
            chosen[number, : len(found)] = found
            selected[number, : len(found)] = True
        return _confirm_both(self.table, chosen, selected, draws, trials)


def _outcome(values: Floats) -> Outcome:
    """Return the outcome of a run with recorded objectives, means over its seeds, shape (M,)."""
    objectives = tuple(map(float, values))
    is_worst = objectives == tuple(METRICS[name].worst for name in OBJECTIVES)
    return Outcome(Status.DIVERGED if is_worst else Status.COMPLETED, objectives)


def _select(settings: list[int], values: list[tuple[float, ...]]) -> list[int]:
    """Return the settings of a front to confirm: those that add hypervolume, else the nearest."""
    if not values:
        return []
    objectives = [METRICS[name] for name in OBJECTIVES]
    order = hypervolume_subset(values, objectives, REFERENCE, CONFIGURATIONS)
    points = to_points(np.array(values)[order])
    volumes = [float(dominated_volume(points[:count])) for count in range(1, len(points) + 1)]
    adding = sum(np.diff(volumes) > 1e-12)  # the points that add nothing come last
    return [settings[i] for i in order[: 1 + adding]]


def _confirm_both(
    table: Table, chosen: Ints, selected: NDArray[np.bool_], draws: Draws, trials: Ints
) -> Scores:
    volume, shifted = (
        confirm(table, chosen, selected, draws, CONFIRM_SEEDS, shift).volume
        for shift in (0.0, SHIFTS[-1])
    )
    return Scores(volume, shifted, trials)


def resolution(first: Sequence[Scores], again: Sequence[Scores]) -> float:
    """Return the difference in the gap that 80 % of studies find, mean over the methods.

    Args:
        first: Scores of each method.
        again: Scores of other searches of each method, in the same repetitions.
    """
    each = []
    for one, other in zip(first, again, strict=True):
        effect = (other.volume - other.shifted).mean() / SHIFTS[-1]
        each.append((one.volume - other.shifted).std(ddof=1) / effect)
    return float(detectable(SEARCHES) * np.mean(each))


def _row(
    name: str,
    runs: float,
    first: Sequence[Scores],
    again: Sequence[Scores],
    baseline: tuple[str, Floats],
) -> Row:
    """Return a row; ``baseline`` has a name and hypervolumes from :func:`_volumes`."""
    gains = _volumes(first, again) - baseline[1]
    return Row(
        option=name,
        runs=runs,
        trials=float(np.mean([score.trials for score in (*first, *again)])),
        volume=[float(np.mean([a.volume, b.volume])) for a, b in zip(first, again, strict=True)],
        baseline=baseline[0],
        gain=float(gains.mean()),
        error=float(gains.std(ddof=1) / len(gains) ** 0.5),
        resolved=resolution(first, again),
    )


def _volumes(first: Sequence[Scores], again: Sequence[Scores]) -> Floats:
    """Return the mean hypervolume in each repetition, shape (N,)."""
    return np.asarray(np.mean([score.volume for score in (*first, *again)], axis=0))


def compare_options(tables: Mapping[str, Table], repetitions: int = REPETITIONS) -> list[Row]:
    """Replay every option with every budget."""
    replays = [Replay(name, table) for name, table in tables.items()]
    arrangements = replays[0].table.search.shape[1]
    draws = Draws.random(repetitions, arrangements, np.random.default_rng(0))
    rows = []
    for budget in BUDGETS:
        volumes: dict[str, Floats] = {}
        for option in OPTIONS:
            first, again = (
                [replay.score(option, budget, draws, seed) for replay in replays]
                for seed in (0, repetitions)
            )
            volumes[option.name] = _volumes(first, again)
            baseline = option.baseline, volumes[option.baseline or option.name]
            rows.append(_row(option.name, budget, first, again, baseline))
            print(rows[-1], flush=True)
    return rows
