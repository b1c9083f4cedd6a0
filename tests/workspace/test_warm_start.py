"""Points to start from, out of other results."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ngm_tune.benchmarks import BENCHMARKS
from ngm_tune.errors import UserError
from ngm_tune.execution.recording import write_failure
from ngm_tune.results.directory import Results
from ngm_tune.study.files import load_study
from ngm_tune.study.initial_points import published
from ngm_tune.study.plan import StudyPlan
from ngm_tune.study.study import Study
from ngm_tune.study.warnings import unequal_starts
from ngm_tune.workspace.warm_start import warm_started
from tests.helpers.other_study import Other
from tests.helpers.searches import a_study

SCHEMA_1 = Path(__file__).parents[1] / "data" / "schema-1"


@pytest.fixture
def other(tmp_path: Path) -> Other:
    return Other(tmp_path / "other")


def points(study: Study) -> list[dict[str, Any]]:
    return [dict(point) for point in study.points_to_evaluate if not isinstance(point, str)]


WHOLE, PART = "split-digits.sgd.0000", "split-digits.sgd.0001"
NEW = "not-started"
"""The results directory of a study that was not started yet."""


def started_from(other: Other, **changes: Any) -> tuple[list[dict[str, Any]], int]:
    study, outside = warm_started(
        a_study(**{"methods": ["sgd"], **changes}), other.location, "not-started"
    )
    return points(study), outside


def sgd(*lrs: float, benchmark: str = "split-digits") -> list[dict[str, Any]]:
    return [{"method": "sgd", "benchmark": benchmark, "lr": lr} for lr in lrs]


def test_searches_start_from_the_front_what_dominates_most_first(other: Other) -> None:
    other.ran(0.1, (0.9, 0.5))
    other.ran(0.2, (0.8, 0.1))
    other.ran(0.3, (0.7, 0.2))  # dominated
    assert started_from(other) == (sgd(0.2, 0.1), 0)


def test_what_did_not_end_well_is_on_no_front(other: Other) -> None:
    other.ran(0.1, (0.5, 0.5))
    other.ran(0.2, (0.9, 0.1), status="diverged")
    other.ran(0.3, (0.9, 0.1), status="stopped")
    other.ran(0.4, (0.9, math.nan))
    write_failure(other.config({"lr": 0.5}), "no such luck")
    assert started_from(other) == (sgd(0.1), 0)


def test_what_ran_with_fewer_seeds_in_a_race_is_on_no_front(other: Other) -> None:
    for seed in (0, 1):
        run: dict[str, Any] = {"trial_id": WHOLE, "run_id": f"{WHOLE}@{seed}", "seeds": [seed]}
        other.ran(0.1, (0.5, 0.5), **run)
    other.ran(0.2, (0.9, 0.1), trial_id=PART, run_id=f"{PART}@0", seeds=[0])
    assert started_from(other) == (sgd(0.1), 0)


def test_a_front_is_that_of_means_over_seeds(other: Other) -> None:
    for trial, lr, accuracies in ((WHOLE, 0.1, (0.9, 0.5)), (PART, 0.2, (0.75, 0.75))):
        for seed, accuracy in enumerate(accuracies):
            run: dict[str, Any] = {"trial_id": trial, "run_id": f"{trial}@{seed}", "seeds": [seed]}
            other.ran(lr, (accuracy, 0.5), **run)
    assert started_from(other) == (sgd(0.2), 0)


def test_no_test_data_come_into_a_search(other: Other) -> None:
    trial = "split-digits.sgd.0007.confirm"
    again = {"trial_id": trial, "run_id": trial, "phase": "confirm", "seeds": [1000, 1001, 1002]}
    other.ran(0.2, (0.99, 0.0), **again)
    with pytest.raises(UserError, match="no completed trial there of sgd"):  # the search is gone
        started_from(other)
    other.ran(0.1, (0.6, 0.4))
    assert started_from(other) == (sgd(0.1), 0)


def test_settings_that_were_given_can_be_started_from(other: Other) -> None:
    other.ran(0.2, (0.6, 0.4), phase="confirm")
    assert started_from(other) == (sgd(0.2), 0)
    # Whatever they reached: that is test data, which judge nothing that another search begins with.
    assert started_from(other, constraints=["avg_acc >= 0.9"]) == (sgd(0.2), 0)


def test_a_constraint_that_is_met_exactly_is_kept(other: Other) -> None:
    other.ran(0.2, (0.9, 0.1))
    for bound in ("avg_acc >= 0.9", "avg_sg <= 0.1"):
        assert started_from(other, constraints=[bound]) == (sgd(0.2), 0)


def test_what_lies_outside_of_the_space_is_counted(other: Other) -> None:
    for n, lr in enumerate((0.05, 0.1, 0.5)):
        other.ran(lr, (0.9 - 0.1 * n, 0.3 - 0.1 * n))
    found, outside = started_from(other, search_space={"sgd": {"lr": [0.08, 0.2]}})
    assert (found, outside) == (sgd(0.1), 2)


def test_a_front_is_not_taken_over_whole(other: Other) -> None:
    for n in range(8):
        other.ran(0.1 + 0.01 * n, (0.9 - 0.1 * n, 0.8 - 0.1 * n))
    found, outside = started_from(other)
    assert len(found) == 5
    assert outside == 0


def test_points_of_the_study_itself_come_first(other: Other) -> None:
    other.ran(0.1, (0.9, 0.5))
    own = {"method": "sgd", "lr": 0.7}
    study, _ = warm_started(a_study(methods=["sgd"], points_to_evaluate=[own]), other.location, NEW)
    assert StudyPlan.resolve(study).points_of("split-digits", "sgd") == [{"lr": 0.7}, {"lr": 0.1}]


def test_a_benchmark_takes_its_own_front_and_an_unknown_one_those_of_all(other: Other) -> None:
    other.ran(0.1, (0.9, 0.5))
    other.ran(0.2, (0.99, 0.0), benchmark="rotated-digits")
    own, _ = started_from(other, benchmarks=["split-digits", "rotated-digits"])
    assert own == [*sgd(0.1), *sgd(0.2, benchmark="rotated-digits")]
    unknown, _ = started_from(other, benchmarks=["split-mnist"])
    assert sorted(point["lr"] for point in unknown) == [0.1, 0.2]
    assert {point["benchmark"] for point in unknown} == {"split-mnist"}


def test_equal_configurations_of_several_benchmarks_are_one_point(other: Other) -> None:
    other.ran(0.1, (0.9, 0.5))
    other.ran(0.1, (0.7, 0.5), benchmark="rotated-digits")
    assert started_from(other, benchmarks=["split-mnist"])[0] == sgd(0.1, benchmark="split-mnist")


def test_methods_take_their_own_fronts(other: Other) -> None:
    steady = {"lr": 0.1, "gain_sensitivity": 0.2, "entropy_smoothing": 0.9}
    other.ran(steady, (0.5, 0.5), method="ngm-sgd")
    other.ran(0.2, (0.9, 0.1), method="sgd")
    other.ran(0.3, (0.9, 0.1), method="momentum-sgd")
    study, _ = warm_started(
        a_study(methods=["sgd", "ngm-sgd", "adam"]), other.location, "not-started"
    )
    assert StudyPlan.resolve(study).points_of("split-digits", "sgd") == [{"lr": 0.2}]
    assert StudyPlan.resolve(study).points_of("split-digits", "adam") == []
    (point,) = StudyPlan.resolve(study).points_of("split-digits", "ngm-sgd")
    assert point == pytest.approx({"lr": 0.1, "dc_gain": 2.0, "gain_decay": 0.1})


def test_results_of_the_former_schema_will_do() -> None:
    study, outside = warm_started(a_study(methods=["sgd", "ngm-sgd"]), str(SCHEMA_1), NEW)
    assert {point["method"] for point in points(study)} == {"sgd", "ngm-sgd"}
    assert outside == 0


def test_results_that_know_nothing_of_a_constraint_are_no_start(tmp_path: Path) -> None:
    older = tmp_path / "older"
    shutil.copytree(SCHEMA_1, older)
    for file in (older / "trials").iterdir():
        pq.write_table(pq.read_table(file).drop_columns(["wp_10"]), file)
    study = a_study(methods=["sgd"], constraints=["wp_10 >= 0"])
    assert warm_started(study, str(SCHEMA_1), NEW)[0].points_to_evaluate
    with pytest.raises(UserError, match="no completed trial there of sgd that has"):
        warm_started(study, str(older), NEW)


def test_there_must_be_results(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing: no results there \(no study.toml\)"):
        warm_started(a_study(), str(tmp_path / "nothing"), NEW)


def test_there_must_be_a_completed_trial_of_a_method_of_the_study(other: Other) -> None:
    other.ran(0.1, (0.9, 0.5), method="adamw")
    other.ran(0.1, (0.9, 0.5), status="diverged")
    with pytest.raises(UserError) as error:
        warm_started(a_study(methods=["sgd", "adam"]), other.location, NEW)
    assert str(error.value) == (
        f"--warm-start {other.location}: no completed trial there of sgd, adam that has "
        "avg_acc, avg_sg and keeps the constraints"
    )


def test_searches_that_start_from_more_points_than_others_are_named() -> None:
    point = {"method": "sgd", "lr": 0.7}
    assert (
        list(
            unequal_starts(StudyPlan.resolve(a_study(methods=["sgd"], points_to_evaluate=[point])))
        )
        == []
    )
    assert list(
        unequal_starts(
            StudyPlan.resolve(a_study(methods=["sgd", "adam"], points_to_evaluate=[point]))
        )
    ) == ["split-digits: searches start from different numbers of points: sgd 1, adam 0"]


@pytest.mark.parametrize("benchmark", sorted(n for n in BENCHMARKS if published(n)))
def test_the_studies_that_come_with_ngm_tune_start_evenly(benchmark: str) -> None:
    study = load_study(f"tune-{benchmark}")
    assert list(unequal_starts(StudyPlan.resolve(study))) == []
    assert all(StudyPlan.resolve(study).points_of(benchmark, method) for method in study.methods)


def test_points_must_fit_into_the_trials(other: Other) -> None:
    other.ran(0.1, (0.9, 0.5))
    other.ran(0.2, (0.8, 0.1))
    assert len(started_from(other, trials=2)[0]) == 2
    assert started_from(other, trials=1) == (sgd(0.2), 0)
    own = [{"method": "sgd", "lr": 0.3}]
    assert started_from(other, trials=1, points_to_evaluate=own)[0] == own


def test_a_study_without_a_search_cannot_start_from_anything(other: Other) -> None:
    other.ran(0.1, (0.9, 0.5))
    with pytest.raises(UserError, match="with settings there is no search"):
        started_from(other, settings={"sgd": {"lr": 0.1}}, trials=1)


def test_a_study_that_was_started_keeps_the_points_of_then(other: Other, tmp_path: Path) -> None:
    other.ran(0.1, (0.9, 0.5))
    own = tmp_path / "own"
    study, _ = warm_started(a_study(methods=["sgd"]), other.location, str(own))
    results = Results(str(own))
    results.create()
    results.write_text("study.toml", study.to_toml())
    other.ran(0.2, (0.95, 0.1))
    again, _ = warm_started(a_study(methods=["sgd"], trials=9), other.location, str(own))
    assert points(again) == points(study) == sgd(0.1)
