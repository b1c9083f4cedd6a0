"""Joining of the results of several directories."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from ngm_tune.analysis import write_report
from ngm_tune.analysis.joining import load_joined
from ngm_tune.analysis.loading import load
from ngm_tune.analysis.statistics.answer import answers
from ngm_tune.analysis.statistics.mechanism import cost_info
from ngm_tune.errors import UserError
from ngm_tune.results.columns import Kind, encode
from ngm_tune.results.schema import SCHEMAS, trials_schema
from tests.helpers.commands import Command
from tests.helpers.made_up import REPEATED, MadeUp, Point, identity
from tests.helpers.report_text import answer_texts, chart_kinds, fact_texts

SPLIT, ROTATED = "split-digits", "rotated-digits"
BETTER = [[(0.9, 0.10)], [(0.9, 0.11)], [(0.9, 0.12)]]
WORSE = [[(0.9, 0.30)], [(0.9, 0.32)], [(0.9, 0.31)]]


def results(
    folder: Path,
    methods: dict[str, Sequence[Sequence[Point]]],
    *,
    benchmark: str = SPLIT,
    change: tuple[str, str] = ("", ""),
    environment: dict[str, Any] | None = None,
) -> str:
    """Write repetitions of methods on a benchmark, and return the directory."""
    study = REPEATED.replace('["ngm-sgd", "sgd"]', json.dumps(list(methods)))
    study = study.replace(f'["{SPLIT}"]', json.dumps([benchmark]))
    assert change[0] in study
    folder.mkdir()
    made = MadeUp(folder, study=study.replace(*change))
    for method, confirmed in methods.items():
        made.repetitions(method, confirmed, benchmark, study_seed="seed = 1" in change)
    if environment is not None:
        made.results.write_environment(environment)
    return made.location


def test_methods_of_two_directories_are_compared_as_in_one(tmp_path: Path) -> None:
    one = results(tmp_path / "one", {"ngm-sgd": BETTER, "sgd": WORSE})
    first = results(tmp_path / "first", {"ngm-sgd": BETTER})
    second = results(tmp_path / "second", {"sgd": WORSE})
    together, joined = load(one), load_joined([first, second])
    (of_joined,), (of_together,) = answers(joined), answers(together)
    assert of_joined.hypervolumes == of_together.hypervolumes
    assert [each.estimate for each in of_joined.comparisons] == [
        each.estimate for each in of_together.comparisons
    ]
    assert answer_texts(joined) == answer_texts(together)
    for table in ("runs", "search", "confirmed"):
        assert getattr(joined, table).equals(getattr(together, table))
    assert load_joined([second, first]).study.methods == ["sgd", "ngm-sgd"]


def test_benchmarks_of_two_directories_have_an_answer_each(tmp_path: Path) -> None:
    first = results(tmp_path / "first", {"ngm-sgd": BETTER, "sgd": WORSE})
    second = results(tmp_path / "second", {"sgd": BETTER, "adam": WORSE}, benchmark=ROTATED)
    loaded = load_joined([first, second])
    assert (loaded.benchmarks, loaded.methods) == ([SPLIT, ROTATED], ["ngm-sgd", "sgd", "adam"])
    split, rotated = answers(loaded)
    assert [each.rival for each in split.of(split.endpoints[0])] == ["sgd"]
    assert (rotated.comparisons, rotated.not_run) == ([], ["ngm-sgd"])
    assert fact_texts(loaded)["Joined from"] == (
        f"{first} (ngm-sgd, sgd on {SPLIT}); {second} (sgd, adam on {ROTATED})"
    )


def test_a_single_directory_is_read_as_it_is(tmp_path: Path) -> None:
    only = results(tmp_path / "only", {"ngm-sgd": BETTER, "sgd": WORSE})
    loaded = load_joined([only])
    assert (loaded.parts, loaded.study) == ((), load(only).study)
    assert "Joined from" not in fact_texts(loaded)


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (("seed = 0", "seed = 1"), "seed is 0 in the first and 1 in the second"),
        (("searches = 3", "searches = 4"), "searches is 3 in the first and 4"),
        (("trials = 2", "trials = 3"), "trials is 2 in the first and 3"),
        (
            ("max_configurations = 2", "max_configurations = 3"),
            "confirm.max_configurations is 2 in the first and 3",
        ),
        (
            ('"tpe"', '"tpe"\nmargin = { avg_sg = 0.02 }'),
            "margin.avg_sg is not set in the first and 0.02",
        ),
        (('"tpe"', '"random"'), "sampler is tpe in the first and random"),
        (('"tpe"', '"tpe"\nsplit = "fixed"'), "split is drawn in the first and fixed"),
        (('"tpe"', '"tpe"\nclass_order = "paper"'), "class_order is drawn in the first and paper"),
        (('"tpe"', '"tpe"\nstrategy = "naive"'), "strategy is joint in the first and naive"),
        (('"tpe"', '"tpe"\neval_dense = 30'), "eval_dense is 0 in the first and 30"),
        (
            ('"tpe"', '"tpe"\niterations_per_task = 9'),
            "iterations_per_task is not set in the first and 9",
        ),
        (('"tpe"', '"tpe"\nconstraints = ["avg_acc >= 0.1"]'), "constraints is [] in the first"),
    ],
)
def test_results_of_different_protocols_are_refused(
    tmp_path: Path, ngm_tune: Command, change: tuple[str, str], difference: str
) -> None:
    first = results(tmp_path / "first", {"ngm-sgd": BETTER})
    second = results(tmp_path / "second", {"sgd": BETTER}, benchmark=ROTATED, change=change)
    answer = ngm_tune("analyze", first, second, "--output", tmp_path / "report", "--no-images")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.count("\n") == 1
    assert f"ngm-tune: {first} and {second} do not compare: " in answer.err
    assert difference in answer.err
    assert not (tmp_path / "report").exists()


def test_versions_of_the_file_of_a_method_are_not_mixed(tmp_path: Path) -> None:
    def of_file(name: str, sha256: str, benchmark: str) -> str:
        environment = {
            "methods": {"sgd": {"file": {"name": "my.py", "sha256": sha256}}, "adam": {}}
        }
        methods = {"sgd": BETTER, "adam": WORSE}
        folder = tmp_path / name
        return results(folder, methods, benchmark=benchmark, environment=environment)

    first, same = of_file("first", "1" * 64, SPLIT), of_file("same", "1" * 64, ROTATED)
    assert load_joined([first, same]).methods == ["sgd", "adam"]
    changed = of_file("changed", "2" * 64, ROTATED)
    with pytest.raises(UserError, match=r"do not compare: the file of sgd is 1{16} in .* 2{16} in"):
        load_joined([first, changed])


def test_reference_points_of_one_benchmark_must_be_equal(tmp_path: Path) -> None:
    first = results(tmp_path / "first", {"ngm-sgd": BETTER})
    lower = ("avg_sg = 1.0", "avg_sg = 0.9")
    second = results(tmp_path / "second", {"sgd": BETTER}, change=lower)
    with pytest.raises(UserError, match=r"reference_point\.avg_sg is 1\.0 in the first and 0\.9"):
        load_joined([first, second])


def test_each_benchmark_keeps_the_reference_point_of_its_directory(tmp_path: Path) -> None:
    methods = {"ngm-sgd": BETTER, "sgd": WORSE}
    first = results(tmp_path / "first", methods)
    lower = ("avg_sg = 1.0", "avg_sg = 0.4")
    second = results(tmp_path / "second", methods, benchmark=ROTATED, change=lower)
    joined = load_joined([first, second])
    alone = [*answers(load(first)), *answers(load(second))]
    assert [each.hypervolumes for each in answers(joined)] == [each.hypervolumes for each in alone]
    assert alone[0].hypervolumes != alone[1].hypervolumes
    assert [each.comparisons[0].estimate for each in answers(joined)] == [
        each.comparisons[0].estimate for each in alone
    ]
    assert fact_texts(joined)["Reference point"] == (
        f"avg_acc 0, avg_sg 1 on {SPLIT}; avg_acc 0, avg_sg 0.4 on {ROTATED}"
    )
    assert fact_texts(load(second))["Reference point"] == "avg_acc 0, avg_sg 0.4"
    write_report([first, second], tmp_path / "report", images=False)


def test_all_differences_are_named_and_all_directories_compared(tmp_path: Path) -> None:
    changes = [("", ""), ("", ""), ("trials = 2", "trials = 9\nsplit = 'fixed'")]
    locations = [
        results(tmp_path / name, {name: BETTER}, change=change)
        for name, change in zip(("sgd", "adam", "ema"), changes, strict=True)
    ]
    with pytest.raises(UserError) as caught:
        load_joined(locations)
    assert str(caught.value) == (
        f"{locations[0]} and {locations[2]} do not compare: split is drawn in the first and fixed "
        "in the second; trials is 2 in the first and 9 in the second"
    )


def test_a_search_and_fixed_runs_are_refused(tmp_path: Path) -> None:
    first = results(tmp_path / "first", {"ngm-sgd": BETTER})
    (tmp_path / "second").mkdir()
    second = MadeUp(tmp_path / "second", "settings = { sgd = {} }\n", REPEATED)
    second.fixed_run("sgd", (0.9, 0.1))
    with pytest.raises(UserError, match="settings is not set in the first and given in the second"):
        load_joined([first, second.location])


def test_an_undeclared_class_order_is_drawn(tmp_path: Path) -> None:
    first = results(tmp_path / "first", {"ngm-sgd": BETTER})
    drawn = ('"tpe"', '"tpe"\nclass_order = "drawn"')
    second = results(tmp_path / "second", {"sgd": BETTER}, change=drawn)
    assert load_joined([first, second]).methods == ["ngm-sgd", "sgd"]


def test_a_method_with_trials_of_a_benchmark_in_two_directories_is_refused(tmp_path: Path) -> None:
    first = results(tmp_path / "first", {"ngm-sgd": BETTER, "sgd": WORSE})
    second = results(tmp_path / "second", {"sgd": BETTER, "adam": WORSE})
    with pytest.raises(UserError) as caught:
        load_joined([first, second])
    assert f"{first} and {second} cannot be joined: both have trials of sgd on {SPLIT}" in str(
        caught.value
    )
    third = results(tmp_path / "third", {"ngm-sgd": BETTER, "sgd": []})  # planned, but not run
    fourth = results(tmp_path / "fourth", {"sgd": WORSE})
    assert load_joined([third, fourth]).methods == ["ngm-sgd", "sgd"]


@pytest.mark.parametrize(
    ("environments", "difference"),
    [
        (
            ({"data": {SPLIT: ["a" * 64]}}, {"data": {SPLIT: ["b" * 64]}}),
            f"data.{SPLIT} is {'a' * 16} in the first and {'b' * 16} in the second",
        ),
        (({"plateaus": {SPLIT: 2}}, {"plateaus": {SPLIT: 1}}), f"plateaus.{SPLIT} is 2 in the"),
    ],
)
def test_different_data_of_a_benchmark_is_refused(
    tmp_path: Path, environments: tuple[dict[str, Any], dict[str, Any]], difference: str
) -> None:
    first = results(tmp_path / "first", {"ngm-sgd": BETTER}, environment=environments[0])
    second = results(tmp_path / "second", {"sgd": BETTER}, environment=environments[1])
    with pytest.raises(UserError, match=difference):
        load_joined([first, second])
    unknown = results(tmp_path / "unknown", {"sgd": BETTER}, environment={})
    assert load_joined([first, unknown]).environment.data == environments[0].get("data", {})


def test_different_search_spaces_of_a_method_are_refused(tmp_path: Path) -> None:
    locations = [
        results(
            tmp_path / benchmark,
            {"sgd": BETTER},
            benchmark=benchmark,
            environment={"methods": {"sgd": {"space": {"lr": {"low": low, "high": 1.0}}}}},
        )
        for benchmark, low in ((SPLIT, 0.1), (ROTATED, 0.2))
    ]
    with pytest.raises(UserError, match=r"search_space.sgd.lr is \[0.1, 1.0\] in the first and"):
        load_joined(locations)


def test_unequal_initial_points_are_counted(tmp_path: Path) -> None:
    environment = {"points": {SPLIT: {"ngm-sgd": 1}}}
    first = results(tmp_path / "first", {"ngm-sgd": BETTER}, environment=environment)
    second = results(tmp_path / "second", {"sgd": BETTER}, environment={})
    facts = fact_texts(load_joined([first, second]))
    assert "the tuning effort is unequal" in facts["Initial points"]


def test_trials_are_read_from_the_directory_that_holds_them(tmp_path: Path) -> None:
    """A driver that was killed leaves curves of trials that another directory has completed."""
    locations = [
        results(tmp_path / "first", {"ngm-sgd": BETTER, "sgd": []}),
        results(tmp_path / "second", {"sgd": WORSE}),
    ]
    loaded = load_joined(locations)
    ids = [f"{SPLIT}.ngm-sgd.0000", f"{SPLIT}.sgd.0000"]
    for part, accuracy in zip(loaded.parts, (0.25, 0.5), strict=True):
        for trial_id in ids:
            row = dict.fromkeys(SCHEMAS["curves"].names, 0) | identity(trial_id, 0)
            row |= {"iteration": 1, "accuracy": accuracy}
            rows = pa.Table.from_pylist([row], SCHEMAS["curves"])
            part.results.write("curves", trial_id, rows)  # type: ignore[attr-defined]
    curves = pl.DataFrame(loaded.results.read("curves", ids))
    assert dict(curves.select("trial_id", "accuracy").iter_rows()) == {ids[0]: 0.25, ids[1]: 0.5}
    assert loaded.results.read("curves", ids[1:]).num_rows == 1
    assert loaded.results.read("curves").num_rows == 2


def test_the_cost_of_a_method_is_that_of_the_first_directory(tmp_path: Path) -> None:
    locations = [
        results(tmp_path / "first", {"ngm-sgd": BETTER}),
        results(tmp_path / "second", {"sgd": WORSE}),
    ]
    loaded = load_joined(locations)
    for part, ratio, methods in zip(
        loaded.parts, (1.5, 2.0), (["sgd"], ["sgd", "ngm-sgd"]), strict=True
    ):
        rows = [
            {"method": method, "family": "mlp", "depth": 2, "width": 4, "time_ratio": ratio}
            for method in methods
        ]
        part.results.write("costs", "made-up", pa.Table.from_pylist(rows, SCHEMAS["costs"]))  # type: ignore[attr-defined]
    info = cost_info(loaded)
    assert info is not None
    assert dict(info.rows.select("method", "time_ratio").iter_rows()) == {
        "sgd": 1.5,
        "ngm-sgd": 2.0,
    }


def test_columns_of_different_types_have_the_type_of_one_study(tmp_path: Path) -> None:
    values: list[tuple[str, Kind, object]] = [
        ("ngm-sgd", "float", 0.5),
        ("sgd", "float", 3),
        ("adam", "float and str", True),
        ("ema", "str", "x"),
    ]
    locations = []
    for method, kind, value in values:
        location = results(tmp_path / method, {method: []})
        rows = [
            {
                **identity(f"{SPLIT}.{method}.0000", seed),
                "phase": "search", "status": "completed", **encode("config_mode", value, kind),
                "avg_acc": 0.9, "avg_sg": 0.1,
            }
            for seed in (0, 1)
        ]  # fmt: skip
        table = pa.Table.from_pylist(rows, trials_schema({"mode": kind}))
        MadeUp(Path(location), study=(Path(location) / "study.toml").read_text()).results.write(
            "trials", f"{SPLIT}.{method}.0000", table
        )
        locations.append(location)
    assert load_joined(locations[:2]).search["config_mode"].to_list() == [0.5, 3.0]
    assert load_joined(locations).search["config_mode"].to_list() == ["0.5", "3.0", "True", "x"]


def test_a_report_of_several_directories_is_written(tmp_path: Path, ngm_tune: Command) -> None:
    first = results(tmp_path / "first", {"ngm-sgd": BETTER})
    second = results(tmp_path / "second", {"sgd": WORSE})
    (Path(second) / "trials" / "damaged.parquet").write_text("no Parquet")
    command = ("analyze", first, second, "--no-images")
    refused = ngm_tune(*command)
    assert (refused.code, refused.out) == (2, "")
    assert "choose a folder with --output" in refused.err
    written = ngm_tune(*command, "--output", tmp_path / "report")
    assert (written.code, written.err) == (0, "")
    assert f"Left out: {second}/trials/damaged.parquet: not readable" in written.out
    assert f"ngm-tune doctor {second}" in written.out
    page = tmp_path / "report" / "report.html"
    assert chart_kinds(page) >= {"verdict", "pareto"}
    assert "NGM-SGD against each rival" in page.read_text()
    report = write_report([first, second], tmp_path / "again", images=False)
    assert f"{second}/trials/damaged.parquet" in report.left_out
