"""Stopping runs that their peers dominate at the same task."""

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
from tests.helpers.searches import draw_and_keep, method_search, one, optuna_trials

BOTH = [METRICS["avg_acc"], METRICS["avg_sg"]]
RULE = EarlyStopping(quantile=0.5, min_peers=4, grace_tasks=2)
BETTER, BESIDE, WORSE = (0.9, 0.1), (0.6, 0.4), (0.2, 0.8)
MINE = (0.5, 0.3)
"""Dominated by BETTER, no better or worse than BESIDE, better than WORSE."""
BAD, FINE = ((0.4, math.nan), (0.4, 0.9), (0.4, 0.9)), ((0.8, math.nan), (0.8, 0.2), (0.8, 0.2))


def test_a_run_is_pruned_if_half_of_its_peers_have_a_better_rank() -> None:
    assert is_dominated(MINE, [BETTER, BETTER, WORSE, WORSE], BOTH, RULE)
    assert not is_dominated(MINE, [BETTER, WORSE, WORSE, WORSE], BOTH, RULE)
    assert not is_dominated(BETTER, [BETTER, MINE, BESIDE, WORSE], BOTH, RULE)
    assert not is_dominated(MINE, [BESIDE] * 4, BOTH, RULE)


def test_a_higher_quantile_needs_more_better_peers() -> None:
    strict = RULE.model_copy(update={"quantile": 0.75})
    assert not is_dominated(MINE, [BETTER, BETTER, WORSE, WORSE], BOTH, strict)
    assert is_dominated(MINE, [BETTER, BETTER, BETTER, WORSE], BOTH, strict)


def test_too_few_peers_prune_nothing() -> None:
    assert not is_dominated(MINE, [BETTER] * 3, BOTH, RULE)
    assert is_dominated(MINE, [BETTER] * 4, BOTH, RULE)


def test_pruning_does_not_depend_on_the_order_of_peers() -> None:
    peers = [BETTER, BETTER, BESIDE, WORSE]
    assert len({is_dominated(MINE, order, BOTH, RULE) for order in permutations(peers)}) == 1


def test_undefined_objectives_prune_nothing() -> None:
    assert not is_dominated((0.1, math.nan), [(0.9, math.nan)] * 4, BOTH, RULE)
    assert not is_dominated((math.nan, 0.9), [BETTER] * 4, BOTH, RULE)


def finish(searched: MethodSearch, interim: tuple[tuple[float, ...], ...]) -> RunSpec:
    """One more finished run with these objectives after each task."""
    proposal = one(searched)
    outcome = Outcome("completed", interim[-1], interim=interim)
    searched.finish(proposal.run_id, outcome)
    return proposal


def test_runs_are_compared_at_the_same_task(tmp_path: Path) -> None:
    """What is bad after two tasks can be good after three, of which a run is told only then."""
    searched = method_search(tmp_path / "a", early_stopping={"min_peers": 2})
    better_later = ((0.9, math.nan), (0.3, 0.7), (0.9, 0.1))
    finish(searched, better_later)
    finish(searched, better_later)
    run_id = one(searched).run_id
    middling = [(0.5, math.nan), (0.5, 0.5), (0.5, 0.5)]
    assert not searched.should_prune(run_id, middling[:1])
    assert not searched.should_prune(run_id, middling[:2])
    assert searched.should_prune(run_id, middling)


def test_runs_pruned_before_a_task_are_not_peers_at_that_task(tmp_path: Path) -> None:
    searched = method_search(tmp_path / "a", early_stopping={"min_peers": 2})
    finish(searched, FINE)
    short = one(searched)
    searched.finish(short.run_id, Outcome("stopped", None, interim=FINE[:2]))
    run_id = one(searched).run_id
    assert searched.should_prune(run_id, BAD[:2])
    assert not searched.should_prune(run_id, BAD)  # one peer is too few


def test_no_run_is_pruned_in_its_grace_tasks(tmp_path: Path) -> None:
    searched = method_search(tmp_path / "a", early_stopping={"min_peers": 2, "grace_tasks": 3})
    finish(searched, FINE)
    finish(searched, FINE)
    run_id = one(searched).run_id
    assert not searched.should_prune(run_id, BAD[:2])
    assert searched.should_prune(run_id, BAD)


def test_a_study_without_early_stopping_prunes_nothing(tmp_path: Path) -> None:
    searched = method_search(tmp_path / "a")
    for _ in range(9):
        finish(searched, FINE)
    assert not searched.should_prune(one(searched).run_id, BAD)


def test_diverged_runs_are_peers(tmp_path: Path) -> None:
    searched = method_search(tmp_path / "a", early_stopping={"min_peers": 2, "quantile": 0.5})
    finish(searched, FINE)
    assert not searched.should_prune(one(searched).run_id, BAD)  # one peer is too few
    diverged = Outcome("diverged", (0.0, 1.0), interim=((0.0, 1.0),) * 5)
    searched.finish("split-digits.sgd.0001", diverged)
    assert searched.should_prune(one(searched).run_id, BAD)


def test_with_racing_only_runs_of_the_first_seed_are_peers_and_are_pruned(
    tmp_path: Path,
) -> None:
    searched = method_search(tmp_path / "a", early_stopping={"min_peers": 2}, racing={}, seeds=2)
    first, second, third, fourth = (finish(searched, FINE) for _ in range(4))
    assert [p.seeds for p in (first, second, third, fourth)] == [(0,), (1,), (0,), (1,)]
    fifth = one(searched)
    assert fifth.seeds == (0,)
    assert searched.should_prune(fifth.run_id, BAD[:2])
    searched.finish(fifth.run_id, Outcome("completed", FINE[-1], interim=FINE))
    further = one(searched)
    assert further.seeds == (1,)
    assert not searched.should_prune(further.run_id, BAD)  # asked for to be measured
    few = method_search(tmp_path / "b", early_stopping={"min_peers": 3}, racing={}, seeds=2)
    for _ in range(4):
        finish(few, FINE)
    assert not few.should_prune(one(few).run_id, BAD[:2])


def test_runs_that_may_still_be_running_are_not_peers(tmp_path: Path) -> None:
    """With three in flight the last two before it may not have ended yet."""
    searched = method_search(
        tmp_path / "a", early_stopping={"min_peers": 2}, max_concurrent_trials=3
    )
    finish(searched, FINE)
    second, third, fourth = one(searched), one(searched), one(searched)
    ended = Outcome("completed", FINE[-1], interim=FINE)
    searched.finish(third.run_id, ended)
    searched.finish(second.run_id, ended)
    assert not searched.should_prune(
        fourth.run_id, BAD
    )  # may know of the first two: hence one more
    fifth = one(searched)
    assert searched.should_prune(fifth.run_id, BAD)


def test_stopped_runs_are_recorded_as_pruned_and_are_not_on_the_front(tmp_path: Path) -> None:
    searched = method_search(tmp_path / "a", early_stopping={"min_peers": 3}, trials=20)
    drawn, outcomes = draw_and_keep(searched)
    searched.close()
    stopped = [n for n, run in enumerate(drawn) if outcomes[run].status == "stopped"]
    assert stopped
    assert searched.front()
    assert searched.front().keys().isdisjoint(stopped)
    states = [t.state for t in optuna_trials(tmp_path / "a")]
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
    }
    changes["trials"] = 20
    _, expected = draw_and_keep(method_search(tmp_path / "a", **changes))
    _, outcomes = draw_and_keep(method_search(tmp_path / "b", **changes), order=order)
    assert outcomes == expected
    assert {outcome.status for outcome in outcomes.values()} == {"completed", "stopped"}
