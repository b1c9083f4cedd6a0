"""Constraints: their place in the search record, in sampling and in fronts."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from ngm_tune.results.outcome import Outcome, compute_outcome
from ngm_tune.search.method_search import MethodSearch
from tests.helpers.searches import ask_run, make_method_search, read_optuna_trials, simulate_outcome

TEXTS = ["avg_acc >= 0.98", "avg_sg <= 0.2"]


def run_with_bounds(search: MethodSearch, bounds: list[float]) -> list[float]:
    """Run a search whose constraints are lower bounds on accuracy; return its learning rates."""
    lrs = []
    while spec := search.ask():
        lrs.append(float(spec.hyperparameters["lr"]))
        values = simulate_outcome(spec).values
        assert values is not None
        violation = tuple(bound - values[0] for bound in bounds)
        search.finish(spec.run_id, Outcome("completed", values, violation))
    return lrs


def test_optuna_records_the_violation_of_each_constraint(tmp_path: Path) -> None:
    search = make_method_search(tmp_path / "a", constraints=TEXTS, trials=4)
    for status, violation in (("completed", (0.03, -0.1)), ("diverged", (0.98, 0.8))):
        search.finish(ask_run(search).run_id, Outcome(status, (0.95, 0.1), violation))
    search.finish(ask_run(search).run_id, Outcome("stopped", None))
    search.finish(ask_run(search).run_id, Outcome("failed", None))
    search.close()
    first, second, third, fourth = read_optuna_trials(tmp_path / "a")
    assert first.constraints == {TEXTS[0]: 0.03, TEXTS[1]: -0.1}
    assert second.constraints == {TEXTS[0]: 0.98, TEXTS[1]: 0.8}
    assert third.constraints == fourth.constraints == {}
    assert first.state == second.state == TrialState.COMPLETE


@pytest.mark.filterwarnings("error:The constraint value is ignored")
def test_an_interrupted_record_is_completed_on_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"constraints": TEXTS, "trials": 1}
    first = make_method_search(tmp_path / "a", **settings)
    spec, outcome = ask_run(first), Outcome("completed", (0.95, 0.1), (0.03, -0.1))
    with monkeypatch.context() as patch:
        patch.setattr(optuna.Study, "tell", interrupt)
        with pytest.raises(KeyboardInterrupt):
            first.finish(spec.run_id, outcome)
    assert read_optuna_trials(tmp_path / "a")[0].state == TrialState.RUNNING
    make_method_search(tmp_path / "a", finished={spec.run_id: outcome}, **settings).close()
    (trial,) = read_optuna_trials(tmp_path / "a")
    assert trial.state == TrialState.COMPLETE
    assert trial.constraints == {TEXTS[0]: 0.03, TEXTS[1]: -0.1}


def interrupt(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_infeasible_configurations_are_not_on_the_front(tmp_path: Path) -> None:
    search = make_method_search(tmp_path / "a", constraints=TEXTS, trials=4)
    results = [
        ((0.99, 0.30), (-0.01, 0.1)),
        ((0.99, 0.15), (-0.01, -0.05)),
        ((0.98, 0.20), (0.0, 0.0)),  # feasible but dominated
        ((0.97, 0.00), (0.01, -0.2)),
    ]
    for values, violation in results:
        search.finish(ask_run(search).run_id, Outcome("completed", values, violation))
    assert search.front() == {1: (0.99, 0.15)}
    assert search.values == [(0.99, 0.15)]
    selected = search.select_to_confirm()
    assert selected is not None
    feasible = [f"split-digits.sgd.{number:04d}" for number in (1, 2)]
    assert [c.trial_id for c in selected] == feasible


def test_a_configuration_exactly_at_a_bound_is_feasible(tmp_path: Path) -> None:
    search = make_method_search(tmp_path / "a", constraints=TEXTS, trials=1)
    search.finish(ask_run(search).run_id, Outcome("completed", (0.98, 0.2), (0.0, 0.0)))
    assert list(search.front()) == [0]


def test_feasibility_depends_on_the_mean_over_seeds() -> None:
    rows = [{"status": "completed", "avg_acc": a, "avg_sg": 0.1} for a in (0.88, 0.94)]
    for seeds, violation in ((rows[:1], 0.02), (rows, -0.01)):
        outcome = compute_outcome(seeds, ["avg_acc", "avg_sg"], ["avg_acc >= 0.9"])
        assert outcome.violation == pytest.approx((violation,))


def test_a_constraint_can_bound_a_metric_that_is_not_an_objective() -> None:
    rows = [
        {"status": "completed", "avg_acc": 0.9, "avg_sg": 0.2, "forgetting": f} for f in (0.1, 0.4)
    ]
    bounds = ["forgetting <= 0.2", "avg_acc >= 0.8"]
    outcome = compute_outcome(rows, ["avg_acc", "avg_sg"], bounds)
    assert outcome.values == pytest.approx((0.9, 0.2))
    assert outcome.violation == pytest.approx((0.05, -0.1))


@pytest.mark.parametrize(
    ("sampler", "trials", "random"),
    [("tpe", 40, 10), ("nsga2", 70, 20), pytest.param("gp", 18, 10, marks=pytest.mark.slow)],
)
def test_samplers_prefer_feasible_regions(
    tmp_path: Path, sampler: str, trials: int, random: int
) -> None:
    """Without the constraint, samplers also explore small gaps at accuracies that are too low.

    The method has several coordinates: NSGA-II is a random search of methods with one coordinate.
    """

    def count_feasible(constraints: list[str], bounds: list[float]) -> int:
        changes: dict[str, Any] = {"sampler": sampler, "trials": trials}
        name = "with" if constraints else "without"
        lrs = run_with_bounds(
            make_method_search(tmp_path / name, "ngm-sgd", constraints=constraints, **changes),
            bounds,
        )
        return sum(abs(math.log10(lr) + 1) < math.sqrt(0.2) for lr in lrs[random:])

    assert count_feasible(["avg_acc >= 0.98"], [0.98]) > 1.25 * count_feasible([], [])
