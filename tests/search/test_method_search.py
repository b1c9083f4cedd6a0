"""Searches of one method: deterministic suggestions, the search record and resuming."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from ngm_tune.errors import RecordError
from ngm_tune.results.outcome import Outcome
from ngm_tune.search.optuna_journal import open_storage
from tests.helpers.searches import (
    SEARCHES,
    ask_run,
    list_suggestions,
    make_method_search,
    read_optuna_trials,
    run_search,
    simulate_run,
)


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "gp", "random"])
def test_suggestions_are_determined_by_the_seed(tmp_path: Path, sampler: str) -> None:
    trials = 12
    first = list_suggestions(make_method_search(tmp_path / "a", sampler=sampler, trials=trials))
    again = list_suggestions(make_method_search(tmp_path / "b", sampler=sampler, trials=trials))
    other = list_suggestions(
        make_method_search(tmp_path / "c", sampler=sampler, trials=trials, seed=1)
    )
    assert first == again
    assert first != other
    assert list(first) == [f"split-digits.sgd.{n:04d}" for n in range(trials)]


def test_methods_of_a_study_receive_different_suggestions(tmp_path: Path) -> None:
    a, b = (
        list_suggestions(make_method_search(tmp_path / "a")),
        list_suggestions(make_method_search(tmp_path / "a", "momentum-sgd")),
    )
    assert [p["lr"] for p in a.values()] != [p["lr"] for p in b.values()]


def test_ngm_sgd_is_searched_over_dc_gain_and_gain_decay(tmp_path: Path) -> None:
    search = make_method_search(tmp_path / "a", "ngm-sgd")
    specs = []
    while spec := search.ask():
        specs.append(spec)
        search.finish(spec.run_id, simulate_run(search, spec))
    for spec, trial in zip(specs, read_optuna_trials(tmp_path / "a", "ngm-sgd"), strict=True):
        assert trial.params == spec.coordinates
        decay = 1.0 - spec.hyperparameters["entropy_smoothing"]
        assert trial.params["gain_decay"] == pytest.approx(decay)
        dc_gain = spec.hyperparameters["gain_sensitivity"] / decay
        assert trial.params["dc_gain"] == pytest.approx(dc_gain)
        assert trial.params["lr"] == spec.hyperparameters["lr"]


@pytest.mark.parametrize("kind", SEARCHES)
def test_a_search_does_not_depend_on_the_order_of_completion(tmp_path: Path, kind: str) -> None:
    ends = []
    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
        search = make_method_search(
            tmp_path / str(order), **{"max_concurrent_trials": 3, "trials": 24, **SEARCHES[kind]}
        )
        suggestions, outcomes = run_search(search, order=order)
        assert len(suggestions) == search.total
        ends.append((suggestions, outcomes, search.front()))
    assert ends[0] == ends[1] == ends[2]


def test_at_most_max_concurrent_trials_run_at_once(tmp_path: Path) -> None:
    search = make_method_search(tmp_path / "a", max_concurrent_trials=2)
    first, second = ask_run(search), ask_run(search)
    assert search.ask() is None
    search.finish(second.run_id, simulate_run(search, second))
    assert search.ask() is None  # the outcome of the first run informs the third
    search.finish(first.run_id, simulate_run(search, first))
    assert search.ask() is not None


def interruptions() -> Iterator[Any]:
    """Return how a search is interrupted, with its number of concurrent trials and its study."""
    for how in ("stopped", "killed", "record lost", "unseen result", "result lost"):
        for max_concurrent_trials in (1, 3):
            yield pytest.param(
                how, max_concurrent_trials, {"trials": 26}, id=f"{how}-{max_concurrent_trials}-tpe"
            )
        nsga2 = {"trials": 26, "sampler": "nsga2"}
        yield pytest.param(how, 3, nsga2, id=f"{how}-3-nsga2")


@pytest.mark.parametrize(("how", "max_concurrent_trials", "changes"), list(interruptions()))
def test_an_interrupted_search_resumes_as_if_uninterrupted(
    tmp_path: Path, how: str, max_concurrent_trials: int, changes: dict[str, Any]
) -> None:
    settings = {"max_concurrent_trials": max_concurrent_trials, **changes}
    whole, ends = run_search(make_method_search(tmp_path / "whole", **settings))

    journal = tmp_path / "broken"
    first = make_method_search(journal, **settings)
    before, outcomes = run_search(first, stop=14)
    if how == "unseen result":  # a worker wrote it after the driver was stopped
        if cut_off := first.ask():
            before[cut_off.run_id] = cut_off.hyperparameters
        unseen = next(run_id for run_id in before if run_id not in outcomes)
        outcomes[unseen] = ends[unseen]
    if how != "killed":
        first.close()
        assert not any(t.state == TrialState.RUNNING for t in read_optuna_trials(journal))
    if how in ("record lost", "result lost"):
        journal.unlink()
    if how == "result lost":  # and the study was interrupted again before it was repeated
        del outcomes["split-digits.sgd.0009"]
        make_method_search(journal, finished=outcomes, **settings).close()
    second = make_method_search(journal, finished=outcomes, **settings)
    after, later = run_search(second)
    second.close()

    assert {**before, **after} == whole
    assert {**outcomes, **later} == ends
    assert outcomes.keys().isdisjoint(later)
    trials = [t for t in read_optuna_trials(journal) if t.user_attrs["status"] != "cut off"]
    assert sorted(t.user_attrs["number"] for t in trials) == list(range(second.total))
    assert all(t.state == TrialState.COMPLETE for t in trials)
    by_number = sorted(trials, key=lambda t: t.user_attrs["number"])
    assert [t.params["lr"] for t in by_number] == [p["lr"] for p in whole.values()]


def test_results_missing_from_the_search_record_are_added_on_resume(tmp_path: Path) -> None:
    """The driver was killed after a worker wrote the results, which take precedence."""
    first = make_method_search(tmp_path / "a", trials=1)
    spec = ask_run(first)
    outcome = simulate_run(first, spec)
    second = make_method_search(tmp_path / "a", trials=1, finished={spec.run_id: outcome})
    assert second.ask() is None
    assert second.complete
    second.close()
    (trial,) = read_optuna_trials(tmp_path / "a")
    assert trial.state == TrialState.COMPLETE
    assert tuple(trial.values) == outcome.values
    assert trial.user_attrs["status"] == "completed"


@pytest.mark.parametrize("max_concurrent_trials", [1, 3])
def test_more_trials_extend_a_search(tmp_path: Path, max_concurrent_trials: int) -> None:
    journal = tmp_path / "a"
    settings = {"max_concurrent_trials": max_concurrent_trials}
    first = make_method_search(journal, **{**settings, "trials": 6})
    few, outcomes = run_search(first)
    first.close()
    more, _ = run_search(
        make_method_search(journal, finished=outcomes, **{**settings, "trials": 12})
    )
    whole, _ = run_search(make_method_search(tmp_path / "b", **{**settings, "trials": 12}))
    assert {**few, **more} == whole
    assert outcomes.keys().isdisjoint(more)


@pytest.mark.parametrize(
    ("outcome", "state", "status"),
    [
        (Outcome("completed", (0.9, 0.1)), TrialState.COMPLETE, "completed"),
        (Outcome("diverged", (0.0, 1.0)), TrialState.COMPLETE, "diverged"),
        (Outcome("stopped", None), TrialState.PRUNED, "stopped"),
        (Outcome("failed", None), TrialState.FAIL, "failed"),
        (Outcome("completed", (math.nan, 0.1)), TrialState.FAIL, "failed"),
        (Outcome("completed", (0.9, 0.1), (math.nan,)), TrialState.FAIL, "failed"),
    ],
)
def test_optuna_records_how_a_trial_ended(
    tmp_path: Path, outcome: Outcome, state: TrialState, status: str
) -> None:
    search = make_method_search(tmp_path / "a", trials=2)
    search.finish(ask_run(search).run_id, outcome)
    ask_run(search)  # the search continues in any case
    search.close()
    first, second = read_optuna_trials(tmp_path / "a")
    assert (first.state, first.user_attrs["status"]) == (state, status)
    assert tuple(first.values or ()) == (outcome.values if state == TrialState.COMPLETE else ())
    assert (second.state, second.user_attrs["status"]) == (TrialState.FAIL, "cut off")


def test_optuna_trials_name_their_trial_and_seeds(tmp_path: Path) -> None:
    search = make_method_search(tmp_path / "a", seeds=[4, 2], trials=2)
    list_suggestions(search)
    trials = read_optuna_trials(tmp_path / "a")
    assert [t.user_attrs["number"] for t in trials] == [0, 1]
    ids = ["split-digits.sgd.0000", "split-digits.sgd.0001"]
    assert [t.user_attrs["trial_id"] for t in trials] == ids
    assert all((t.user_attrs["method"], t.user_attrs["seeds"]) == ("sgd", [4, 2]) for t in trials)


def test_a_stored_result_with_a_nan_objective_is_a_failure(tmp_path: Path) -> None:
    first = make_method_search(tmp_path / "a", trials=2)
    finished = {ask_run(first).run_id: Outcome("completed", (math.nan, 0.1))}
    second = make_method_search(tmp_path / "a", trials=2, finished=finished)
    ask_run(second)
    assert [o.status for o in second.outcomes] == ["failed"]


def test_a_failure_recorded_as_an_interruption_is_corrected_on_resume(tmp_path: Path) -> None:
    """A worker wrote the failure of the trial after the driver was stopped."""
    first = make_method_search(tmp_path / "a", trials=1)
    failed = {ask_run(first).run_id: Outcome("failed", None)}
    first.close()
    second = make_method_search(tmp_path / "a", trials=1, finished=failed)
    second.close()
    statuses = [t.user_attrs["status"] for t in read_optuna_trials(tmp_path / "a")]
    assert statuses == ["cut off", "failed"]


def test_a_trial_whose_result_was_deleted_is_run_again(tmp_path: Path) -> None:
    search = make_method_search(tmp_path / "a", trials=6)
    suggestions, outcomes = run_search(search)
    search.close()
    deleted = "split-digits.sgd.0002"
    del outcomes[deleted]
    again = make_method_search(tmp_path / "a", trials=6, finished=outcomes)
    spec = ask_run(again)
    assert (spec.run_id, spec.hyperparameters) == (deleted, suggestions[deleted])
    again.close()  # interrupted during the run
    assert not any(t.state == TrialState.RUNNING for t in read_optuna_trials(tmp_path / "a"))


def test_an_interrupted_trial_is_offered_again(tmp_path: Path) -> None:
    search = make_method_search(tmp_path / "a", trials=1)
    first = ask_run(search)
    assert (search.started, search.ask()) == (1, None)
    search.reopen(first.run_id)
    assert search.started == 0
    assert ask_run(search) == first


@pytest.mark.parametrize("directions", [["minimize"], ["minimize", "maximize"]])
def test_a_record_with_other_directions_is_refused(tmp_path: Path, directions: list[str]) -> None:
    storage = open_storage(tmp_path / "a")
    optuna.create_study(study_name="split-digits/sgd", storage=storage, directions=directions)
    with pytest.raises(RecordError, match="split-digits/sgd is recorded with the directions min"):
        make_method_search(tmp_path / "a")


def test_foreign_trials_in_the_search_record_are_ignored(tmp_path: Path) -> None:
    expected = list_suggestions(make_method_search(tmp_path / "a"))
    study = optuna.create_study(
        study_name="split-digits/sgd",
        storage=open_storage(tmp_path / "b"),
        directions=["maximize", "minimize"],
    )
    study.enqueue_trial({"lr": 0.5})
    assert list_suggestions(make_method_search(tmp_path / "b")) == expected
