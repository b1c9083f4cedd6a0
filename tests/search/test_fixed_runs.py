"""Confirmations: the configurations, the seeds and the order in which they are run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ngm_tune.execution.trial_config import build_trial_config
from ngm_tune.metrics.selection import hypervolume_subset
from ngm_tune.results.ids import TrialId
from ngm_tune.results.outcome import Outcome
from ngm_tune.search.fixed_runs import FixedRuns, create_confirmation, create_transfer
from ngm_tune.search.method_search import MethodSearch
from ngm_tune.search.run_spec import RunSpec
from ngm_tune.study.plan import StudyPlan
from tests.helpers.searches import a_study, ask_run, make_method_search

FRONT = [(0.95, 0.5), (0.9, 0.3), (0.8, 0.2), (0.7, 0.15), (0.6, 0.1)]
DOMINATED = (0.5, 0.6)


def run_search_to(
    journal: Path, values: list[tuple[float, float] | None], **changes: Any
) -> tuple[MethodSearch, FixedRuns]:
    """Return a complete search with these objectives (None: a failed run) and its confirmation."""
    search = make_method_search(journal, trials=len(values), **changes)
    for value in values:
        status = "completed" if value else "failed"
        search.finish(ask_run(search).run_id, Outcome(status, value))
    return search, confirm(search, **changes)


def confirm(
    search: MethodSearch, finished: Mapping[str, Outcome] | None = None, **changes: Any
) -> FixedRuns:
    """Return the confirmation of a search."""
    return create_confirmation(a_study(**changes), search, finished or {})


def ask_all(confirmation: FixedRuns) -> list[RunSpec]:
    """Start all runs of a confirmation."""
    specs = []
    while spec := confirmation.ask():
        specs.append(spec)
    return specs


@pytest.mark.parametrize("most", [1, 3, 9])
def test_at_most_max_configurations_are_confirmed_those_of_the_front_first(
    tmp_path: Path, most: int
) -> None:
    search, confirmation = run_search_to(
        tmp_path / "a", [DOMINATED, *FRONT], confirm={"max_configurations": most}
    )
    reference = {"avg_acc": 0.1, "avg_sg": 1.0}
    scores = [DOMINATED, *FRONT]
    expected = hypervolume_subset(scores, search._objectives, reference, most)
    assert expected.index(0) == 5 if most == 9 else 0 not in expected
    specs = ask_all(confirmation)
    names = [f"split-digits.sgd.{i:04d}.confirm" for i in expected]
    assert [spec.trial_id for spec in specs] == [spec.run_id for spec in specs] == names
    assert confirmation.total == confirmation.started == min(most, len(scores))


def test_only_useful_configurations_are_confirmed_or_else_the_best(tmp_path: Path) -> None:
    useful, others = [(0.95, 0.45), (0.85, 0.3)], [(0.97, 0.6), (0.7, 0.1)]
    limits = {"reference_point": {"avg_acc": 0.8, "avg_sg": 0.5}}
    for values, expected in ((useful + others, {0, 1}), (others, {0}), ([None], set())):
        journal = tmp_path / str(len(values))
        _, confirmation = run_search_to(journal, values, **limits)
        numbers = {TrialId.parse(spec.trial_id).number for spec in ask_all(confirmation)}
        assert numbers == expected
        assert confirmation.complete == (not expected)


def test_references_are_confirmed_beside_the_front(tmp_path: Path) -> None:
    points: list[Any] = ["default", {"method": "sgd", "lr": 0.5}]
    changes = {"points_to_evaluate": points, "confirm": {"max_configurations": 1}}
    for values, expected in (
        ([DOMINATED, FRONT[0], FRONT[1]], [2, 0]),  # the default is not on the front
        ([FRONT[1], FRONT[0], DOMINATED], [0]),  # the front selects the default
        ([None, FRONT[0], FRONT[1]], [2, 0]),  # the default failed in the search
    ):
        journal = tmp_path / str(values)
        _, confirmation = run_search_to(journal, values, **changes)
        trials = [TrialId.parse(spec.trial_id) for spec in ask_all(confirmation)]
        assert [trial.number for trial in trials] == expected
        assert confirmation.complete is False


def test_pending_confirmations_of_references_are_counted(tmp_path: Path) -> None:
    search = make_method_search(tmp_path / "a", trials=3, points_to_evaluate=["default"])
    assert confirm(search).total == 5  # max_configurations = 4, and the default


def test_a_confirmation_does_not_wait_for_other_methods(tmp_path: Path) -> None:
    search = make_method_search(tmp_path / "a", methods=["sgd", "adam"], trials=1)
    search.finish(ask_run(search).run_id, Outcome("completed", FRONT[0]))
    assert len(ask_all(confirm(search))) == 1


def test_seeds_can_be_added_to_confirmations(tmp_path: Path) -> None:
    search = make_method_search(tmp_path / "a", trials=1)
    search.finish(ask_run(search).run_id, Outcome("completed", FRONT[0]))
    trial = "split-digits.sgd.0000.confirm"
    done = Outcome("completed", FRONT[0], seeds=2)
    added = Outcome("completed", FRONT[0])
    for finished, expected in (
        ({}, {trial: (1000, 1001, 1002, 1003)}),
        ({trial: done}, {f"{trial}@1002": (1002,), f"{trial}@1003": (1003,)}),
        ({trial: done, f"{trial}@1003": added}, {f"{trial}@1002": (1002,)}),
        ({f"{trial}@1002": added}, {trial: (1000, 1001), f"{trial}@1003": (1003,)}),
        ({trial: done, f"{trial}@1002": added, f"{trial}@1003": added}, {}),
    ):
        confirmation = confirm(search, finished, confirm={"seeds": 4})
        assert confirmation.remaining_seed_runs == sum(map(len, expected.values()))
        assert {spec.run_id: spec.seeds for spec in ask_all(confirmation)} == expected
        assert {spec.trial_id for spec in ask_all(confirmation)} <= {trial}
        assert confirmation.complete == (not expected)


def test_confirmations_have_the_hyperparameters_of_the_search(tmp_path: Path) -> None:
    changes = {"confirm": {"max_configurations": 2}}
    search = make_method_search(tmp_path / "a", "ngm-sgd", trials=2, **changes)
    suggested = {}
    for values in FRONT[:2]:
        spec = ask_run(search)
        suggested[f"{spec.trial_id}.confirm"] = (spec.hyperparameters, spec.coordinates)
        search.finish(spec.run_id, Outcome("completed", values))
    again = ask_all(confirm(search, **changes))
    assert {p.trial_id: (p.hyperparameters, p.coordinates) for p in again} == suggested


def test_confirmations_use_fresh_seeds(tmp_path: Path) -> None:
    changes = {"seeds": [1000, 3, 1002], "confirm": {"max_configurations": 2, "seeds": 4}}
    _, confirmation = run_search_to(tmp_path / "a", [*FRONT], **changes)
    for spec in ask_all(confirmation):
        assert spec.phase == "confirm"
        assert spec.seeds == (1001, 1003, 1004, 1005)


def test_confirmation_waits_for_the_whole_search(tmp_path: Path) -> None:
    search = make_method_search(tmp_path / "a", trials=3)
    confirmation = confirm(search)
    for values in FRONT[:3]:
        assert confirmation.ask() is None
        assert not confirmation.complete
        assert confirmation.total == 4  # max_configurations, while the front is unknown
        search.finish(ask_run(search).run_id, Outcome("completed", values))
    assert len(ask_all(confirmation)) == confirmation.total == 3


@pytest.mark.parametrize("values", [[None, None], [None]])
def test_a_search_without_a_front_has_no_confirmations(
    tmp_path: Path, values: list[tuple[float, float] | None]
) -> None:
    _, confirmation = run_search_to(tmp_path / "a", values)
    assert confirmation.ask() is None
    assert (confirmation.total, confirmation.started, confirmation.outcomes) == (0, 0, [])
    assert confirmation.complete


def test_finished_confirmations_are_not_run_again(tmp_path: Path) -> None:
    search = make_method_search(tmp_path / "a", trials=len(FRONT))
    for values in FRONT:
        search.finish(ask_run(search).run_id, Outcome("completed", values))
    first, *rest = ask_all(confirm(search))
    ended = Outcome("completed", (0.9, 0.2), seeds=5)
    again = confirm(search, {first.run_id: ended})
    assert again.outcomes == [ended]
    assert again.values == [(0.9, 0.2)]
    assert ask_all(again) == rest


def test_an_interrupted_confirmation_is_offered_again(tmp_path: Path) -> None:
    _, confirmation = run_search_to(tmp_path / "a", [FRONT[0]])
    first = confirmation.ask()
    assert first is not None
    assert confirmation.ask() is None
    assert not confirmation.complete
    confirmation.reopen(first.run_id)
    assert confirmation.ask() == first
    confirmation.finish(first.run_id, Outcome("failed", None))
    assert confirmation.complete
    assert confirmation.values == []


def test_a_confirmation_with_a_nan_objective_fails(tmp_path: Path) -> None:
    _, confirmation = run_search_to(tmp_path / "a", [FRONT[0]])
    first = confirmation.ask()
    assert first is not None
    confirmation.finish(first.run_id, Outcome("completed", (float("nan"), 0.1)))
    assert [outcome.status for outcome in confirmation.outcomes] == ["failed"]
    assert confirmation.values == []


def test_transfers_run_the_selected_configurations_on_another_benchmark(tmp_path: Path) -> None:
    changes = {"confirm": {"max_configurations": 2, "seeds": 2}}
    search, confirmation = run_search_to(tmp_path / "a", [*FRONT], **changes)
    confirmed = ask_all(confirmation)
    transfer = create_transfer(a_study(**changes), search, "rotated-digits", {})
    specs = ask_all(transfer)
    assert [spec.trial_id for spec in specs] == [
        str(TrialId.parse(spec.trial_id).searched.transfer("rotated-digits")) for spec in confirmed
    ]
    for spec, other in zip(specs, confirmed, strict=True):
        assert (spec.benchmark, spec.phase) == ("rotated-digits", "transfer")
        assert (spec.hyperparameters, spec.seeds) == (other.hyperparameters, other.seeds)


def test_transfers_have_the_hyperparameters_that_belong_to_their_benchmark() -> None:
    study = a_study(
        benchmarks=["split-mnist", "domain-cifar100"],
        methods=["ngm-sgd"],
        confirm={"transfer": True},
    )
    plan = StudyPlan.resolve(study)
    searched = {"lr": 0.1, "gain_sensitivity": 0.4, "entropy_smoothing": 0.9}
    settings = []
    for benchmark in study.benchmarks:
        spec = RunSpec(
            benchmark=benchmark,
            method="ngm-sgd",
            repetition=1,
            phase="transfer",
            run_id="run",
            seeds=(0,),
            trial_id="trial",
            hyperparameters=searched,
            coordinates={},
        )
        config = build_trial_config(plan, "", spec)
        arrangement = plan.arrangement(benchmark, 1)
        assert (config["order_seed"], config["eval_every"]) == (arrangement.order_seed, 1)
        settings.append(config["hyperparameters"])
    assert settings[0] != settings[1]
    assert settings[1] == plan.fixed_hyperparameters("domain-cifar100", "ngm-sgd") | searched
