"""Made-up studies with known truth: response surfaces in the place of training.

Per repetition each method draws random configurations on its response surface, a run of one seed
scores each of them, and ngm-tune selects the configurations that are confirmed with fresh seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ngm_tune.metrics.registry import METRICS
from ngm_tune.metrics.selection import select_to_confirm

OBJECTIVES = [METRICS["avg_acc"], METRICS["avg_sg"]]
REFERENCE = {"avg_acc": 0.8, "avg_sg": 0.5}
MARGINS = {"avg_acc": 0.01, "avg_sg": 0.02}

SHARED_SD = (0.01, 0.02)
"""Standard deviations of accuracy and gap between repetitions, equal for all methods."""
OWN_SD = (0.003, 0.01)
"""The same between repetitions, of each method on its own."""
OPTIMUM_SD = 0.05
"""Standard deviation of the position of a method's optimum between repetitions."""
SEED_SD = (0.005, 0.02)
"""Scale of accuracy and gap between seeds."""
PERTURBATION = 1e-3
"""Standard deviation of what is added to the scores of a search, to see which outcomes change."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scenario:
    """Methods with known response surfaces.

    Attributes:
        name: Key of the scenario.
        title: What the scenario is about.
        shifts: By method, what is added to accuracy and gap. The first method is the focus.
        trials: Number of configurations of each search.
        tails: Degrees of freedom of the seeds' t distribution; None for a normal one.
        diverging: Whether every run of one of the methods diverges in one repetition of each study.
        confirmed: Largest number of confirmed configurations of a search.
        seeds: Number of seeds of a confirmation.
    """

    name: str
    title: str
    shifts: Sequence[tuple[float, float]] = ((0.0, 0.0), (0.0, 0.0))
    trials: int = 16
    tails: float | None = None
    diverging: bool = False
    confirmed: int = 8
    seeds: int = 2

    @property
    def methods(self) -> list[str]:
        """Names of the methods."""
        return [f"method {number}" for number in range(len(self.shifts))]

    @property
    def has_equal_methods(self) -> bool:
        """Whether all true differences are 0."""
        return len(set(self.shifts)) == 1


def _better(accuracy: float, gap: float) -> list[tuple[float, float]]:
    return [(accuracy, -gap), (0.0, 0.0)]


SCENARIOS = (
    Scenario("equal", "two equal methods"),
    Scenario("equal-4x3", "two equal methods, 4 x 3 confirmations", confirmed=4, seeds=3),
    Scenario("equal-8", "two equal methods, 8 trials, 4 x 1", trials=8, confirmed=4, seeds=1),
    Scenario("equal-4", "two equal methods, 4 trials, 4 x 1", trials=4, confirmed=4, seeds=1),
    Scenario("equal-five", "five equal methods", [(0.0, 0.0)] * 5),
    Scenario("heavy", "two equal methods, heavy tails", tails=2.5),
    Scenario("diverged", "two equal methods, one diverged repetition", diverging=True),
    Scenario("half", "gap better by half a margin", _better(0.0, 0.01)),
    Scenario("one", "gap better by one margin", _better(0.0, 0.02)),
    Scenario("two", "gap better by two margins", _better(0.0, 0.04)),
    Scenario("accuracy", "accuracy better by two margins", _better(0.02, 0.0)),
    Scenario("both", "both better by one margin", _better(0.01, 0.02)),
    Scenario("heavy-two", "gap better by two margins, heavy tails", _better(0.0, 0.04), tails=2.5),
    Scenario("weak", "a rival that often misses the reference", [(0.0, 0.0), (-0.14, 0.0)]),
)


class Search(NamedTuple):
    """The trials of one method in one repetition that completed.

    Attributes:
        scores: Objectives in the search, shape (T, M).
        confirmations: Objectives in a confirmation, shape (T, S, M).
        expected: Expected objectives, shape (T, M).
    """

    scores: Floats
    confirmations: Floats
    expected: Floats


def respond(points: Floats, optimum: Floats) -> Floats:
    """Return accuracy and gap on the response surface shared by all methods.

    The first coordinate trades accuracy for gap; the others have an optimum for both. A region of
    the second one forgets most.

    Args:
        points: Configurations in the unit cube, shape (..., 3).
        optimum: The best second and third coordinate, shape (..., 2).

    Returns:
        Shape (..., 2).
    """
    trade, step = points[..., 0], points[..., 1]
    distance = np.square(points[..., 1:] - optimum) @ [0.3, 0.1]
    forgets = 0.4 * (step < 0.1)
    accuracy = 0.95 - 0.13 * trade**2 - distance - forgets
    gap = 0.04 + 0.3 * (1.0 - trade) ** 2 + distance + forgets
    return np.stack([accuracy, gap], axis=-1)


def draw_repetitions(
    scenario: Scenario, count: int, random: np.random.Generator
) -> Iterator[dict[str, Search]]:
    """Draw repetitions of the searches of all methods.

    A configuration diverges where its second and third coordinates are both large.
    """
    methods, trials = len(scenario.shifts), scenario.trials
    points = random.random((count, methods, trials, 3))
    optimum = random.normal(0.5, OPTIMUM_SD, (count, methods, 1, 2))
    expected = respond(points, optimum) + np.array(scenario.shifts)[:, None]
    expected += random.normal(0.0, SHARED_SD, (count, 1, 1, 2))
    expected += random.normal(0.0, OWN_SD, (count, methods, 1, 2))
    shape = (count, methods, trials, 1 + scenario.seeds, 2)
    tails = scenario.tails
    noise = random.standard_normal(shape) if tails is None else random.standard_t(tails, shape)
    runs = (expected[..., None, :] + noise * SEED_SD).clip(0.0, 1.0)
    completed = points[..., 1:].sum(axis=-1) < 1.7
    for run, mean, kept in zip(runs, expected, completed, strict=True):
        yield {
            method: Search(run[i, kept[i], 0], run[i, kept[i], 1:], mean[i, kept[i]])
            for i, method in enumerate(scenario.methods)
        }


def select(scenario: Scenario, scores: Floats) -> list[int]:
    """Return the indices of the configurations to confirm.

    Args:
        scenario: The scenario.
        scores: Objectives of the search, shape (T, M).
    """
    return select_to_confirm(scores, OBJECTIVES, REFERENCE, scenario.confirmed)


def perturb(search: Search, random: np.random.Generator) -> Search:
    """Return the search with noise on its scores and everything else equal."""
    noise = random.normal(0.0, PERTURBATION, search.scores.shape)
    return search._replace(scores=search.scores + noise)


def confirm(scenario: Scenario, search: Search) -> Floats:
    """Return the objectives of the confirmed configurations, shape (C, S, M)."""
    return search.confirmations[select(scenario, search.scores)]


def make_study(
    scenario: Scenario, repetitions: Sequence[Mapping[str, Floats]], number: int
) -> dict[str, list[Floats]]:
    """Return the confirmed objectives of a study by method and repetition.

    If the scenario diverges, study ``number`` lacks all configurations of one method in one
    repetition; methods and repetitions take turns.
    """
    study = {method: [values[method] for values in repetitions] for method in scenario.methods}
    if scenario.diverging:
        turn, repetition = divmod(number, len(repetitions))
        lost = study[scenario.methods[turn % len(study)]]
        lost[repetition] = lost[repetition][:0]
    return study
