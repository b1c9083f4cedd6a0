"""Results on disk."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ngm_tune.errors import UserError
from ngm_tune.metrics import METRICS
from ngm_tune.results import CURVES_SCHEMA, SCHEMA_VERSION, Results, trials_schema


def trial(trial_id: str, **columns: object) -> pa.Table:
    row = {"trial_id": trial_id, "seed": 0, "status": "completed", **columns}
    names = [name.removeprefix("config_") for name in columns if name.startswith("config_")]
    return pa.Table.from_pylist([row], trials_schema(dict.fromkeys(names, "float")))


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_what_is_written_is_read_again(tmp_path: Path, scheme: str) -> None:
    results = Results(f"{scheme}{tmp_path}/deep/down")
    assert not results.exists()
    results.write_text("study.toml", 'name = "x"\n')
    results.write("trials", "a", trial("a", avg_acc=0.5))
    results.write("trials", "b", trial("b", avg_acc=0.25))
    assert results.exists()
    assert results.study() == {"name": "x"}
    assert results.read("trials")["avg_acc"].to_pylist() == [0.5, 0.25]
    assert results.read("trials", ["b"])["trial_id"].to_pylist() == ["b"]
    assert results.read("curves").schema.equals(CURVES_SCHEMA)


def test_schema_is_typed_versioned_and_has_every_metric() -> None:
    schema = trials_schema({"lr": "float", "depth": "int", "name": "str"})
    assert schema.field("config_lr").type == pa.float64()
    assert schema.field("config_depth").type == pa.int64()
    assert schema.field("config_name").type == pa.string()
    assert schema.field("seed").type == pa.int64()
    assert all(schema.field(name).type == pa.float64() for name in METRICS)
    assert schema.metadata[b"ngm_tune.schema_version"] == str(SCHEMA_VERSION).encode()


def test_the_file_of_a_trial_carries_the_version(tmp_path: Path) -> None:
    Results(str(tmp_path)).write("trials", "a", trial("a"))
    metadata = pq.read_schema(tmp_path / "trials" / "a.parquet").metadata
    assert metadata[b"ngm_tune.schema_version"] == str(SCHEMA_VERSION).encode()


def test_no_half_written_file_is_ever_under_its_final_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = Results(str(tmp_path))
    write = pq.write_table

    def killed(table: pa.Table, where: str, **options: object) -> None:
        write(table, where, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(pq, "write_table", killed)
    with pytest.raises(KeyboardInterrupt):
        results.write("trials", "a", trial("a"))
    assert not (tmp_path / "trials" / "a.parquet").exists()
    assert results.read("trials").num_rows == 0


def test_trials_of_different_methods_read_as_one_table(tmp_path: Path) -> None:
    results = Results(str(tmp_path))
    results.write("trials", "a", trial("a", config_lr=0.1))
    results.write("trials", "b", trial("b", config_momentum=0.9))
    table = results.read("trials")
    assert table["config_lr"].to_pylist() == [0.1, None]
    assert table["config_momentum"].to_pylist() == [None, 0.9]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    results = Results(str(tmp_path))
    results.write("trials", "a", trial("a"))
    path = tmp_path / "trials" / "a.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"a\.parquet: not readable as Parquet"):
        results.read("trials")


def test_a_file_of_another_schema_is_refused(tmp_path: Path) -> None:
    (tmp_path / "trials").mkdir()
    pq.write_table(pa.table({"x": [1]}), tmp_path / "trials" / "foreign.parquet")
    with pytest.raises(UserError, match=r"foreign\.parquet: schema version none, .* reads 1"):
        Results(str(tmp_path)).read("trials")


def test_a_directory_without_results_says_how_to_get_some(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no results there.*ngm-tune run"):
        Results(str(tmp_path)).require()


def test_an_unknown_filesystem_is_refused() -> None:
    with pytest.raises(UserError, match="no usable results location"):
        Results("gopher://host/path")
