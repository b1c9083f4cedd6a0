"""Transfer: configurations selected on one benchmark also run on the others."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from ngm_tune.analysis.loading import load
from ngm_tune.analysis.statistics.answer import Answer, answers
from ngm_tune.errors import UserError
from ngm_tune.execution.driver import drive
from ngm_tune.execution.estimate import estimate
from ngm_tune.results.directory import Results
from ngm_tune.results.ids import TrialId
from ngm_tune.study.files import load_study
from ngm_tune.study.plan import StudyPlan
from ngm_tune.workspace.doctor import examine
from ngm_tune.workspace.manifest import write_manifest, write_study
from ngm_tune.workspace.remaining import is_complete, read_sources
from ngm_tune.workspace.warm_start import add_warm_start_points

COMMON = [
    'methods=["sgd", "adam"]',
    'benchmarks=["split-digits", "rotated-digits"]',
    *("searches=2", "trials=3", "seeds=1", "iterations_per_task=6", "eval_every=3"),
    *("eval_examples=20", "reference_point={ avg_acc = 0.0, avg_sg = 1.0 }"),
]
WITHOUT = load_study("quickstart", [*COMMON, "confirm={ max_configurations = 2, seeds = 2 }"])
WITH = load_study(
    "quickstart", [*COMMON, "confirm={ max_configurations = 2, seeds = 2, transfer = true }"]
)
MORE_SEEDS = load_study(
    "quickstart", [*COMMON, "confirm={ max_configurations = 2, seeds = 3, transfer = true }"]
)


@pytest.fixture(scope="module")
def location(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of a finished study without transfers."""
    location = tmp_path_factory.mktemp("results") / "grown"
    assert drive(WITHOUT, str(location), executor="local").complete
    return location


@pytest.fixture(scope="module")
def before(location: Path) -> list[Answer]:
    """The answers of the study without transfers."""
    return answers(load(str(location)))


@pytest.fixture(scope="module")
def grown(location: Path, before: list[Answer]) -> Path:
    """Results of the finished study, to which transfer was added."""
    ended = {path.name: path.stat().st_mtime_ns for path in location.glob("trials/*")}
    plan = StudyPlan.resolve(WITH)
    left = estimate(plan, str(location), read_sources(plan, str(location)))
    summary = drive(WITH, str(location), executor="local")
    assert summary.complete
    after = {path.name: path.stat().st_mtime_ns for path in location.glob("trials/*")}
    assert ended.items() <= after.items()  # nothing ran again
    added = after.keys() - ended.keys()
    assert {each.phase for each in left} == {"transfer"}
    assert sum(each.seed_runs for each in left) == 2 * len(added)
    assert sum(state.transferred[1] for state in summary.methods if state.transferred) == len(added)
    return location


def test_every_confirmed_configuration_runs_on_the_other_benchmark(grown: Path) -> None:
    trials = pl.DataFrame(Results(str(grown)).read("trials"))
    confirmed = trials.filter(phase="confirm").unique("trial_id")
    transferred = trials.filter(phase="transfer")
    other = {"split-digits": "rotated-digits", "rotated-digits": "split-digits"}
    expected = {
        str(trial.searched.transfer(other[trial.benchmark]))
        for trial in map(TrialId.parse, confirmed["trial_id"])
    }
    assert set(transferred["trial_id"]) == expected
    for benchmark, repetition, seed in transferred.select(
        "benchmark", "repetition", "seed"
    ).iter_rows():
        fresh = trials.filter(phase="confirm", benchmark=benchmark, repetition=repetition)
        assert seed in set(fresh["seed"])
    settings = ["search_lr", "config_lr"]
    by_id = {row["trial_id"]: row for row in trials.iter_rows(named=True)}
    for trial_id in expected:
        searched = by_id[str(TrialId.parse(trial_id).searched)]
        assert [by_id[trial_id][name] for name in settings] == [searched[name] for name in settings]


def test_a_transfer_trains_as_a_confirmation_on_its_benchmark(grown: Path) -> None:
    """It is evaluated at every iteration on all test examples, so its curves are as long."""
    results = Results(str(grown))
    lengths: dict[str, set[int]] = {}
    for run, curves in results.iter_runs("curves"):
        trial = TrialId.parse(run)
        if trial.is_selected:
            lengths.setdefault(trial.benchmark, set()).add(curves.num_rows)
    assert {len(of_benchmark) for of_benchmark in lengths.values()} == {1}


def test_verdicts_are_those_without_transfers(grown: Path, before: list[Answer]) -> None:
    loaded = load(str(grown))
    assert loaded.transferred.height > 0
    for one, other in zip(answers(loaded), before, strict=True):
        assert [each.differences for each in one.comparisons] == [
            each.differences for each in other.comparisons
        ]
        assert one.hypervolumes == other.hypervolumes


def test_a_study_with_transfers_is_undamaged_and_complete(grown: Path) -> None:
    assert examine(str(grown)) == []
    assert drive(WITH, str(grown), executor="local").already_complete
    assert is_complete(read_sources(StudyPlan.resolve(WITH), str(grown)))


def test_the_doctor_updates_a_study_file_from_before_transfers(grown: Path) -> None:
    (grown / "study.toml").write_text(WITHOUT.to_toml())
    (finding,) = examine(str(grown))
    assert finding.description == (
        "confirm.transfer = false, but trials/ contains transfers between benchmarks"
    )
    assert examine(str(grown)) == []


def test_transfers_cannot_be_taken_back(grown: Path) -> None:
    with pytest.raises(UserError, match=r"confirm\.transfer = true, which cannot be taken back"):
        write_manifest(StudyPlan.resolve(WITHOUT), Results(str(grown)))


def test_failed_transfers_are_repeated_and_seeds_can_be_added(grown: Path) -> None:
    results = Results(str(grown))
    run = next(path.stem for path in sorted(grown.glob("trials/*.from-*")))
    rows = pl.DataFrame(results.read_run("trials", run)).with_columns(
        pl.lit("failed").alias("status")
    )
    schema = results.read_file("trials", f"{run}.parquet").schema
    (grown / f"trials/{run}.parquet").unlink()
    results.write("trials", run, rows.to_arrow().cast(schema))
    assert drive(WITH, str(grown), executor="local").failed == 1
    assert drive(WITH, str(grown), executor="local", retry_failed=True).failed == 0
    assert drive(MORE_SEEDS, str(grown), executor="local").complete
    transferred = load(str(grown)).transferred
    assert set(transferred["seeds"]) == {3}
    assert examine(str(grown), repair=False) == []


def test_a_warm_start_takes_no_test_scores_of_transfers(grown: Path, tmp_path: Path) -> None:
    started, _ = add_warm_start_points(WITHOUT, str(grown), str(tmp_path / "new"))
    searched = pl.DataFrame(Results(str(grown)).read("trials")).filter(phase="search")
    for point in started.points_to_evaluate:
        assert isinstance(point, dict)
        assert point["lr"] in set(searched.filter(benchmark=point["benchmark"])["config_lr"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (['benchmarks=["split-digits"]'], "needs at least two benchmarks"),
        (["confirm.max_configurations=0"], "needs confirm.max_configurations of at least 1"),
    ],
)
def test_a_transfer_needs_configurations_and_another_benchmark(
    changes: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=f"confirm.transfer = true: {message}") as error:
        load_study("quickstart", [*COMMON, "confirm.transfer=true", *changes])
    assert "\n" not in str(error.value)


def test_a_study_file_of_before_the_key_is_replaced_without_quarantine(tmp_path: Path) -> None:
    results = Results(str(tmp_path))
    results.write_text("study.toml", WITHOUT.to_toml().replace("transfer = false\n", ""))
    assert "transfer" not in results.read_study()["confirm"]
    assert write_study(WITH, results) is None
    assert results.read_study()["confirm"]["transfer"] is True
