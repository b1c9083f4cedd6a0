"""Early stopping: runs that their peers dominate at the same task are pruned."""

from __future__ import annotations

import math
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from ngm_tune.metrics.registry import METRICS
from ngm_tune.results.outcome import Outcome
from ngm_tune.search.early_stopping import is_dominated
from ngm_tune.search.method_search import MethodSearch
from ngm_tune.search.run_spec import RunSpec
from ngm_tune.study.sections import EarlyStopping
from tests.helpers.searches import ask_run, make_method_search, read_optuna_trials, run_search

BOTH = [METRICS["avg_acc"], METRICS["avg_sg"]]
RULE = EarlyStopping(quantile=0.5, min_peers=4, grace_tasks=2)
BETTER, INCOMPARABLE, WORSE = (0.9, 0.1), (0.6, 0.4), (0.2, 0.8)
VALUES = (0.5, 0.3)
"""Dominated by BETTER, neither dominated by nor dominating INCOMPARABLE, dominating WORSE."""
BAD, FINE = ((0.4, math.nan), (0.4, 0.9), (0.4, 0.9)), ((0.8, math.nan), (0.8, 0.2), (0.8, 0.2))


def test_a_run_is_pruned_if_half_of_its_peers_have_a_better_rank() -> None:
    assert is_dominated(VALUES, [BETTER, BETTER, WORSE, WORSE], BOTH, RULE)
    assert not is_dominated(VALUES, [BETTER, WORSE, WORSE, WORSE], BOTH, RULE)
    assert not is_dominated(BETTER, [BETTER, VALUES, INCOMPARABLE, WORSE], BOTH, RULE)
    assert not is_dominated(VALUES, [INCOMPARABLE] * 4, BOTH, RULE)


def test_a_higher_quantile_needs_more_better_peers() -> None:
    strict = RULE.model_copy(update={"quantile": 0.75})
    assert not is_dominated(VALUES, [BETTER, BETTER, WORSE, WORSE], BOTH, strict)
    assert is_dominated(VALUES, [BETTER, BETTER, BETTER, WORSE], BOTH, strict)


def test_too_few_peers_prune_nothing() -> None:
    assert not is_dominated(VALUES, [BETTER] * 3, BOTH, RULE)
    assert is_dominated(VALUES, [BETTER] * 4, BOTH, RULE)


def test_pruning_does_not_depend_on_the_order_of_peers() -> None:
    peers = [BETTER, BETTER, INCOMPARABLE, WORSE]
    assert len({is_dominated(VALUES, order, BOTH, RULE) for order in permutations(peers)}) == 1


def test_undefined_objectives_prune_nothing() -> None:
    assert not is_dominated((0.1, math.nan), [(0.9, math.nan)] * 4, BOTH, RULE)
    assert not is_dominated((math.nan, 0.9), [BETTER] * 4, BOTH, RULE)


def finish(search: MethodSearch, interim: tuple[tuple[float, ...], ...]) -> RunSpec:
    """Run the next run of a search to its end, with these objectives after each task."""
    spec = ask_run(search)
    outcome = Outcome("completed", interim[-1], interim=interim)
    search.finish(spec.run_id, outcome)
    return spec


def test_runs_are_compared_at_the_same_task(tmp_path: Path) -> None:
    """The peers are bad after two tasks and good after three."""
    search = make_method_search(tmp_path / "a", early_stopping={"min_peers": 2})
    better_later = ((0.9, math.nan), (0.3, 0.7), (0.9, 0.1))
    finish(search, better_later)
    finish(search, better_later)
    run_id = ask_run(search).run_id
    middling = [(0.5, math.nan), (0.5, 0.5), (0.5, 0.5)]
    assert not search.should_prune(run_id, middling[:1])
    assert not search.should_prune(run_id, middling[:2])
    assert search.should_prune(run_id, middling)


def test_runs_pruned_before_a_task_are_not_peers_at_that_task(tmp_path: Path) -> None:
    search = make_method_search(tmp_path / "a", early_stopping={"min_peers": 2})
    finish(search, FINE)
    short = ask_run(search)
    search.finish(short.run_id, Outcome("stopped", None, interim=FINE[:2]))
    run_id = ask_run(search).run_id
    assert search.should_prune(run_id, BAD[:2])
    assert not search.should_prune(run_id, BAD)  # one peer is too few


def test_no_run_is_pruned_in_its_grace_tasks(tmp_path: Path) -> None:
    search = make_method_search(tmp_path / "a", early_stopping={"min_peers": 2, "grace_tasks": 3})
    finish(search, FINE)
    finish(search, FINE)
    run_id = ask_run(search).run_id
    assert not search.should_prune(run_id, BAD[:2])
    assert search.should_prune(run_id, BAD)


def test_a_study_without_early_stopping_prunes_nothing(tmp_path: Path) -> None:
    search = make_method_search(tmp_path / "a")
    for _ in range(9):
        finish(search, FINE)
    assert not search.should_prune(ask_run(search).run_id, BAD)


def test_diverged_runs_are_peers(tmp_path: Path) -> None:
    search = make_method_search(tmp_path / "a", early_stopping={"min_peers": 2, "quantile": 0.5})
    finish(search, FINE)
    assert not search.should_prune(ask_run(search).run_id, BAD)  # one peer is too few
    diverged = Outcome("diverged", (0.0, 1.0), interim=((0.0, 1.0),) * 5)
    search.finish("split-digits.sgd.0001", diverged)
    assert search.should_prune(ask_run(search).run_id, BAD)


def test_runs_that_may_still_be_running_are_not_peers(tmp_path: Path) -> None:
    """With three concurrent trials, the two runs before a run may still be running."""
    search = make_method_search(
        tmp_path / "a", early_stopping={"min_peers": 2}, max_concurrent_trials=3
    )
    finish(search, FINE)
    second, third, fourth = ask_run(search), ask_run(search), ask_run(search)
    ended = Outcome("completed", FINE[-1], interim=FINE)
    search.finish(third.run_id, ended)
    search.finish(second.run_id, ended)
    assert not search.should_prune(fourth.run_id, BAD)  # its only certain peer is the first run
    fifth = ask_run(search)
    assert search.should_prune(fifth.run_id, BAD)


def test_stopped_runs_are_recorded_as_pruned_and_are_not_on_the_front(tmp_path: Path) -> None:
    search = make_method_search(tmp_path / "a", early_stopping={"min_peers": 3}, trials=20)
    suggestions, outcomes = run_search(search)
    search.close()
    stopped = [n for n, run in enumerate(suggestions) if outcomes[run].status == "stopped"]
    assert stopped
    assert search.front()
    assert search.front().keys().isdisjoint(stopped)
    states = [t.state for t in read_optuna_trials(tmp_path / "a")]
    assert [n for n, state in enumerate(states) if state == TrialState.PRUNED] == stopped
    assert set(states) == {TrialState.PRUNED, TrialState.COMPLETE}


@pytest.mark.parametrize("order", [(0,), (1, 0), (2, 0, 1)])
def test_pruning_does_not_depend_on_the_order_of_completion(
    tmp_path: Path, order: tuple[int, ...]
) -> None:
    changes: dict[str, Any] = {
        "early_stopping": {"min_peers": 3},
        "max_concurrent_trials": 3,
        "sampler": "random",
        "trials": 20,
    }
    _, expected = run_search(make_method_search(tmp_path / "a", **changes))
    _, outcomes = run_search(make_method_search(tmp_path / "b", **changes), order=order)
    assert outcomes == expected
    assert {outcome.status for outcome in outcomes.values()} == {"completed", "stopped"}
