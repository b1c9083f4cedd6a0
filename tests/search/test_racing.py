"""Racing: the configurations that receive further seeds."""

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
from tests.helpers.searches import ask_run, make_method_search, run_search

Floats = NDArray[np.float64]
BOTH = [METRICS["avg_acc"], METRICS["avg_sg"]]
SHAPES = [(4, 4, 4, 4), (4, 4, 2, 1, 1, 1), (4, 2, 1, 1)]
"""Number of seeds of each configuration: all seeds; as in a race; some seeds of the leader only."""


def keep_first_seeds(values: Floats, seeds: Sequence[int]) -> Floats:
    """Return the values with only the first seeds of each configuration."""
    values = values.copy()
    for row, count in zip(values, seeds, strict=True):
        row[count:] = np.nan
    return values


def noisy(means: Sequence[tuple[float, float]], seeds: int, noise: float = 0.01) -> Floats:
    """Return the objectives of each configuration and seed: the means with independent noise."""
    draws = np.random.default_rng(1).normal(0.0, noise, (len(means), seeds, 2))
    return np.asarray(np.array(means)[:, None] + draws)


def test_no_configuration_is_excluded_while_the_noise_is_unknown() -> None:
    values = keep_first_seeds(noisy([(0.9, 0.1), (0.1, 0.9)], 3), (1, 1))
    assert front_probabilities(values, BOTH, 0).tolist() == [1.0, 1.0]


def test_dominated_configurations_are_improbable_and_clear_trade_offs_probable() -> None:
    means = [(0.95, 0.3), (0.8, 0.1), (0.7, 0.5), (0.9, 0.5)]
    probabilities = front_probabilities(noisy(means, 3), BOTH, 0)
    assert (probabilities[:2] > 0.99).all()
    assert (probabilities[2:] < 0.01).all()
    few = front_probabilities(keep_first_seeds(noisy(means, 3), (3, 2, 1, 1)), BOTH, 0)
    assert (few[:2] > 0.95).all()
    assert (few[2:] < 0.05).all()


def test_configurations_with_equal_means_are_equally_probable() -> None:
    """With one objective, each of two configurations is ahead half of the time."""
    values = np.array([[[0.90], [0.92], [0.91]], [[0.92], [0.90], [0.91]]])
    probabilities = front_probabilities(values, BOTH[:1], 0)
    assert probabilities == pytest.approx([0.5, 0.5], abs=0.1)
    assert probabilities.sum() == pytest.approx(1.0, abs=0.05)


def test_low_probabilities_are_calibrated() -> None:
    """Configurations with a probability below 0.05 are seldom on the true front.

    The noise is as large as the differences between configurations, and is estimated from three
    configurations with two seeds.
    """
    random = np.random.default_rng(0)
    are_on_front = []
    for repetition in range(250):
        true = 0.02 * random.normal(size=(8, 2)) + (0.8, 0.2)
        seeds = random.normal(0.0, 0.03, (1, 2, 2))
        values = true[:, None] + seeds + random.normal(0.0, 0.02, (8, 2, 2))
        probabilities = front_probabilities(
            keep_first_seeds(values, (2, 2, 2, 1, 1, 1, 1, 1)), BOTH, repetition
        )
        are_on_front += list(np.asarray(on_front(true, BOTH))[probabilities < 0.05])
    assert len(are_on_front) > 200
    assert np.mean(are_on_front) < 0.085


@pytest.mark.parametrize(("configurations", "least"), [(2, 0.85), (3, 0.85), (5, 0.85), (20, 0.93)])
def test_the_noise_variance_is_corrected_for_the_fitted_seed_effects(
    configurations: int, least: float
) -> None:
    """Seed effects are fitted to the same values, which makes residuals smaller."""
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
    values = keep_first_seeds(noisy(means[: len(seeds)], 4), seeds)
    expected = front_probabilities(values, BOTH, 0)
    assert ((expected > 0.05) & (expected < 0.95)).any()  # some are uncertain
    for seed in range(4):
        shifted = values.copy()
        shifted[:, seed] += [-0.3, 0.4]
        assert front_probabilities(shifted, BOTH, 0) == pytest.approx(expected, abs=0.03), seed


@pytest.mark.parametrize("seeds", SHAPES[:2])
def test_additive_values_are_fitted_exactly(seeds: Sequence[int]) -> None:
    random = np.random.default_rng(0)
    mu, b = random.normal(size=(len(seeds), 2)), random.normal(size=(4, 2))
    means, residuals = fit_seed_effects(keep_first_seeds(mu[:, None] + b, seeds))
    assert np.nanmax(np.abs(residuals)) == pytest.approx(0.0, abs=1e-12)
    assert means == pytest.approx(mu + b.mean(axis=0))


def test_one_extreme_run_does_not_change_the_other_means() -> None:
    values = noisy([(0.9, 0.2), (0.88, 0.18), (0.86, 0.16), (0.8, 0.1), (0.79, 0.09)], 4)
    means, _ = fit_seed_effects(values)
    extreme = values.copy()
    extreme[4, 2] = [0.0, 1.0]
    assert fit_seed_effects(extreme)[0][:4] == pytest.approx(means[:4], abs=0.01)


def test_the_most_probable_candidate_gets_the_next_seed() -> None:
    run_values = {
        3: [(0.95, 0.3), (0.96, 0.31), (0.95, 0.3)],
        5: [(0.8, 0.1)],
        8: [(0.7, 0.5), (0.71, 0.51)],
    }
    assert select_for_next_seed(run_values, [5, 8], BOTH, 0.1, seed=0) == 5
    assert select_for_next_seed(run_values, [8], BOTH, 0.1, seed=0) is None
    assert select_for_next_seed(run_values, [], BOTH, 0.1, seed=0) is None


def test_ties_go_to_the_candidate_with_most_seeds_then_to_the_oldest() -> None:
    assert select_for_next_seed({0: [(0.9, 0.1)], 1: [(0.5, 0.5)]}, [0, 1], BOTH, 0.1, seed=0) == 0
    apart = {n: [(0.9 - 0.2 * n, 0.4 - 0.2 * n)] for n in range(3)}
    apart[2] = [(0.5, 0.0), (0.5, 0.0)]
    assert select_for_next_seed(apart, [0, 1, 2], BOTH, 0.1, seed=0) == 2


def is_good(spec: RunSpec) -> bool:
    """Whether a run has a small learning rate."""
    return bool(spec.hyperparameters["lr"] < 0.03)


def race(search: MethodSearch, noise: float = 0.005) -> list[RunSpec]:
    """Run a search in which only small learning rates are on the front."""
    random = np.random.default_rng(0)
    ran = []
    while spec := search.ask():
        ran.append(spec)
        shift = 0.05 * spec.seeds[0]  # the seed effect
        gap = (0.1 if is_good(spec) else 0.3) + shift + random.normal(0, noise)
        accuracy = (0.9 if is_good(spec) else 0.7) - shift + random.normal(0, noise)
        search.finish(spec.run_id, Outcome("completed", (accuracy, gap)))
    return ran


@pytest.mark.parametrize("max_concurrent_trials", [1, 3])
def test_seeds_are_run_one_by_one_and_in_order(tmp_path: Path, max_concurrent_trials: int) -> None:
    seeds = [5, 2, 9]
    search = make_method_search(
        tmp_path / "a",
        racing={},
        seeds=seeds,
        trials=8,
        max_concurrent_trials=max_concurrent_trials,
    )
    suggestions, _ = run_search(search)
    assert len(suggestions) == search.total == len(search.outcomes) == 8 * 3
    ran: dict[str, list[int]] = {}
    for run_id in suggestions:
        trial, _, seed = run_id.partition("@")
        ran.setdefault(trial, []).append(int(seed))
    assert list(ran) == [f"split-digits.sgd.{n:04d}" for n in range(len(ran))]
    assert all(each == seeds[: len(each)] for each in ran.values())
    assert len(ran) > 8


def test_good_configurations_get_more_seeds_than_bad_ones(tmp_path: Path) -> None:
    search = make_method_search(tmp_path / "a", racing={}, seeds=4, trials=12, sampler="random")
    ran = race(search)
    assert len(ran) == search.total == 12 * 4
    runs = {id_: [p for p in ran if p.trial_id == id_] for id_ in {p.trial_id for p in ran}}
    spent = {
        kind: [len(each) for each in runs.values() if is_good(each[0]) == kind]
        for kind in (True, False)
    }
    # Bad configurations cannot be recognized before the first good one.
    assert np.mean(spent[True]) > 2 * np.mean(spent[False])
    assert np.median(spent[False]) == 1
    assert len(runs) > 12


def test_only_configurations_with_all_seeds_are_on_the_front(tmp_path: Path) -> None:
    search = make_method_search(tmp_path / "a", racing={"min_probability": 0.4}, seeds=3, trials=8)
    suggestions, outcomes = run_search(search)
    values: dict[int, list[tuple[float, ...]]] = {}
    for run_id in suggestions:
        objectives = outcomes[run_id].values
        assert objectives is not None
        values.setdefault(int(run_id.partition("@")[0][-4:]), []).append(objectives)
    whole = {c: np.mean(each, axis=0) for c, each in values.items() if len(each) == 3}
    assert 1 < len(whole) < len(values)
    expected = on_front(list(whole.values()), BOTH)
    assert list(search.front()) == [c for c, on in zip(whole, expected, strict=True) if on]
    for c, mean in search.front().items():
        assert mean == pytest.approx(tuple(whole[c]))


@pytest.mark.parametrize("status", ["diverged", "failed"])
def test_a_diverged_or_failed_configuration_gets_no_further_seed(
    tmp_path: Path, status: str
) -> None:
    search = make_method_search(tmp_path / "a", racing={}, seeds=3, trials=4)
    first = ask_run(search)
    search.finish(first.run_id, Outcome("completed", (0.99, 0.0)))
    second = ask_run(search)
    assert second.trial_id == first.trial_id
    values = (0.0, 1.0) if status == "diverged" else None
    search.finish(second.run_id, Outcome(status, values))
    later = race(search)
    assert first.trial_id not in {p.trial_id for p in later}
    assert 0 not in search.front()


def test_a_possibly_feasible_configuration_stays_in_the_race() -> None:
    """The bound is on a metric that is not an objective. The noise of the mean of four is 0.005."""
    limit = [Constraint.parse("min_acc >= 0.5")]
    violation = np.array([-0.1, 0.003, 0.2])  # feasible, possibly feasible, infeasible
    means = np.array([(0.8, 0.3), (0.9, 0.2), (0.95, 0.1)])
    noise = np.random.default_rng(2).normal(0.0, 0.01, (3, 4, 3))
    noise -= noise.mean(axis=1, keepdims=True)
    values = np.column_stack([means, violation])[:, None] + noise
    feasible, uncertain, infeasible = front_probabilities(values, BOTH, 0, limit)
    assert infeasible == 0.0
    assert 0.1 < uncertain < 0.9
    assert feasible == pytest.approx(1.0 - uncertain, abs=0.02)  # unless the better one is feasible
    unknown = front_probabilities(values[:, :1], BOTH, 0, limit)
    assert unknown.tolist() == [float(row[0, 2] <= 0.0) for row in values]


def test_a_constraint_on_an_objective_uses_the_draws_of_the_objective() -> None:
    """The mean is at the bound, so half of the draws are feasible, and then on the front."""
    limit = [Constraint.parse("avg_acc >= 0.9")]
    accuracy = np.array([[0.89, 0.91, 0.9], [0.87, 0.83, 0.85]])
    values = np.stack([accuracy, np.full_like(accuracy, 0.1), 0.9 - accuracy], axis=2)
    probabilities = front_probabilities(values, BOTH, 0, limit)
    assert probabilities[0] == pytest.approx(0.5, abs=0.1)
    assert probabilities[1] < 0.05


def test_a_slightly_infeasible_configuration_gets_a_seed_once_the_noise_is_known(
    tmp_path: Path,
) -> None:
    search = make_method_search(
        tmp_path / "a", racing={}, seeds=3, trials=6, constraints=["avg_acc >= 0.9"]
    )
    infeasible = ask_run(search)
    search.finish(infeasible.run_id, Outcome("completed", (0.899, 0.05), (0.001,)))
    order = []
    for accuracy in (0.95, 0.97, 0.93, 0.94, 0.975, 0.925, 0.9):
        spec = ask_run(search)
        order.append(spec.trial_id)
        ended = Outcome("completed", (accuracy, 0.1), (0.9 - accuracy,))
        search.finish(spec.run_id, ended)
    first, second = (f"split-digits.sgd.{number:04d}" for number in (1, 2))
    assert order[:5] == [first, first, first, second, second]
    assert infeasible.trial_id in order[5:]  # two configurations have two seeds: the noise is known


def test_an_infeasible_configuration_gets_no_further_seed(tmp_path: Path) -> None:
    search = make_method_search(
        tmp_path / "a", racing={}, seeds=3, trials=4, constraints=["avg_acc >= 0.9"]
    )
    first = ask_run(search)
    search.finish(first.run_id, Outcome("completed", (0.8, 0.0), (0.1,)))
    assert ask_run(search).trial_id != first.trial_id
