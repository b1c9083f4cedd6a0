"""Dry runs: what is left to run, without running or writing anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from ngm_tune.execution.driver import drive
from ngm_tune.execution.estimate import _count_evaluated, estimate
from ngm_tune.study.files import load_study
from ngm_tune.study.plan import StudyPlan
from ngm_tune.study.study import Study
from ngm_tune.training.options import EVERY_ITERATION, EvaluationSchedule
from ngm_tune.workspace.remaining import read_sources
from tests.helpers.commands import Command
from tests.helpers.interrupting import interrupt_before_task

CHANGES = (
    *('methods=["sgd", "adam"]', "searches=1", "trials=3", "seeds=2"),
    *("iterations_per_task=6", "eval_every=3", "confirm={ max_configurations = 1, seeds = 4 }"),
)
STUDY = load_study("quickstart", CHANGES)


def count_left(study: Study, location: Path) -> dict[tuple[str, str, str], int]:
    """Return the seed-runs that are left, by benchmark, method and phase."""
    plan = StudyPlan.resolve(study)
    remaining = estimate(plan, str(location), read_sources(plan, str(location)))
    assert all(runs.seconds > 0.0 and runs.core_hours > 0.0 for runs in remaining)
    return {(runs.benchmark, runs.method, runs.phase): runs.seed_runs for runs in remaining}


def test_a_new_study_has_all_runs_left_and_nothing_is_written(tmp_path: Path) -> None:
    assert count_left(STUDY, tmp_path / "study") == {
        ("split-digits", "SGD", "search"): 6,
        ("split-digits", "Adam", "search"): 6,
        ("split-digits", "SGD", "confirm"): 4,
        ("split-digits", "Adam", "confirm"): 4,
    }
    assert list(tmp_path.iterdir()) == []


def test_finished_runs_of_an_interrupted_and_of_a_grown_study_are_not_left(tmp_path: Path) -> None:
    with interrupt_before_task(5 * 2 + 1):  # after the first trial of two seeds
        assert not drive(STUDY, str(tmp_path), executor="local").complete
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    left = count_left(STUDY, tmp_path)
    assert left["split-digits", "SGD", "search"] + left["split-digits", "Adam", "search"] == 10
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert drive(STUDY, str(tmp_path), executor="local").complete
    assert count_left(STUDY, tmp_path) == {}
    grown = load_study("quickstart", [*CHANGES, 'benchmarks=["split-digits", "rotated-digits"]'])
    assert set(count_left(grown, tmp_path)) == {
        ("rotated-digits", method, phase)
        for method in ("SGD", "Adam")
        for phase in ("search", "confirm")
    }


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (["confirm.max_configurations=0"], {"search": 6}),
        (["trials=1", "confirm={}", "settings={ sgd = { lr = 0.1 } }"], {"confirm": 2}),
    ],
)
def test_every_kind_of_run_is_counted_by_seed(
    tmp_path: Path, changes: list[str], expected: dict[str, int]
) -> None:
    base = [change for change in CHANGES if not change.startswith("confirm")]
    study = load_study(
        "quickstart",
        [*(CHANGES if "settings" not in changes[-1] else base), 'methods=["sgd"]', *changes],
    )
    left = count_left(study, tmp_path / "study")
    assert {phase: count for (_, _, phase), count in left.items()} == expected


def test_evaluated_examples_follow_the_schedule() -> None:
    assert _count_evaluated(EVERY_ITERATION, (5, 7), 10) == 10 * 5 + 10 * (5 + 7)
    assert _count_evaluated(EvaluationSchedule(every=4), (5, 7), 10) == 3 * 5 + 3 * (5 + 7)
    sparse = EvaluationSchedule(every=100, dense=2)
    assert _count_evaluated(sparse, (5, 7), 10) == 5 + 3 * (5 + 7)


def test_the_command_shows_what_is_left(tmp_path: Path, ngm_tune: Command) -> None:
    options = [part for change in CHANGES for part in ("--set", change)]
    study = ("run", "quickstart", *options, "--results", tmp_path / "study")
    answer = ngm_tune(*study, "--dry-run")
    assert (answer.code, answer.err) == (0, "")
    assert "At most 20 runs of one seed, about " in answer.out
    assert not (tmp_path / "study").exists()
    assert ngm_tune(*study, "--executor", "local").code == 0
    assert ngm_tune(*study, "--dry-run").out == "quickstart is complete: no runs are left\n"
    refused = ngm_tune(*study, "--set", "seeds=3", "--dry-run")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "holds a different study: seeds is 2 instead of 3" in refused.err


def test_a_method_that_raises_is_one_sentence(tmp_path: Path, ngm_tune: Command) -> None:
    study = ("run", "quickstart", "--set", 'methods=["raises"]', "--results", tmp_path / "study")
    answer = ngm_tune(*study, "--dry-run")
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert "raises on split-digits raises RuntimeError(" in answer.err
