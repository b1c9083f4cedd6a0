"""Reading and writing of results directories."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ngm_tune.errors import UserError
from ngm_tune.metrics.registry import METRICS
from ngm_tune.results.directory import Results
from ngm_tune.results.schema import CURVES_SCHEMA, SCHEMA_VERSION, TASKS_SCHEMA, trials_schema
from tests.conftest import Finished
from tests.helpers.commands import Command
from tests.helpers.comparing import SCHEMA_1
from tests.helpers.legacy_results import LEGACY_RESULTS

A, B = "digits.sgd.0000", "digits.sgd.0001"


def trial(trial_id: str, **columns: object) -> pa.Table:
    row = {
        "trial_id": trial_id,
        "benchmark": "digits",
        "method": "sgd",
        "repetition": 0,
        "phase": "confirm" if trial_id.endswith(".confirm") else "search",
        "seed": 0,
        "status": "completed",
        **columns,
    }
    names = [name.removeprefix("config_") for name in columns if name.startswith("config_")]
    return pa.Table.from_pylist([row], trials_schema(dict.fromkeys(names, "float")))


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_written_results_are_read_back(tmp_path: Path, scheme: str) -> None:
    results = Results(f"{scheme}{tmp_path}/new")
    assert not results.has_study()
    results.create()
    results.write_text("study.toml", 'name = "x"\n')
    results.write("trials", A, trial(A, avg_acc=0.5))
    results.write("trials", B, trial(B, avg_acc=0.25))
    assert results.has_study()
    assert results.read_study() == {"name": "x"}
    assert results.read("trials")["avg_acc"].to_pylist() == [0.5, 0.25]
    assert results.read("trials", [B])["trial_id"].to_pylist() == [B]
    assert results.read("curves").schema.equals(CURVES_SCHEMA)


def test_schema_has_a_version_typed_columns_and_every_metric() -> None:
    schema = trials_schema({"lr": "float", "name": "str"}, {"width": "float and str"})
    assert schema.field("config_lr").type == pa.float64()
    assert schema.field("config_name_text").type == pa.string()
    assert schema.field("search_width").type == pa.float64()
    assert schema.field("search_width_text").type == pa.string()
    assert "config_name" not in schema.names
    assert schema.field("seed").type == pa.int64()
    assert all(schema.field(name).type == pa.float64() for name in METRICS)
    assert schema.metadata[b"ngm_tune.schema_version"] == str(SCHEMA_VERSION).encode()


def test_files_contain_the_schema_version(tmp_path: Path) -> None:
    Results(str(tmp_path)).write("trials", "a", trial("a"))
    metadata = pq.read_schema(tmp_path / "trials" / "a.parquet").metadata
    assert metadata[b"ngm_tune.schema_version"] == str(SCHEMA_VERSION).encode()


def test_an_interrupted_write_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = Results(str(tmp_path))
    write_table = pq.write_table

    def write_and_interrupt(table: pa.Table, where: str, **options: object) -> None:
        write_table(table, where, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(pq, "write_table", write_and_interrupt)
    with pytest.raises(KeyboardInterrupt):
        results.write("trials", "a", trial("a"))
    assert not (tmp_path / "trials" / "a.parquet").exists()
    assert results.read("trials").num_rows == 0


def test_trials_of_methods_with_different_hyperparameters_form_one_table(tmp_path: Path) -> None:
    results = Results(str(tmp_path))
    results.write("trials", A, trial(A, config_lr=0.1))
    results.write("trials", B, trial(B, config_momentum=0.9))
    table = results.read("trials")
    assert table["config_lr"].to_pylist() == [0.1, None]
    assert table["config_momentum"].to_pylist() == [None, 0.9]


def test_a_damaged_file_is_refused_by_name(tmp_path: Path) -> None:
    results = Results(str(tmp_path))
    results.write("trials", "a", trial("a"))
    path = tmp_path / "trials" / "a.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"a\.parquet: not readable as Parquet"):
        results.read("trials")


def test_a_parquet_file_without_a_schema_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "trials").mkdir()
    pq.write_table(pa.table({"x": [1]}), tmp_path / "trials" / "foreign.parquet")
    with pytest.raises(UserError, match=r"foreign\.parquet: schema version none; .* reads 1 to 4"):
        Results(str(tmp_path)).read("trials")


def test_a_trial_is_read_from_the_files_of_all_its_runs(tmp_path: Path) -> None:
    results = Results(str(tmp_path))
    other, confirmed = f"{A}0", f"{A}.confirm"
    for run in (f"{A}@0", f"{A}@1", other, confirmed):
        results.write("trials", run, trial(run.partition("@")[0]))
    trial_ids = {run: rows["trial_id"].to_pylist() for run, rows in results.iter_runs("trials")}
    assert trial_ids == {
        f"{A}@0": [A], f"{A}@1": [A], other: [other], confirmed: [confirmed],
    }  # fmt: skip
    assert results.read("trials", [A])["trial_id"].to_pylist() == [A, A]
    assert list(results.iter_runs("tasks")) == []


def test_metrics_after_the_last_task_are_those_of_the_trial(finished: Finished) -> None:
    results = Results(str(finished.location))
    assert results.read("tasks").schema.equals(TASKS_SCHEMA)
    tasks, trials = pl.DataFrame(results.read("tasks")), pl.DataFrame(results.read("trials"))
    key = ["trial_id", "seed"]
    assert not tasks.select(*key, "task").is_duplicated().any()
    ended = trials.filter(pl.col("status") != "failed").sort(key)
    count = pl.when(pl.col("benchmark") == "split-digits").then(5).otherwise(3)
    expected = ended.select(*key, pl.int_ranges(count, dtype=pl.Int16).alias("task"))
    recorded = tasks.group_by(key).agg(pl.col("task").sort()).sort(key)
    assert recorded.equals(expected)
    last = tasks.sort("task").group_by(key).last().sort(key)
    assert last.select(list(METRICS)).equals(ended.select(list(METRICS)))
    first = tasks.filter(pl.col("task") == 0).join(ended, on=key).filter(status="completed")
    assert first["avg_sg"].null_count() == first.height  # no transition before the second task
    assert first["avg_acc"].null_count() == 0


def test_hyperparameters_follow_from_the_search_coordinates(finished: Finished) -> None:
    trials = pl.DataFrame(Results(str(finished.location)).read("trials"))
    names = {name for name in trials.columns if name.startswith("search_")}
    assert names == {"search_lr", "search_dc_gain", "search_gain_decay"}
    ngm = trials.filter(method="ngm-sgd")
    gain = ngm["search_dc_gain"] * ngm["search_gain_decay"]
    assert gain.to_list() == pytest.approx(ngm["config_gain_sensitivity"].to_list())
    others = trials.filter(pl.col("method") != "ngm-sgd")
    assert others["search_dc_gain"].null_count() == others.height
    assert others["search_lr"].equals(others["config_lr"])


def test_results_of_schema_version_1_are_readable() -> None:
    results = Results(str(SCHEMA_1))
    trials, curves = (pl.DataFrame(results.read(table)) for table in ("trials", "curves"))
    assert trials.group_by("method").len().sort("method").rows() == [("ngm-sgd", 4), ("sgd", 4)]
    assert trials["avg_acc"].null_count() == 0
    assert not [name for name in trials.columns if name.startswith("search_")]
    assert set(curves["iteration"]) == set(range(1, 5 * 6 + 1))
    assert results.read("steps").num_rows == 8 * 5 * 6
    assert results.read("tasks").num_rows == 0
    assert [run for run, _ in results.iter_runs("trials")] == [
        f"split-digits.{method}.000{n}" for method in ("ngm-sgd", "sgd") for n in (0, 1)
    ]


@pytest.mark.parametrize("form", sorted(LEGACY_RESULTS))
@pytest.mark.parametrize(
    ("command", "output"),
    [(("analyze", "--no-images"), "report/report.html"), (("defaults",), "defaults.toml")],
)
def test_results_of_earlier_versions_can_be_analyzed(
    tmp_path: Path, ngm_tune: Command, command: tuple[str, ...], output: str, form: str
) -> None:
    copy = shutil.copytree(LEGACY_RESULTS[form].location, tmp_path / "former")
    result = ngm_tune(*command, copy)
    assert (result.code, result.err) == (0, "")
    assert "sgd" in (copy / output).read_text().lower()


def test_a_directory_without_results_names_the_command_that_creates_them(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no results found.*ngm-tune run"):
        Results(str(tmp_path)).require_study()


def test_an_unsupported_filesystem_is_refused() -> None:
    with pytest.raises(UserError, match="not a usable results location"):
        Results("gopher://host/path")


def test_quarantine_never_replaces_a_file_or_a_folder(tmp_path: Path) -> None:
    (tmp_path / "damaged" / "trials" / "x").mkdir(parents=True)
    (tmp_path / "damaged" / "trials" / "x~").touch()
    (tmp_path / "trials").mkdir()
    (tmp_path / "trials" / "x").write_text("damaged")
    assert Results(str(tmp_path)).quarantine("trials/x") == "damaged/trials/x~~"
    assert (tmp_path / "damaged/trials/x~~").read_text() == "damaged"
