"""The replays of splits of a study's compute use the product's definitions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ngm_tune.benchmarks import get_benchmark
from ngm_tune.methods import get_method
from ngm_tune.metrics.pareto import hypervolume
from ngm_tune.metrics.registry import METRICS
from ngm_tune.metrics.selection import hypervolume_subset
from ngm_tune.testing.resumption import finish
from ngm_tune.testing.runs import TASKS, digits, middle, start_run

from .allocation.options import OPTIONS, Option, Replay
from .allocation.report import Results, tables_of
from .allocation.splits import (
    BUDGETS,
    REFERENCE,
    Split,
    candidates,
    detectable,
    dominated_volume,
    evaluate,
    select,
    to_points,
)
from .allocation.stacked import rule_of, train
from .allocation.table import OBJECTIVES, SETTINGS, Table, load

ALLOCATION_PAGE = Path(__file__).parents[2] / "docs" / "allocation.md"
METRICS_OF_REPLAY = [METRICS[name] for name in OBJECTIVES]


def made_up(settings: int, bonus: float = 0.0) -> Table:
    """Return a table in which accuracy and gap rise with the number of the setting."""
    random = np.random.default_rng(settings)
    level = np.linspace(0.0, 1.0, settings)[:, None, None, None]
    base = np.concatenate([0.7 + 0.28 * level, 0.4 * level**2 - bonus], axis=-1)
    noise = random.normal(scale=0.02, size=(2, settings, 3, 8, 2))
    values = np.clip(base + noise, 0.0, 1.0)
    interim = np.repeat(values[0, :, :, :3, None], 5, axis=3)
    interim[..., 0, 1] = np.nan
    return Table(interim, values[1, :, :, 3:])


@pytest.mark.parametrize("name", SETTINGS)
def test_stacked_runs_equal_those_of_the_training_loop(name: str) -> None:
    method = get_method(name)
    benchmark = replace(get_benchmark("split-digits"), batch_size=16, iterations_per_task=60)
    run = start_run(method, middle(method), iterations=60, eval_every=5)  # its seed is 5
    finish(run)
    expected = [
        [metric.compute(run.curves(tasks)) for metric in METRICS_OF_REPLAY]
        for tasks in range(1, TASKS + 1)
    ]
    rule = rule_of([method.settings_at(middle(method))] * 2)
    data = digits()
    values = train(benchmark, data.train, data.validation, rule, [4, 5], run.evaluation, OBJECTIVES)
    assert values[1] == pytest.approx(np.array(expected), abs=1e-6, nan_ok=True)
    assert not np.allclose(values[0, -1], values[1, -1])


def test_selection_and_hypervolume_are_those_of_the_product() -> None:
    values = np.random.default_rng(0).uniform([0.7, 0.0], [1.0, 0.7], size=(50, 9, 2)).round(2)
    indices, selected = select(to_points(values), 4)
    for of_search, chosen, mask in zip(values, indices, selected, strict=True):
        greedy = hypervolume_subset(of_search, METRICS_OF_REPLAY, REFERENCE, 4)
        volumes = [
            hypervolume(of_search[rows], METRICS_OF_REPLAY, REFERENCE) / 0.1
            for rows in (greedy, chosen[mask])
        ]
        assert volumes[1] == pytest.approx(volumes[0])
        assert float(dominated_volume(to_points(of_search[chosen]))) >= volumes[1] - 1e-12
    useless = np.array([[[0.5, 0.9], [0.79, 0.51], [0.2, 0.2]]])
    indices, selected = select(to_points(useless), 2)
    assert indices[0, 0] == 1
    assert selected.tolist() == [[True, False]]


def test_splits_spend_their_budget() -> None:
    for budget in BUDGETS:
        splits = list(candidates(budget))
        assert len(set(splits)) == len(splits) > 40
        assert all(budget - split.searches * split.seeds < split.runs <= budget for split in splits)


def test_a_study_of_equal_methods_finds_a_difference_in_one_of_twenty() -> None:
    tables = {"a": made_up(64), "b": made_up(64)}
    figures = evaluate(Split(5, 8, 1, 3, 3), tables, repetitions=1050)
    assert figures.false == pytest.approx(0.05, abs=0.03)
    assert figures.power == pytest.approx(0.05, abs=0.05)
    assert figures.powers[0] < figures.powers[1]
    assert figures.used <= 5 * (8 + 9)
    better = evaluate(Split(5, 8, 1, 3, 3), {**tables, "b": made_up(64, bonus=0.05)}, 1050)
    assert better.power > figures.power + 0.2
    assert better.volume[1] > better.volume[0]


def test_the_detectable_difference_is_that_of_the_t_test() -> None:
    """Values of Cohen's tables for the two-sided one-sample t test at 5 %, power 80 %."""
    assert detectable(10) == pytest.approx(1.0, abs=0.01)
    assert detectable(34) == pytest.approx(0.495, abs=0.01)


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_option_spends_the_same_compute(option: Option) -> None:
    replay = Replay("momentum-sgd", made_up(64))
    chosen, trials, tasks = replay.search(option, 16, 1, [2, 0, 1], seed=0)
    assert abs(tasks - 16 * 5) <= 5 * option.seeds / 2
    assert 1 <= len(set(chosen)) <= 4
    assert trials >= 16 // option.seeds


def test_the_recorded_comparison_is_reproducible() -> None:
    tables = {name: load(name) for name in SETTINGS}
    results = Results.read()
    for stored in (results.typical[1], results.typical[4]):
        figures = evaluate(stored.split, tables, seed=1)
        assert figures.resolved == pytest.approx(stored.resolved, rel=1e-3)
        assert figures.volume == pytest.approx(stored.volume, abs=1e-3)


def test_the_documentation_shows_the_comparison() -> None:
    page = ALLOCATION_PAGE.read_text(encoding="utf-8")
    for table in tables_of(Results.read()):
        assert table in page
