"""Warm start: searches start from configurations of another study."""

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
from ngm_tune.study.initial_points import paper_settings
from ngm_tune.study.plan import StudyPlan
from ngm_tune.study.study import Study
from ngm_tune.study.warnings import warn_of_unequal_starts
from ngm_tune.workspace.warm_start import add_warm_start_points
from tests.helpers.other_study import OtherStudy
from tests.helpers.searches import a_study

SCHEMA_1 = Path(__file__).parents[1] / "data" / "schema-1"


@pytest.fixture
def other(tmp_path: Path) -> OtherStudy:
    return OtherStudy(tmp_path / "other")


def points(study: Study) -> list[dict[str, Any]]:
    return [dict(point) for point in study.points_to_evaluate if not isinstance(point, str)]


FIRST, SECOND = "split-digits.sgd.0000", "split-digits.sgd.0001"
NOT_STARTED = "not-started"
"""Results directory of a study that was not started yet."""


def select_points(other: OtherStudy, **changes: Any) -> tuple[list[dict[str, Any]], int | None]:
    """Return the points of a study after a warm start, and the number of omitted ones."""
    study = a_study(**{"methods": ["sgd"], **changes})
    started, n_outside = add_warm_start_points(study, other.location, NOT_STARTED)
    return points(started), n_outside


def sgd_points(*lrs: float, benchmark: str = "split-digits") -> list[dict[str, Any]]:
    return [{"method": "sgd", "benchmark": benchmark, "lr": lr} for lr in lrs]


def test_searches_start_from_the_front_in_order_of_hypervolume(other: OtherStudy) -> None:
    other.add_trial(0.1, (0.9, 0.5))
    other.add_trial(0.2, (0.8, 0.1))
    other.add_trial(0.3, (0.7, 0.2))  # dominated
    assert select_points(other) == (sgd_points(0.2, 0.1), 0)


def test_only_completed_trials_with_finite_objectives_are_on_the_front(other: OtherStudy) -> None:
    other.add_trial(0.1, (0.5, 0.5))
    other.add_trial(0.2, (0.9, 0.1), status="diverged")
    other.add_trial(0.3, (0.9, 0.1), status="stopped")
    other.add_trial(0.4, (0.9, math.nan))
    write_failure(other.trial_config({"lr": 0.5}), "RuntimeError")
    assert select_points(other) == (sgd_points(0.1), 0)


def test_trials_with_fewer_seeds_are_not_on_the_front(other: OtherStudy) -> None:
    """In results of earlier versions, racing gave some trials fewer seeds."""
    for seed in (0, 1):
        run: dict[str, Any] = {"trial_id": FIRST, "run_id": f"{FIRST}@{seed}", "seeds": [seed]}
        other.add_trial(0.1, (0.5, 0.5), **run)
    other.add_trial(0.2, (0.9, 0.1), trial_id=SECOND, run_id=f"{SECOND}@0", seeds=[0])
    assert select_points(other) == (sgd_points(0.1), 0)


def test_the_front_consists_of_means_over_seeds(other: OtherStudy) -> None:
    for trial, lr, accuracies in ((FIRST, 0.1, (0.9, 0.5)), (SECOND, 0.2, (0.75, 0.75))):
        for seed, accuracy in enumerate(accuracies):
            run: dict[str, Any] = {"trial_id": trial, "run_id": f"{trial}@{seed}", "seeds": [seed]}
            other.add_trial(lr, (accuracy, 0.5), **run)
    assert select_points(other) == (sgd_points(0.2), 0)


def test_confirmations_on_test_data_are_not_starting_points(other: OtherStudy) -> None:
    trial = "split-digits.sgd.0007.confirm"
    confirmation = {
        "trial_id": trial,
        "run_id": trial,
        "phase": "confirm",
        "seeds": [1000, 1001, 1002],
    }
    other.add_trial(0.2, (0.99, 0.0), **confirmation)
    with pytest.raises(UserError, match="no completed, feasible trial of sgd"):  # no search trial
        select_points(other)
    other.add_trial(0.1, (0.6, 0.4))
    assert select_points(other) == (sgd_points(0.1), 0)


def test_fixed_hyperparameters_are_starting_points(other: OtherStudy) -> None:
    other.add_trial(0.2, (0.6, 0.4), phase="confirm")
    assert select_points(other) == (sgd_points(0.2), 0)
    # Their constraints would be evaluated on test data, so they are not checked.
    assert select_points(other, constraints=["avg_acc >= 0.9"]) == (sgd_points(0.2), 0)


def test_a_trial_exactly_on_the_bound_of_a_constraint_is_feasible(other: OtherStudy) -> None:
    other.add_trial(0.2, (0.9, 0.1))
    for bound in ("avg_acc >= 0.9", "avg_sg <= 0.1"):
        assert select_points(other, constraints=[bound]) == (sgd_points(0.2), 0)


def test_configurations_outside_the_search_space_are_omitted_and_counted(other: OtherStudy) -> None:
    for n, lr in enumerate((0.05, 0.1, 0.5)):
        other.add_trial(lr, (0.9 - 0.1 * n, 0.3 - 0.1 * n))
    selected, n_outside = select_points(other, search_space={"sgd": {"lr": [0.08, 0.2]}})
    assert (selected, n_outside) == (sgd_points(0.1), 2)


def test_a_search_starts_from_at_most_five_points_of_a_front(other: OtherStudy) -> None:
    for n in range(8):
        other.add_trial(0.1 + 0.01 * n, (0.9 - 0.1 * n, 0.8 - 0.1 * n))
    selected, n_outside = select_points(other)
    assert len(selected) == 5
    assert n_outside == 0


def test_points_in_the_study_file_precede_warm_start_points(other: OtherStudy) -> None:
    other.add_trial(0.1, (0.9, 0.5))
    point = {"method": "sgd", "lr": 0.7}
    study, _ = add_warm_start_points(
        a_study(methods=["sgd"], points_to_evaluate=[point]), other.location, NOT_STARTED
    )
    assert StudyPlan.resolve(study).points_of("split-digits", "sgd") == [{"lr": 0.7}, {"lr": 0.1}]


def test_a_benchmark_that_the_other_study_lacks_starts_from_the_fronts_of_all(
    other: OtherStudy,
) -> None:
    other.add_trial(0.1, (0.9, 0.5))
    other.add_trial(0.2, (0.99, 0.0), benchmark="rotated-digits")
    shared, _ = select_points(other, benchmarks=["split-digits", "rotated-digits"])
    assert shared == [*sgd_points(0.1), *sgd_points(0.2, benchmark="rotated-digits")]
    unknown, _ = select_points(other, benchmarks=["split-mnist"])
    assert sorted(point["lr"] for point in unknown) == [0.1, 0.2]
    assert {point["benchmark"] for point in unknown} == {"split-mnist"}


def test_equal_configurations_of_several_benchmarks_become_one_point(other: OtherStudy) -> None:
    other.add_trial(0.1, (0.9, 0.5))
    other.add_trial(0.1, (0.7, 0.5), benchmark="rotated-digits")
    assert select_points(other, benchmarks=["split-mnist"])[0] == sgd_points(
        0.1, benchmark="split-mnist"
    )


def test_each_method_starts_from_its_own_front(other: OtherStudy) -> None:
    steady = {"lr": 0.1, "gain_sensitivity": 0.2, "entropy_smoothing": 0.9}
    other.add_trial(steady, (0.5, 0.5), method="ngm-sgd")
    other.add_trial(0.2, (0.9, 0.1), method="sgd")
    other.add_trial(0.3, (0.9, 0.1), method="momentum-sgd")
    study, _ = add_warm_start_points(
        a_study(methods=["sgd", "ngm-sgd", "adam"]), other.location, NOT_STARTED
    )
    assert StudyPlan.resolve(study).points_of("split-digits", "sgd") == [{"lr": 0.2}]
    assert StudyPlan.resolve(study).points_of("split-digits", "adam") == []
    (point,) = StudyPlan.resolve(study).points_of("split-digits", "ngm-sgd")
    assert point == pytest.approx({"lr": 0.1, "dc_gain": 2.0, "gain_decay": 0.1})


def test_results_of_schema_1_are_accepted() -> None:
    study, n_outside = add_warm_start_points(
        a_study(methods=["sgd", "ngm-sgd"]), str(SCHEMA_1), NOT_STARTED
    )
    assert {point["method"] for point in points(study)} == {"sgd", "ngm-sgd"}
    assert n_outside == 0


def test_results_without_the_metric_of_a_constraint_are_refused(tmp_path: Path) -> None:
    without_metric = tmp_path / "without_metric"
    shutil.copytree(SCHEMA_1, without_metric)
    for file in (without_metric / "trials").iterdir():
        pq.write_table(pq.read_table(file).drop_columns(["wp_10"]), file)
    study = a_study(methods=["sgd"], constraints=["wp_10 >= 0"])
    assert add_warm_start_points(study, str(SCHEMA_1), NOT_STARTED)[0].points_to_evaluate
    with pytest.raises(UserError, match="no completed, feasible trial of sgd"):
        add_warm_start_points(study, str(without_metric), NOT_STARTED)


def test_a_warm_start_requires_results(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing: no results found \(no study.toml\)"):
        add_warm_start_points(a_study(), str(tmp_path / "nothing"), NOT_STARTED)


def test_a_warm_start_requires_a_completed_trial_of_a_method_of_the_study(
    other: OtherStudy,
) -> None:
    other.add_trial(0.1, (0.9, 0.5), method="adamw")
    other.add_trial(0.1, (0.9, 0.5), status="diverged")
    with pytest.raises(UserError) as error:
        add_warm_start_points(a_study(methods=["sgd", "adam"]), other.location, NOT_STARTED)
    assert str(error.value) == (
        f"--warm-start {other.location}: no completed, feasible trial of sgd, adam with "
        "values of avg_acc, avg_sg"
    )


def test_searches_with_different_numbers_of_initial_points_are_reported() -> None:
    point = {"method": "sgd", "lr": 0.7}
    alone, both = (
        StudyPlan.resolve(a_study(methods=methods, points_to_evaluate=[point]))
        for methods in (["sgd"], ["sgd", "adam"])
    )
    assert list(warn_of_unequal_starts(alone)) == []
    (warning,) = warn_of_unequal_starts(both)
    assert warning == "split-digits: searches start from different numbers of points: sgd 1, adam 0"


@pytest.mark.parametrize("benchmark", sorted(n for n in BENCHMARKS if paper_settings(n)))
def test_searches_of_shipped_studies_start_from_equal_numbers_of_points(benchmark: str) -> None:
    study = load_study(f"tune-{benchmark}")
    assert list(warn_of_unequal_starts(StudyPlan.resolve(study))) == []
    assert all(StudyPlan.resolve(study).points_of(benchmark, method) for method in study.methods)


def test_warm_start_points_do_not_exceed_the_trials(other: OtherStudy) -> None:
    other.add_trial(0.1, (0.9, 0.5))
    other.add_trial(0.2, (0.8, 0.1))
    assert len(select_points(other, trials=2)[0]) == 2
    assert select_points(other, trials=1) == (sgd_points(0.2), 0)
    existing = [{"method": "sgd", "lr": 0.3}]
    assert select_points(other, trials=1, points_to_evaluate=existing)[0] == existing


def test_a_warm_start_is_refused_for_a_study_with_settings(other: OtherStudy) -> None:
    other.add_trial(0.1, (0.9, 0.5))
    with pytest.raises(UserError, match="not allowed for a study with settings"):
        select_points(other, settings={"sgd": {"lr": 0.1}}, trials=1)


def test_a_resumed_study_keeps_the_points_it_was_started_with(
    other: OtherStudy, tmp_path: Path
) -> None:
    other.add_trial(0.1, (0.9, 0.5))
    location = tmp_path / "location"
    study, _ = add_warm_start_points(a_study(methods=["sgd"]), other.location, str(location))
    results = Results(str(location))
    results.create()
    results.write_text("study.toml", study.to_toml())
    other.add_trial(0.2, (0.95, 0.1))
    resumed, _ = add_warm_start_points(
        a_study(methods=["sgd"], trials=9), other.location, str(location)
    )
    assert points(resumed) == points(study) == sgd_points(0.1)
