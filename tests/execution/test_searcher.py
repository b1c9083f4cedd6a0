"""The schedule of a study as a search algorithm for Ray Tune."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from ngm_tune.execution.searcher import ScheduleSearcher
from ngm_tune.execution.trial_report import TrialReport
from ngm_tune.results.outcome import Outcome
from ngm_tune.results.schema import Status
from ngm_tune.search.fixed_runs import RunSource, create_confirmation, create_fixed_run
from ngm_tune.search.run_spec import RunSpec
from ngm_tune.search.schedule import Schedule
from tests.helpers.searches import a_study, make_method_search


def searcher_of(
    sources: Sequence[RunSource],
    written: Mapping[str, Outcome] | None = None,
    has_failed: Callable[[str], bool] = lambda run_id: True,
) -> ScheduleSearcher:
    """Return a searcher with short configs.

    Args:
        sources: Sources of runs.
        written: Outcomes of the runs that workers have written.
        has_failed: Returns whether a run whose trial raised has failed.
    """

    def config_of(spec: RunSpec) -> Any:
        return {"id": spec.run_id, "seeds": spec.seeds, "phase": spec.phase}

    written = {} if written is None else written
    return ScheduleSearcher(Schedule(sources), config_of, written.get, has_failed)


def ended(status: Status, *values: float) -> dict[str, Any]:
    """Return the last result of a trial."""
    return {"report": TrialReport(outcome=Outcome(status, values)), "done": True}


def test_runs_are_distributed_evenly_over_searches(tmp_path: Path) -> None:
    searches = [
        make_method_search(tmp_path / "a", name, trials=4) for name in ("sgd", "adam", "ngm-sgd")
    ]
    searcher = searcher_of(searches)
    for round_ in range(4):
        ids = [f"t{round_}{n}" for n in range(3)]
        configs = [searcher.suggest(tune_id) for tune_id in ids]
        assert [c["id"] for c in configs] == [
            f"split-digits.{name}.{round_:04d}" for name in ("sgd", "adam", "ngm-sgd")
        ]
        if round_ < 3:
            assert searcher.suggest("waits") is None
        for tune_id in ids:
            searcher.on_trial_complete(tune_id, ended(Status.COMPLETED, 0.5, 0.5))
    assert searcher.suggest("none") == Searcher.FINISHED
    assert [[o.values for o in s.outcomes] for s in searches] == [[(0.5, 0.5)] * 4] * 3


def test_a_trial_that_raised_fails_and_an_interrupted_one_is_offered_again(tmp_path: Path) -> None:
    search = make_method_search(tmp_path / "a", trials=1)
    searcher = searcher_of([search])
    config = searcher.suggest("t1")
    searcher.on_trial_complete("t1")
    assert search.outcomes == []
    assert searcher.suggest("t2") == config
    searcher.on_trial_complete("t2", error=True)
    assert [o.status for o in search.outcomes] == ["failed"]


def test_a_trial_that_tune_abandons_too_early_is_offered_again(tmp_path: Path) -> None:
    search = make_method_search(tmp_path / "a", trials=1)
    last = iter((False, True))
    searcher = searcher_of([search], has_failed=lambda run_id: next(last))
    config = searcher.suggest("t1")
    assert searcher.suggest("waits") is None
    searcher.on_trial_complete("t1", error=True)
    assert searcher.suggest("t2") == config
    searcher.on_trial_complete("t2", error=True)
    assert [o.status for o in search.outcomes] == ["failed"]
    assert searcher.suggest("none") == Searcher.FINISHED


def test_a_trial_interrupted_after_a_report_is_offered_again(tmp_path: Path) -> None:
    search = make_method_search(tmp_path / "a", trials=1)
    searcher = searcher_of([search])
    config = searcher.suggest("t1")
    searcher.on_trial_complete("t1", {"report": TrialReport(tasks=1), "done": False})
    assert searcher.suggest("t2") == config


def test_written_rows_take_precedence_over_reports_of_tune(tmp_path: Path) -> None:
    search = make_method_search(tmp_path / "a", trials=3)
    written: dict[str, Outcome] = {}
    searcher = searcher_of([search], written)
    for tune_id, error in (("lost after its end", True), ("interrupted after its end", False)):
        run_id = searcher.suggest(tune_id)["id"]
        written[run_id] = Outcome(Status.COMPLETED, (0.9, 0.1))
        searcher.on_trial_complete(tune_id, error=error)
    searcher.record_remaining()
    written[searcher.suggest("left without a call")["id"]] = Outcome(Status.COMPLETED, (0.8, 0.1))
    searcher.record_remaining()
    assert search.complete
    assert [o.status for o in search.outcomes] == ["completed"] * 3


def test_confirmation_starts_when_its_search_is_complete(tmp_path: Path) -> None:
    changes = {"trials": 2, "confirm": {"max_configurations": 1, "seeds": 2}}
    search = make_method_search(tmp_path / "a", **changes)
    study = a_study(methods=["sgd"], **changes)
    searcher = searcher_of([search, create_confirmation(study, search, {})])
    for tune_id, gap in (("t0", 0.2), ("t1", 0.1)):
        assert searcher.suggest(tune_id)["phase"] == "search"
        assert searcher.suggest("waits") is None
        searcher.on_trial_complete(tune_id, ended(Status.COMPLETED, 0.9, gap))
    assert searcher.suggest("t2") == {
        "id": "split-digits.sgd.0001.confirm",
        "seeds": (1000, 1001),
        "phase": "confirm",
    }
    assert searcher.suggest("waits") is None  # the run could be interrupted and offered again
    searcher.on_trial_complete("t2", ended(Status.COMPLETED, 0.9, 0.1))
    assert searcher.suggest("none") == Searcher.FINISHED


def test_a_search_without_a_front_needs_no_confirmation(tmp_path: Path) -> None:
    search = make_method_search(tmp_path / "a", trials=1)
    study = a_study(methods=["sgd"], trials=1)
    searcher = searcher_of([search, create_confirmation(study, search, {})])
    searcher.suggest("t0")
    searcher.on_trial_complete("t0", error=True)
    assert searcher.suggest("none") == Searcher.FINISHED


def test_fixed_hyperparameters_are_one_run(tmp_path: Path) -> None:
    study = a_study(methods=["sgd"], settings={"sgd": {"lr": 0.1}}, trials=1, seeds=[3, 4])
    fixed_run = create_fixed_run(study, "split-digits", "sgd", 0, {})
    searcher = searcher_of([fixed_run])
    config = {"id": "split-digits.sgd.0000", "seeds": (3, 4), "phase": "confirm"}
    assert searcher.suggest("t0") == config
    searcher.on_trial_complete("t0")
    assert searcher.suggest("t1") == config
    searcher.on_trial_complete("t1", ended(Status.DIVERGED, 0.0, 1.0))
    assert fixed_run.complete
    assert fixed_run.values == []  # diverged runs are not on a front
    assert searcher.suggest("none") == Searcher.FINISHED
