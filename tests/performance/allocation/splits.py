"""Comparison of splits of a study's compute: repetitions, trials, seeds and confirmation.

Settings are drawn at random, as random search and the first ten trials of "tpe" do. All repetitions
of a split are replayed at once in NumPy.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import nct, t

from ngm_tune.metrics.pareto import shortfall
from ngm_tune.metrics.registry import METRICS

from .table import OBJECTIVES, SEEDS, Table

REFERENCE = {"avg_acc": 0.8, "avg_sg": 0.5}
BUDGETS = (34, 68, 140, 280)
"""Seed-runs of a method, search and confirmation together."""
SEARCHES = (2, 3, 4, 5, 7, 10, 14, 20)
TRIALS = range(4, 49)
TRIAL_SEEDS = (1, 2, 3)
CONFIGURATIONS = (1, 2, 3, 4, 6)
CONFIRM_SEEDS = (1, 2, 3, 5)
SHIFTS = (0.02, 0.05)
"""Differences in the gap that a study should find."""
TYPICAL = (
    (2, 8, 1, 3, 3),
    (4, 8, 1, 3, 3),
    (2, 16, 3, 4, 5),
    (5, 8, 3, 2, 2),
    (5, 16, 1, 4, 3),
    (10, 11, 1, 1, 3),
    (4, 16, 3, 4, 5),
    (5, 44, 1, 4, 3),
    (10, 16, 1, 4, 3),
)
"""Splits of interest; those with 16 trials of three seeds were the former quickstart."""
REPETITIONS = 2100
"""Number of replayed repetitions of a split."""
REGROUPINGS = 10
"""How often the repetitions are divided into studies at random."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Split(NamedTuple):
    """A split of the compute of a method."""

    searches: int
    trials: int
    seeds: int
    configurations: int
    confirm_seeds: int

    @property
    def runs(self) -> int:
        """Number of seed-runs, if every search confirms as many configurations as it may."""
        search, confirm = self.trials * self.seeds, self.configurations * self.confirm_seeds
        return self.searches * (search + confirm)


class Draws(NamedTuple):
    """What N repetitions draw at random and share between the methods.

    Attributes:
        arrangement: Arrangement, shape (N,).
        seeds: Order of the seeds of the search, shape (N, 3).
        fresh: Order of the seeds of the confirmation, shape (N, 5).
    """

    arrangement: Ints
    seeds: Ints
    fresh: Ints

    @classmethod
    def random(cls, count: int, arrangements: int, random: np.random.Generator) -> Draws:
        """Draw N repetitions."""
        orders = [np.tile(np.arange(SEEDS[phase]), (count, 1)) for phase in ("search", "confirm")]
        return cls(
            random.integers(arrangements, size=count),
            *(random.permuted(order, axis=1) for order in orders),
        )


class Score(NamedTuple):
    """Confirmed hypervolume of N searches, and the number of confirmed configurations."""

    volume: Floats
    confirmed: Ints


class Figures(NamedTuple):
    """What a split of the compute achieves. Hypervolumes are normalised.

    Attributes:
        split: The split.
        used: Seed-runs of a method on average; a search may confirm fewer configurations.
        half_width: Median half width of the 95 % interval of the difference of the two methods.
        power: Share of studies that find the difference of the two methods.
        powers: Share of studies that find each of :data:`SHIFTS`, mean over the methods.
        resolved: Difference in the gap that 80 % of studies find, mean over the methods.
        false: Share of studies that find a difference between a method and itself.
        volume: Mean confirmed hypervolume of each method.
    """

    split: Split
    used: float
    half_width: float
    power: float
    powers: list[float]
    resolved: float
    false: float
    volume: list[float]


def candidates(budget: int) -> Iterator[Split]:
    """Yield the splits of a budget that spend it up to a trial per search."""
    for searches, seeds, count, fresh in itertools.product(
        SEARCHES, TRIAL_SEEDS, CONFIGURATIONS, CONFIRM_SEEDS
    ):
        trials = (budget // searches - count * fresh) // seeds
        if trials in TRIALS and count <= trials:
            yield Split(searches, trials, seeds, count, fresh)


def to_points(values: Floats) -> Floats:
    """Return objectives as distances from the ideal: 0 at the ideal, 1 at the reference point."""
    objectives = [METRICS[name] for name in OBJECTIVES]
    return shortfall(values, objectives, REFERENCE).reshape(values.shape)


def dominated_volume(points: Floats) -> Floats:
    """Return the normalised hypervolume of sets of points, shape (...,).

    Args:
        points: Points of :func:`to_points`, shape (..., C, 2).
    """
    order = np.argsort(points[..., 0], axis=-1)
    first, second = (
        np.minimum(np.take_along_axis(points[..., axis], order, -1), 1.0) for axis in (0, 1)
    )
    heights = 1.0 - np.minimum.accumulate(second, axis=-1)
    return np.asarray((np.diff(first, axis=-1, append=1.0) * heights).sum(axis=-1))


def select(points: Floats, count: int) -> tuple[Ints, NDArray[np.bool_]]:
    """Select the configurations to confirm: greedy hypervolume subset selection.

    Only points that add hypervolume are selected; if none does, the one nearest to the ideal.

    Args:
        points: Points of N searches, shape (N, T, 2).
        count: Largest number of points to select.

    Returns:
        Indices and a mask of those that are selected, each of shape (N, count).
    """
    indices = np.zeros((len(points), count), dtype=np.int64)
    selected = np.zeros((len(points), count), dtype=np.bool_)
    chosen = np.ones((len(points), 0, 2))
    volume = np.zeros(len(points))
    for place in range(count):
        others = np.broadcast_to(chosen[:, None], (*points.shape[:2], place, 2))
        volumes = dominated_volume(np.concatenate([others, points[:, :, None]], axis=2))
        best = volumes.argmax(axis=1)
        adds = volumes.max(axis=1) > volume + 1e-12
        if place == 0:
            nearest = np.linalg.norm(points, axis=2).argmin(axis=1)
            best, selected[:, 0] = np.where(adds, best, nearest), True
        else:
            selected[:, place] = adds
        indices[:, place] = best
        added = np.take_along_axis(points, best[:, None, None], axis=1)
        chosen = np.concatenate([chosen, np.where(adds[:, None, None], added, 1.0)], axis=1)
        volume = np.maximum(volume, volumes.max(axis=1))
    return indices, selected


def confirm(
    table: Table, chosen: Ints, selected: NDArray[np.bool_], draws: Draws, seeds: int, shift: float
) -> Score:
    """Confirm configurations with fresh seeds.

    Args:
        table: Recorded runs.
        chosen: Settings, shape (N, C).
        selected: Which of them are confirmed, shape (N, C).
        draws: The repetitions.
        seeds: Number of fresh seeds.
        shift: Amount added to the gap.
    """
    fresh = draws.fresh[:, None, :seeds]
    values = table.confirm[chosen[..., None], draws.arrangement[:, None, None], fresh]
    points = to_points(_shift(values, shift).mean(axis=2))
    points[~selected] = 1.0
    return Score(dominated_volume(points), selected.sum(axis=1))


def draw_settings(table: Table, trials: int, draws: Draws, random: np.random.Generator) -> Ints:
    """Draw the settings of N searches at random, shape (N, T)."""
    return random.integers(len(table.search), size=(len(draws.arrangement), trials))


def search(
    table: Table, split: Split, draws: Draws, random: np.random.Generator, shifts: Sequence[float]
) -> list[Score]:
    """Replay N searches and their confirmations.

    Args:
        table: Recorded runs of the method.
        split: The split of the compute.
        draws: The repetitions.
        random: Draws the settings.
        shifts: Amounts added to the gap; each gives a score with the same draws.
    """
    settings = draw_settings(table, split.trials, draws, random)
    seeds = draws.seeds[:, None, : split.seeds]
    values = table.search[settings[..., None], draws.arrangement[:, None, None], seeds, -1]
    scores = []
    for shift in shifts:
        points = to_points(_shift(values, shift).mean(axis=2))
        indices, selected = select(points, split.configurations)
        chosen = np.take_along_axis(settings, indices, axis=1)
        scores.append(confirm(table, chosen, selected, draws, split.confirm_seeds, shift))
    return scores


def _shift(values: Floats, shift: float) -> Floats:
    """Return objectives with a larger gap."""
    gap = OBJECTIVES.index("avg_sg")
    shifted = values.copy()
    shifted[..., gap] = np.clip(values[..., gap] + shift, 0.0, 1.0)
    return shifted


def half_widths(differences: Floats) -> Floats:
    """Return half widths of the 95 % t interval over the last axis, the repetitions of a study."""
    searches = differences.shape[-1]
    errors = differences.std(axis=-1, ddof=1) / searches**0.5
    return np.asarray(t.ppf(0.975, searches - 1) * errors)


def to_studies(differences: Floats, searches: int, random: np.random.Generator) -> Floats:
    """Divide repetitions into studies at random, several times; shape (studies, searches)."""
    orders = [random.permutation(len(differences)) for _ in range(REGROUPINGS)]
    whole = len(differences) // searches * searches
    return np.concatenate([differences[order[:whole]].reshape(-1, searches) for order in orders])


def find(differences: Floats, searches: int, random: np.random.Generator) -> float:
    """Return the share of studies whose interval excludes zero."""
    studies = to_studies(differences, searches, random)
    return float((np.abs(studies.mean(axis=-1)) > half_widths(studies)).mean())


def detectable(searches: int) -> float:
    """Return the difference that 80 % of studies find, in standard deviations of a repetition."""
    freedom = searches - 1
    critical = t.ppf(0.975, freedom)
    found = partial(nct.sf, critical, freedom)  # the other tail adds less than 1e-5
    return float(brentq(lambda effect: found(effect) - 0.8, 1.0, 25.0)) / searches**0.5


def evaluate(
    split: Split, tables: Mapping[str, Table], repetitions: int = REPETITIONS, seed: int = 0
) -> Figures:
    """Replay studies with one split of the compute."""
    random = np.random.default_rng([seed, *split])
    arrangements = next(iter(tables.values())).search.shape[1]
    draws = Draws.random(repetitions, arrangements, random)
    first = {name: search(table, split, draws, random, (0.0,))[0] for name, table in tables.items()}
    again = {
        name: search(table, split, draws, random, (0.0, *SHIFTS)) for name, table in tables.items()
    }
    one, other = (first[name].volume for name in tables)
    confirmed = np.mean([score.confirmed.mean() for score in first.values()])
    per_search = split.trials * split.seeds + confirmed * split.confirm_seeds

    def find_shift(number: int) -> float:
        pairs = [(first[name].volume, again[name][number].volume) for name in tables]
        return float(np.mean([find(a - b, split.searches, random) for a, b in pairs]))

    return Figures(
        split=split,
        used=float(split.searches * per_search),
        half_width=float(np.median(half_widths(to_studies(one - other, split.searches, random)))),
        power=find(one - other, split.searches, random),
        powers=[find_shift(number) for number in range(1, 1 + len(SHIFTS))],
        resolved=float(np.mean([_resolved(first[n], again[n], split.searches) for n in tables])),
        false=find_shift(0),
        volume=[float(score.volume.mean()) for score in first.values()],
    )


def _resolved(first: Score, again: Sequence[Score], searches: int) -> float:
    """Return the shift of the gap that 80 % of studies find, from the effect of the largest one.

    Args:
        first: Scores of the method.
        again: Scores of the method with other settings, and with each of :data:`SHIFTS`.
        searches: Number of repetitions.
    """
    effect = (again[0].volume - again[-1].volume).mean() / SHIFTS[-1]
    deviation = (first.volume - again[-1].volume).std(ddof=1)
    return float(detectable(searches) * deviation / effect)


def compare_splits(
    tables: Mapping[str, Table], budget: int, repetitions: int = REPETITIONS
) -> list[Figures]:
    """Replay all splits of a budget, and return them with the best resolution first."""
    figures = [evaluate(split, tables, repetitions) for split in candidates(budget)]
    return sorted(figures, key=lambda f: f.resolved)


class Optimism(NamedTuple):
    """Mean confirmed hypervolume of each method, if configurations have this number of seeds.

    With few seeds it is too large: the front of several noisy points is better than the front of
    their expectations.
    """

    configurations: int
    confirm_seeds: int
    volume: list[float]


def compare_confirmations(
    tables: Mapping[str, Table], trials: int = 16, repetitions: int = 2 * REPETITIONS
) -> list[Optimism]:
    """Confirm the same searches with different numbers of seeds."""
    random = np.random.default_rng(0)
    arrangements = next(iter(tables.values())).search.shape[1]
    draws = Draws.random(repetitions, arrangements, random)
    settings = [draw_settings(table, trials, draws, random) for table in tables.values()]
    rows = []
    for count, fresh in itertools.product((1, 4), CONFIRM_SEEDS):
        volumes = []
        for table, tried in zip(tables.values(), settings, strict=True):
            values = table.search[tried, draws.arrangement[:, None], draws.seeds[:, :1], -1]
            indices, selected = select(to_points(values), count)
            chosen = np.take_along_axis(tried, indices, axis=1)
            score = confirm(table, chosen, selected, draws, fresh, shift=0.0)
            volumes.append(float(score.volume.mean()))
        rows.append(Optimism(count, fresh, volumes))
    return rows
