"""Racing: which configurations get further seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ngm_tune.metrics.constraints import Constraint
from ngm_tune.metrics.pareto import on_front
from ngm_tune.metrics.registry import METRICS
from ngm_tune.results.outcome import Outcome
from ngm_tune.search.method_search import MethodSearch
from ngm_tune.search.racing import (
    _noise_variances,
    fit_seed_effects,
    front_probabilities,
    select_for_next_seed,
)
from ngm_tune.search.run_spec import RunSpec
from tests.helpers.searches import draw_and_keep, method_search, one

Floats = NDArray[np.float64]
BOTH = [METRICS["avg_acc"], METRICS["avg_sg"]]
SHAPES = [(4, 4, 4, 4), (4, 4, 2, 1, 1, 1), (4, 2, 1, 1)]
"""Seeds of each configuration: all, as in a race, and with a leader that ran seeds alone."""


def raced(values: Floats, seeds: Sequence[int]) -> Floats:
    """The same, of each configuration its first seeds only."""
    values = values.copy()
    for row, count in zip(values, seeds, strict=True):
        row[count:] = np.nan
    return values


def noisy(means: Sequence[tuple[float, float]], seeds: int, noise: float = 0.01) -> Floats:
    """Objectives of configurations by seed, with noise of each run."""
    draws = np.random.default_rng(1).normal(0.0, noise, (len(means), seeds, 2))
    return np.asarray(np.array(means)[:, None] + draws)


def test_no_configuration_is_excluded_while_the_noise_is_unknown() -> None:
    values = raced(noisy([(0.9, 0.1), (0.1, 0.9)], 3), (1, 1))
    assert front_probabilities(values, BOTH, 0).tolist() == [1.0, 1.0]


def test_dominated_configurations_are_improbable_and_clear_trade_offs_probable() -> None:
    means = [(0.95, 0.3), (0.8, 0.1), (0.7, 0.5), (0.9, 0.5)]
    chances = front_probabilities(noisy(means, 3), BOTH, 0)
    assert (chances[:2] > 0.99).all()
    assert (chances[2:] < 0.01).all()
    few = front_probabilities(raced(noisy(means, 3), (3, 2, 1, 1)), BOTH, 0)
    assert (few[:2] > 0.95).all()
    assert (few[2:] < 0.05).all()


def test_configurations_with_equal_means_are_equally_probable() -> None:
    """One objective, two configurations at equal means: each is ahead half of the time."""
    values = np.array([[[0.90], [0.92], [0.91]], [[0.92], [0.90], [0.91]]])
    chances = front_probabilities(values, BOTH[:1], 0)
    assert chances == pytest.approx([0.5, 0.5], abs=0.1)
    assert chances.sum() == pytest.approx(1.0, abs=0.05)


def test_low_probabilities_are_calibrated() -> None:
    """Of what is all but ruled out hardly more is on the true front than its chances say.

    With noise as large as the differences, and known from three configurations with two seeds.
    """
    random = np.random.default_rng(0)
    ruled_out = []
    for repetition in range(250):
        true = 0.02 * random.normal(size=(8, 2)) + (0.8, 0.2)
        seeds = random.normal(0.0, 0.03, (1, 2, 2))
        values = true[:, None] + seeds + random.normal(0.0, 0.02, (8, 2, 2))
        chances = front_probabilities(raced(values, (2, 2, 2, 1, 1, 1, 1, 1)), BOTH, repetition)
        ruled_out += list(np.asarray(on_front(true, BOTH))[chances < 0.05])
    assert len(ruled_out) > 200
    assert np.mean(ruled_out) < 0.085


@pytest.mark.parametrize(("configurations", "least"), [(2, 0.85), (3, 0.85), (5, 0.85), (20, 0.93)])
def test_the_noise_variance_is_corrected_for_the_fitted_seed_effects(
    configurations: int, least: float
) -> None:
    """The seed's effect was fitted to the same values, which takes a part of the residuals."""
    random = np.random.default_rng(0)
    runs = np.full(configurations, 2)
    pooled = []
    for _ in range(1500):
        _, residuals = fit_seed_effects(random.normal(size=(configurations, 2, 1)))
        variances, freedom = _noise_variances(residuals, runs)
        pooled.append(variances.mean())
    assert freedom == pytest.approx(configurations - 1)
    assert least < np.mean(pooled) < 1.3


def test_more_seeds_make_probabilities_more_certain() -> None:
    values = np.array([[[0.90], [0.94]] * 4, [[0.93], [0.93]] * 4])
    few, many = (front_probabilities(values[:, :n], BOTH[:1], 0) for n in (2, 8))
    assert few[0] > many[0] > 0.0


@pytest.mark.parametrize("seeds", SHAPES)
def test_probabilities_do_not_depend_on_common_seed_effects(seeds: Sequence[int]) -> None:
    means = [(0.9, 0.2), (0.895, 0.205), (0.89, 0.21), (0.8, 0.1), (0.85, 0.4), (0.7, 0.5)]
    values = raced(noisy(means[: len(seeds)], 4), seeds)
    expected = front_probabilities(values, BOTH, 0)
    assert ((expected > 0.05) & (expected < 0.95)).any()  # not decided anyway
    for seed in range(4):
        shifted = values.copy()
        shifted[:, seed] += [-0.3, 0.4]
        assert front_probabilities(shifted, BOTH, 0) == pytest.approx(expected, abs=0.03), seed


@pytest.mark.parametrize("seeds", SHAPES[:2])
def test_additive_values_are_fitted_exactly(seeds: Sequence[int]) -> None:
    random = np.random.default_rng(0)
    mu, b = random.normal(size=(len(seeds), 2)), random.normal(size=(4, 2))
    means, residuals = fit_seed_effects(raced(mu[:, None] + b, seeds))
    assert np.nanmax(np.abs(residuals)) == pytest.approx(0.0, abs=1e-12)
    assert means == pytest.approx(mu + b.mean(axis=0))


def test_one_extreme_run_does_not_change_the_other_means() -> None:
    values = noisy([(0.9, 0.2), (0.88, 0.18), (0.86, 0.16), (0.8, 0.1), (0.79, 0.09)], 4)
    means, _ = fit_seed_effects(values)
    broken = values.copy()
    broken[4, 2] = [0.0, 1.0]
    assert fit_seed_effects(broken)[0][:4] == pytest.approx(means[:4], abs=0.01)


def test_the_most_probable_candidate_gets_the_next_seed() -> None:
    contenders = {
        3: [(0.95, 0.3), (0.96, 0.31), (0.95, 0.3)],
        5: [(0.8, 0.1)],
        8: [(0.7, 0.5), (0.71, 0.51)],
    }
    assert select_for_next_seed(contenders, [5, 8], BOTH, 0.1, seed=0) == 5
    assert select_for_next_seed(contenders, [8], BOTH, 0.1, seed=0) is None
    assert select_for_next_seed(contenders, [], BOTH, 0.1, seed=0) is None


def test_ties_go_to_the_candidate_with_most_seeds_then_to_the_oldest() -> None:
    assert select_for_next_seed({0: [(0.9, 0.1)], 1: [(0.5, 0.5)]}, [0, 1], BOTH, 0.1, seed=0) == 0
    apart = {n: [(0.9 - 0.2 * n, 0.4 - 0.2 * n)] for n in range(3)}
    apart[2] = [(0.5, 0.0), (0.5, 0.0)]
    assert select_for_next_seed(apart, [0, 1, 2], BOTH, 0.1, seed=0) == 2


def good(proposal: RunSpec) -> bool:
    """Whether the learning rate of a run is in the good half of the range."""
    return bool(proposal.hyperparameters["lr"] < 0.03)


def race(searched: MethodSearch, noise: float = 0.005) -> list[RunSpec]:
    """Run a search where only small learning rates are on the front."""
    random = np.random.default_rng(0)
    ran = []
    while proposal := searched.ask():
        ran.append(proposal)
        shift = 0.05 * proposal.seeds[0]  # what the seed does to all
        gap = (0.1 if good(proposal) else 0.3) + shift + random.normal(0, noise)
        accuracy = (0.9 if good(proposal) else 0.7) - shift + random.normal(0, noise)
        searched.finish(proposal.run_id, Outcome("completed", (accuracy, gap)))
    return ran


@pytest.mark.parametrize("max_concurrent_trials", [1, 3])
def test_seeds_are_run_one_by_one_and_in_order(tmp_path: Path, max_concurrent_trials: int) -> None:
    seeds = [5, 2, 9]
    searched = method_search(
        tmp_path / "a",
        racing={},
        seeds=seeds,
        trials=8,
        max_concurrent_trials=max_concurrent_trials,
    )
    drawn, _ = draw_and_keep(searched)
    assert len(drawn) == searched.total == len(searched.outcomes) == 8 * 3
    ran: dict[str, list[int]] = {}
    for run_id in drawn:
        trial, _, seed = run_id.partition("@")
        ran.setdefault(trial, []).append(int(seed))
    assert list(ran) == [f"split-digits.sgd.{n:04d}" for n in range(len(ran))]
    assert all(each == seeds[: len(each)] for each in ran.values())
    assert len(ran) > 8


def test_good_configurations_get_more_seeds_than_bad_ones(tmp_path: Path) -> None:
    searched = method_search(tmp_path / "a", racing={}, seeds=4, trials=12, sampler="random")
    ran = race(searched)
    assert len(ran) == searched.total == 12 * 4
    runs = {id_: [p for p in ran if p.trial_id == id_] for id_ in {p.trial_id for p in ran}}
    spent = {
        kind: [len(each) for each in runs.values() if good(each[0]) == kind]
        for kind in (True, False)
    }
    # Until a good one has come there is nothing to tell that others are bad.
    assert np.mean(spent[True]) > 2 * np.mean(spent[False])
    assert np.median(spent[False]) == 1
    assert len(runs) > 12


def test_only_configurations_with_all_seeds_are_on_the_front(tmp_path: Path) -> None:
    searched = method_search(tmp_path / "a", racing={"min_probability": 0.4}, seeds=3, trials=8)
    drawn, outcomes = draw_and_keep(searched)
    values: dict[int, list[tuple[float, ...]]] = {}
    for run_id in drawn:
        found = outcomes[run_id].values
        assert found is not None
        values.setdefault(int(run_id.partition("@")[0][-4:]), []).append(found)
    whole = {c: np.mean(each, axis=0) for c, each in values.items() if len(each) == 3}
    assert 1 < len(whole) < len(values)
    expected = on_front(list(whole.values()), BOTH)
    assert list(searched.front()) == [c for c, on in zip(whole, expected, strict=True) if on]
    for c, mean in searched.front().items():
        assert mean == pytest.approx(tuple(whole[c]))


@pytest.mark.parametrize("status", ["diverged", "failed"])
def test_a_diverged_or_failed_configuration_gets_no_further_seed(
    tmp_path: Path, status: str
) -> None:
    searched = method_search(tmp_path / "a", racing={}, seeds=3, trials=4)
    first = one(searched)
    searched.finish(first.run_id, Outcome("completed", (0.99, 0.0)))
    second = one(searched)
    assert second.trial_id == first.trial_id
    values = (0.0, 1.0) if status == "diverged" else None
    searched.finish(second.run_id, Outcome(status, values))
    later = race(searched)
    assert first.trial_id not in {p.trial_id for p in later}
    assert 0 not in searched.front()


def test_a_possibly_feasible_configuration_stays_in_the_race() -> None:
    """The bound is on a metric that is no objective; noise is 0.01 a run, 0.005 on four."""
    limit = [Constraint.parse("min_acc >= 0.5")]
    violation = np.array([-0.1, 0.003, 0.2])  # surely kept, may be kept, surely broken
    means = np.array([(0.8, 0.3), (0.9, 0.2), (0.95, 0.1)])
    noise = np.random.default_rng(2).normal(0.0, 0.01, (3, 4, 3))
    noise -= noise.mean(axis=1, keepdims=True)
    values = np.column_stack([means, violation])[:, None] + noise
    kept, perhaps, broken = front_probabilities(values, BOTH, 0, limit)
    assert broken == 0.0
    assert 0.1 < perhaps < 0.9
    assert kept == pytest.approx(1.0 - perhaps, abs=0.02)  # on the front where no better one counts
    unknown = front_probabilities(values[:, :1], BOTH, 0, limit)
    assert unknown.tolist() == [float(row[0, 2] <= 0.0) for row in values]


def test_a_constraint_on_an_objective_uses_the_draws_of_the_objective() -> None:
    """Alone on the front wherever it keeps the bound, at which its mean lies: half of the time."""
    limit = [Constraint.parse("avg_acc >= 0.9")]
    accuracy = np.array([[0.89, 0.91, 0.9], [0.87, 0.83, 0.85]])
    values = np.stack([accuracy, np.full_like(accuracy, 0.1), 0.9 - accuracy], axis=2)
    chances = front_probabilities(values, BOTH, 0, limit)
    assert chances[0] == pytest.approx(0.5, abs=0.1)
    assert chances[1] < 0.05


def test_a_slightly_infeasible_configuration_gets_a_seed_once_the_noise_is_known(
    tmp_path: Path,
) -> None:
    searched = method_search(
        tmp_path / "a", racing={}, seeds=3, trials=6, constraints=["avg_acc >= 0.9"]
    )
    beyond = one(searched)
    searched.finish(beyond.run_id, Outcome("completed", (0.899, 0.05), (0.001,)))
    order = []
    for accuracy in (0.95, 0.97, 0.93, 0.94, 0.975, 0.925, 0.9):
        proposal = one(searched)
        order.append(proposal.trial_id)
        ended = Outcome("completed", (accuracy, 0.1), (0.9 - accuracy,))
        searched.finish(proposal.run_id, ended)
    first, second = (f"split-digits.sgd.{number:04d}" for number in (1, 2))
    assert order[:5] == [first, first, first, second, second]
    assert beyond.trial_id in order[5:]  # two configurations with two seeds: now noise is known


def test_an_infeasible_configuration_gets_no_further_seed(tmp_path: Path) -> None:
    searched = method_search(
        tmp_path / "a", racing={}, seeds=3, trials=4, constraints=["avg_acc >= 0.9"]
    )
    first = one(searched)
    searched.finish(first.run_id, Outcome("completed", (0.8, 0.0), (0.1,)))
    assert one(searched).trial_id != first.trial_id
