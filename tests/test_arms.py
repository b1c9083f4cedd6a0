"""Drawing from Optuna: deterministic, and true to the results."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from ngm_tune.arms import Arm, Outcome, Proposal, open_storage
from ngm_tune.methods import get_method
from ngm_tune.metrics import METRICS

OBJECTIVES = [METRICS["avg_acc"], METRICS["avg_sg"]]


def arm(journal: Path, method: str = "sgd", **settings: object) -> Arm:
    defaults = {"trials": 14, "in_flight": 1, "sampler": "tpe", "seed": 0, "finished": {}}
    return Arm(
        "split-digits",
        get_method(method),
        storage=open_storage(journal),
        objectives=OBJECTIVES,
        **{**defaults, **settings},  # type: ignore[arg-type]
    )


def score(proposal: Proposal) -> Outcome:
    """An invented trade-off with its best learning rates between 0.01 and 0.1."""
    x = math.log10(proposal.hyperparameters["lr"])
    return Outcome("completed", (1.0 - 0.1 * (x + 1) ** 2, 0.1 * (x + 2) ** 2))


def draw(searched: Arm, stop: int | None = None) -> dict[str, Mapping[str, float]]:
    """Ask and finish one after another; the proposals by trial id."""
    proposals: dict[str, Mapping[str, float]] = {}
    while len(proposals) != stop and (proposal := searched.ask()):
        proposals[proposal.trial_id] = proposal.hyperparameters
        searched.finish(proposal.trial_id, score(proposal))
    return proposals


def optuna_trials(journal: Path, method: str = "sgd") -> list[optuna.trial.FrozenTrial]:
    study = optuna.load_study(study_name=f"split-digits/{method}", storage=open_storage(journal))
    return study.trials


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "gp", "random"])
def test_a_seed_fixes_every_suggestion(tmp_path: Path, sampler: str) -> None:
    trials = 12
    first = draw(arm(tmp_path / "a", sampler=sampler, trials=trials))
    again = draw(arm(tmp_path / "b", sampler=sampler, trials=trials))
    other = draw(arm(tmp_path / "c", sampler=sampler, trials=trials, seed=1))
    assert first == again
    assert first != other
    assert list(first) == [f"split-digits.sgd.{n:04d}" for n in range(trials)]


def test_methods_of_one_study_draw_differently(tmp_path: Path) -> None:
    a, b = draw(arm(tmp_path / "a")), draw(arm(tmp_path / "a", "momentum-sgd"))
    assert [p["lr"] for p in a.values()] != [p["lr"] for p in b.values()]


def test_ngm_sgd_is_searched_through_dc_gain_and_decay(tmp_path: Path) -> None:
    proposals = draw(arm(tmp_path / "a", "ngm-sgd"))
    for proposal, trial in zip(
        proposals.values(), optuna_trials(tmp_path / "a", "ngm-sgd"), strict=True
    ):
        decay = 1.0 - proposal["entropy_smoothing"]
        assert trial.params["gain_decay"] == pytest.approx(decay)
        assert trial.params["dc_gain"] == pytest.approx(proposal["gain_sensitivity"] / decay)
        assert trial.params["lr"] == proposal["lr"]


def test_suggestions_do_not_depend_on_the_order_of_completion(tmp_path: Path) -> None:
    orders = ((0, 1, 2), (2, 1, 0), (1, 2, 0))
    drawn = []
    for order in orders:
        searched = arm(tmp_path / str(order), in_flight=3, trials=24)
        proposals: dict[str, Mapping[str, float]] = {}
        running: list[Proposal] = []
        while True:
            while proposal := searched.ask():
                proposals[proposal.trial_id] = proposal.hyperparameters
                running.append(proposal)
            if not running:
                break
            done = running.pop(min(order[len(proposals) % 3], len(running) - 1))
            searched.finish(done.trial_id, score(done))
        drawn.append(proposals)
    assert drawn[0] == drawn[1] == drawn[2]
    assert len(drawn[0]) == 24


def test_no_more_than_in_flight_run_at_once(tmp_path: Path) -> None:
    searched = arm(tmp_path / "a", in_flight=2)
    first, second = searched.ask(), searched.ask()
    assert first is not None
    assert second is not None
    assert searched.ask() is None
    searched.finish(second.trial_id, score(second))
    assert searched.ask() is None  # the third may only know of the first
    searched.finish(first.trial_id, score(first))
    assert searched.ask() is not None


def draw_newest_first(
    searched: Arm, stop: int | None = None
) -> tuple[dict[str, Mapping[str, float]], dict[str, Outcome]]:
    """Ask for all that may run at once and finish the newest; proposals and outcomes by id."""
    proposals: dict[str, Mapping[str, float]] = {}
    outcomes: dict[str, Outcome] = {}
    running: list[Proposal] = []
    while len(outcomes) != stop:
        while proposal := searched.ask():
            proposals[proposal.trial_id] = proposal.hyperparameters
            running.append(proposal)
        if not running:
            break
        done = running.pop()
        outcomes[done.trial_id] = score(done)
        searched.finish(done.trial_id, outcomes[done.trial_id])
    return proposals, outcomes


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
@pytest.mark.parametrize("in_flight", [1, 3])
@pytest.mark.parametrize("how", ["stopped", "killed", "record lost", "unseen result"])
def test_an_interrupted_search_goes_on_as_if_it_had_not_been(
    tmp_path: Path, how: str, in_flight: int, sampler: str
) -> None:
    settings = {"in_flight": in_flight, "sampler": sampler, "trials": 26}
    whole, _ = draw_newest_first(arm(tmp_path / "whole", **settings))

    journal = tmp_path / "broken"
    first = arm(journal, **settings)
    before, outcomes = draw_newest_first(first, stop=14)
    if how == "unseen result":  # the worker wrote it, the driver was stopped before it knew
        if cut_off := first.ask():
            before[cut_off.trial_id] = cut_off.hyperparameters
        unseen = next(trial_id for trial_id in before if trial_id not in outcomes)
        settings_of = dict(before[unseen])
        outcomes[unseen] = score(Proposal("split-digits", "sgd", unseen, settings_of))
    if how != "killed":
        first.close()
        assert not any(t.state == TrialState.RUNNING for t in optuna_trials(journal))
    if how == "record lost":
        journal.unlink()
    second = arm(journal, finished=outcomes, **settings)
    after, later = draw_newest_first(second)
    second.close()

    assert {**before, **after} == whole
    assert outcomes.keys().isdisjoint(later)
    states = [t.state for t in optuna_trials(journal)]
    assert states.count(TrialState.COMPLETE) == 26
    assert states.count(TrialState.RUNNING) == 0
    numbers = [t.user_attrs["number"] for t in optuna_trials(journal) if t.values]
    assert sorted(numbers) == list(range(26))


def test_results_that_optuna_was_not_told_of_are_taken_over(tmp_path: Path) -> None:
    """Killed after a trial's file was written: the file is the truth."""
    first = arm(tmp_path / "a", trials=1)
    proposal = first.ask()
    assert proposal is not None
    second = arm(tmp_path / "a", trials=1, finished={proposal.trial_id: score(proposal)})
    assert second.ask() is None
    second.close()
    (trial,) = optuna_trials(tmp_path / "a")
    assert trial.state == TrialState.COMPLETE
    assert tuple(trial.values) == score(proposal).values
    assert trial.user_attrs["trial_id"] == proposal.trial_id


@pytest.mark.parametrize("in_flight", [1, 3])
def test_more_trials_extend_a_search(tmp_path: Path, in_flight: int) -> None:
    journal = tmp_path / "a"
    first = arm(journal, trials=12, in_flight=in_flight)
    few, outcomes = draw_newest_first(first)
    first.close()
    more, _ = draw_newest_first(arm(journal, trials=24, in_flight=in_flight, finished=outcomes))
    whole, _ = draw_newest_first(arm(tmp_path / "b", trials=24, in_flight=in_flight))
    assert {**few, **more} == whole


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Outcome("completed", (0.9, 0.1)), TrialState.COMPLETE),
        (Outcome("diverged", (0.0, 1.0)), TrialState.COMPLETE),
        (Outcome("stopped", (0.9, 0.1)), TrialState.PRUNED),
        (Outcome("failed", None), TrialState.FAIL),
        (Outcome("completed", (math.nan, 0.1)), TrialState.FAIL),
    ],
)
def test_optuna_is_told_how_a_trial_ended(
    tmp_path: Path, outcome: Outcome, state: TrialState
) -> None:
    searched = arm(tmp_path / "a", trials=2)
    proposal = searched.ask()
    assert proposal is not None
    searched.finish(proposal.trial_id, outcome)
    assert searched.ask() is not None  # the search goes on, whatever happened
    searched.close()
    first, second = optuna_trials(tmp_path / "a")
    assert first.state == state
    assert second.state == TrialState.FAIL  # cut off


def test_a_result_without_a_value_is_a_failure_when_taken_over_too(tmp_path: Path) -> None:
    first = arm(tmp_path / "a", trials=2)
    proposal = first.ask()
    assert proposal is not None
    nothing = {proposal.trial_id: Outcome("completed", (math.nan, 0.1))}
    second = arm(tmp_path / "a", trials=2, finished=nothing)
    assert second.ask() is not None
    assert [o.status for o in second.outcomes] == ["failed"]


def test_a_trial_whose_result_was_deleted_is_run_again(tmp_path: Path) -> None:
    searched = arm(tmp_path / "a", trials=6)
    proposals, outcomes = draw_newest_first(searched)
    searched.close()
    gone = "split-digits.sgd.0002"
    del outcomes[gone]
    again = arm(tmp_path / "a", trials=6, finished=outcomes)
    proposal = again.ask()
    assert proposal is not None
    assert (proposal.trial_id, proposal.hyperparameters) == (gone, proposals[gone])
    again.close()  # interrupted before it ended
    assert not any(t.state == TrialState.RUNNING for t in optuna_trials(tmp_path / "a"))


def test_a_torn_journal_is_repaired(tmp_path: Path) -> None:
    journal = tmp_path / "optuna.journal"
    draw(arm(journal), stop=3)
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code": 4, "worker')
    assert len(optuna_trials(journal)) == 3
    assert journal.read_bytes() == whole
