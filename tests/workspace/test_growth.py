"""A finished study takes further methods, benchmarks, repetitions, trials and confirmations.

Only their runs are added.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ngm_tune.analysis.loading import load
from ngm_tune.execution.driver import drive
from ngm_tune.results.directory import Results
from ngm_tune.study.files import load_study
from ngm_tune.study.plan import StudyPlan
from ngm_tune.workspace.doctor import examine
from ngm_tune.workspace.manifest import find_differences, write_manifest
from tests.helpers.commands import in_process, install_methods
from tests.helpers.searches import a_study

SMALL = (
    *("seeds=1", "iterations_per_task=6", "eval_every=3", "eval_examples=20"),
    *('split="drawn"', 'class_order="drawn"', "reference_point={ avg_acc = 0.0, avg_sg = 1.0 }"),
)
FIRST = load_study(
    "quickstart",
    [
        'methods=["sgd", "adam"]',
        'points_to_evaluate=["default"]',
        *("searches=1", "trials=3", "confirm={ max_configurations = 1, seeds = 1 }"),
        *SMALL,
    ],
)
GROWN = load_study(
    "quickstart",
    [
        'methods=["ngm-sgd", "sgd", "adam"]',
        'benchmarks=["split-digits", "rotated-digits"]',
        "search_space.ngm-sgd.lr=[0.001, 0.1]",
        'points_to_evaluate=["default", { method = "ngm-sgd", lr = 0.02, gain_sensitivity = 0.4, '
        "entropy_smoothing = 0.9 }]",
        *("searches=3", "trials=4", "confirm={ max_configurations = 2, seeds = 2 }"),
        *SMALL,
    ],
)


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the first study, which were extended to the grown one."""
    location = tmp_path_factory.mktemp("results") / "grown"
    assert drive(FIRST, str(location), executor="local").complete
    before = {path.name: path.stat().st_mtime_ns for path in location.glob("trials/*")}
    assert drive(GROWN, str(location), executor="local").complete
    after = {path.name: path.stat().st_mtime_ns for path in location.glob("trials/*")}
    assert before.items() <= after.items()  # nothing ran again
    return location


def test_a_grown_study_equals_one_that_asked_for_everything_at_once(
    grown: Path, tmp_path: Path
) -> None:
    assert drive(GROWN, str(tmp_path), executor="local").complete
    expected, actual = (
        pl.DataFrame(Results(str(folder)).read("trials")).drop("wall_seconds", "node")
        for folder in (tmp_path, grown)
    )
    shared = actual.filter(pl.col("trial_id").is_in(expected["trial_id"].implode()))
    columns = expected.columns
    assert shared.select(columns).sort("trial_id").equals(expected.sort("trial_id"))
    # A confirmation that only the first study selected may remain; the analysis leaves it out.
    assert load(str(grown)).confirmed["trial_id"].sort().to_list() == (
        load(str(tmp_path)).confirmed["trial_id"].sort().to_list()
    )


def test_repetitions_differ_in_everything_random_and_methods_share_it(grown: Path) -> None:
    trials = pl.DataFrame(Results(str(grown)).read("trials"))
    searched = trials.filter(phase="search")
    of_repetition = [searched.filter(repetition=repetition) for repetition in range(3)]
    for rows in of_repetition:
        assert rows.group_by("benchmark", "method").len()["len"].to_list() == [4] * 6
    # The first trial of every search has the default settings.
    suggested = [rows.filter(~pl.col("trial_id").str.ends_with("0000")) for rows in of_repetition]
    learning_rates = [set(rows.filter(method="sgd")["search_lr"]) for rows in suggested]
    assert len(set.union(*learning_rates)) == sum(map(len, learning_rates)) == 3 * 6
    assert searched.group_by("repetition").agg(pl.col("seed").unique()).sort("repetition")[
        "seed"
    ].to_list() == [[0], [20_000], [40_000]]
    confirmed = trials.filter(phase="confirm")
    assert set(confirmed["seed"]) == {
        first + fresh for first in (0, 20_000, 40_000) for fresh in (1000, 1001)
    }


def test_a_grown_study_is_undamaged_and_described(grown: Path) -> None:
    assert examine(str(grown)) == []
    environment = Results(str(grown)).read_environment()
    assert set(environment["methods"]) == {"ngm-sgd", "sgd", "adam"}
    assert set(environment["benchmarks"]) == {"split-digits", "rotated-digits"}
    assert environment["study"] == GROWN.content()
    assert environment["points"]["split-digits"]["ngm-sgd"] == 2
    of_methods = {name: {"default": 0} for name in ("ngm-sgd", "sgd", "adam")}
    assert environment["references"] == dict.fromkeys(
        ["split-digits", "rotated-digits"], of_methods
    )
    assert environment["methods"]["sgd"]["default_source"] == "signature of torch.optim.SGD"
    assert "ngm-sgd" in environment["methods"]["sgd"]["ablation_of"]
    assert environment["methods"]["sgd"]["task_aware"] is False


def test_references_are_confirmed_but_no_claim_rests_on_them(grown: Path) -> None:
    loaded = load(str(grown))
    assert loaded.references.height == 3 * 2 * 3  # repetitions, benchmarks and methods
    assert set(loaded.references["seeds"]) == {2}
    for benchmark in loaded.benchmarks:
        assert loaded.repetitions(benchmark) == [0, 1, 2]
        selected = loaded.search_trials(benchmark).filter("to_confirm")["trial_id"]
        assert set(loaded.evidence(benchmark)["origin"]) == set(selected)


def test_results_of_a_version_without_references_get_them(grown: Path) -> None:
    results = Results(str(grown))
    environment = results.read_environment()
    references = environment.pop("references")
    results.write_environment(environment)
    assert load(str(grown)).references.is_empty()
    write_manifest(StudyPlan.resolve(GROWN), results)
    assert results.read_environment()["references"] == references


def test_the_doctor_updates_a_study_file_from_before_the_growth(grown: Path) -> None:
    (grown / "study.toml").write_text(FIRST.to_toml())
    (finding, *_) = examine(str(grown))
    assert finding.name == "study.toml"
    assert finding.description == "lacks ngm-sgd, rotated-digits, of which trials/ contains runs"
    assert Results(str(grown)).read_study() == GROWN.content()
    assert examine(str(grown)) == []


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"methods": ["sgd"]}, "methods is ['sgd', 'adam'] instead of ['sgd']"),
        ({"search_space": {"sgd": {"lr": [0.1, 0.2]}}}, "search_space is {} instead of"),
        ({"points_to_evaluate": [{"method": "sgd", "lr": 0.1}]}, "points_to_evaluate is []"),
        ({"methods": ["sgd", "adam", "sam"], "seeds": 4}, "seeds is 3 instead of 4"),
    ],
)
def test_what_existing_searches_depend_on_must_not_change(
    changes: dict[str, Any], difference: str
) -> None:
    stored = a_study(methods=["sgd", "adam"])
    study = a_study(**{"methods": ["sgd", "adam"], **changes})
    (description,) = find_differences(study, stored)
    assert description.startswith(difference)


def test_entries_of_added_methods_are_no_difference() -> None:
    stored = a_study(methods=["sgd"])
    grown = a_study(
        methods=["adam", "sgd"],
        benchmarks=["rotated-digits", "split-digits"],
        search_space={"adam": {"lr": [0.001, 0.01]}},
        points_to_evaluate=[
            {"method": "adam", "lr": 0.002},
            {"method": "sgd", "benchmark": "rotated-digits", "lr": 0.1},
        ],
    )
    assert find_differences(grown, stored) == []


OWN_METHODS = """
    from optuna.distributions import FloatDistribution, IntDistribution
    from torch.optim import SGD

    from ngm_tune.methods import Method


    def method(name, width):
        def build(model, lr, width):
            return SGD(model.parameters(), lr=lr)

        space = {"lr": FloatDistribution(0.01, 0.1), "width": width}
        return Method(name=name, title=name, source="tests", space=space, build=build)


    integers = method("integers", IntDistribution(1, 5))
    floats = method("floats", FloatDistribution(0.1, 2.0))
"""


def test_a_study_takes_methods_with_other_types_of_a_hyperparameter(tmp_path: Path) -> None:
    """A column has one type in all files, whatever the types of the hyper-parameter."""
    (tmp_path / "site").mkdir()
    ngm_tune = in_process(install_methods(tmp_path / "site", OWN_METHODS, "integers", "floats"))
    changes = (*SMALL, "searches=1", "trials=1")
    study = ("run", "quickstart", *(part for change in changes for part in ("--set", change)))
    results = ("--results", tmp_path / "results")
    assert ngm_tune(*study, "--set", 'methods=["integers"]', *results).code == 0
    assert ngm_tune(*study, "--set", 'methods=["integers", "floats"]', *results).code == 0
    rows = pl.read_parquet(tmp_path / "results" / "trials" / "*.parquet")
    assert rows.schema["config_width"] == pl.Float64
    assert (rows.filter(method="integers")["config_width"] % 1 == 0).all()
    assert set(rows["method"]) == {"integers", "floats"}
