"""Columns that methods share although their hyper-parameters differ in type."""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path
from textwrap import dedent
from typing import Any

import duckdb
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngm_tune.analysis.loading import load
from ngm_tune.results.columns import Domain, column_kind, decode, encode, infer_domain
from tests.helpers.commands import in_process, install_methods

METHODS = """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
    from torch.optim import Adam

    from ngm_tune.methods import Method

    LR = FloatDistribution(0.001, 0.01, log=True)
    BETAS = {"slow": (0.9, 0.999), "fast": (0.8, 0.99)}


    def method(name, space, **more):
        def build(model, lr, width=None, share=None, betas=BETAS["slow"]):
            kinds = {"integers": {int}, "floats": {float}}.get(name, {int, float, str, type(None)})
            assert {type(width), type(share)} <= kinds
            return Adam(model.parameters(), lr=lr, betas=betas)

        return Method(
            name=name, title=name, source="tests", space={"lr": LR, **space}, build=build, **more
        )


    integers = method("integers", {"width": IntDistribution(1, 5), "share": IntDistribution(1, 3)})
    floats = method(
        "floats", {"width": FloatDistribution(0.1, 2.0), "share": FloatDistribution(0, 1)}
    )
    mixed = method(
        "mixed",
        {
            "width": CategoricalDistribution(("wide", None, 3)),
            "share": CategoricalDistribution((1, 0.5)),
            "speed": CategoricalDistribution(("slow", "fast")),
        },
        configure=lambda point: {
            **{k: v for k, v in point.items() if k != "speed"}, "betas": BETAS[point["speed"]],
        },
        locate=lambda settings: {
            **{k: v for k, v in settings.items() if k != "betas"},
            "speed": next(k for k, v in BETAS.items() if v == settings["betas"]),
        },
    )
"""

STUDY = """
    title = "Methods with hyper-parameters of the same names"
    benchmarks = ["split-digits"]
    methods = ["integers", "floats", "mixed"]
    searches = 1
    trials = 3
    seeds = 1
    iterations_per_task = 12
    eval_every = 6
    reference_point = { avg_acc = 0.1, avg_sg = 1.0 }
    confirm = { max_configurations = 1, seeds = 1 }
"""


def test_methods_that_share_columns_keep_their_types_on_resume_defaults_and_warm_start(
    tmp_path: Path,
) -> None:
    site = install_methods(tmp_path, METHODS, "integers", "floats", "mixed")
    ngm_tune = in_process(site)
    study, results = tmp_path / "shared.toml", tmp_path / "results"
    study.write_text(dedent(STUDY))
    assert ngm_tune("run", study, "--results", results).code == 0
    trials = pl.read_parquet(results / "trials" / "*.parquet")
    assert trials.schema["config_width"] == pl.Float64
    assert trials.schema["config_width_text"] == pl.String

    resumed = ngm_tune("run", study, "--results", results)
    assert (resumed.code, resumed.out.splitlines()[0]) == (
        0, f"shared is complete: all 12 runs are in {results}",
    )  # fmt: skip
    assert "nothing is damaged" in ngm_tune("doctor", results).out

    assert ngm_tune("defaults", results).code == 0
    with (results / "defaults.toml").open("rb") as file:
        defaults = {d["method"]: d["hyperparameters"] for d in tomllib.load(file)["defaults"]}
    assert {name: type(value) for name, value in defaults["integers"].items()} == {
        "lr": float, "width": int, "share": int,
    }  # fmt: skip
    assert {type(value) for value in defaults["floats"].values()} == {float}
    assert defaults["mixed"]["width"] in ("wide", "None", 3)
    share = defaults["mixed"]["share"]
    assert (share, type(share)) in ((1, int), (0.5, float))
    assert defaults["mixed"]["betas"] in ([0.9, 0.999], [0.8, 0.99])

    other = tmp_path / "other"
    warm_start = ngm_tune("run", study, "--results", other, "--warm-start", results)
    assert warm_start.code == 0
    message = rf"Starting from \d+ configurations of {re.escape(str(results))}"
    assert re.fullmatch(message, warm_start.out.splitlines()[0])  # none is outside its space
    warm_started = pl.read_parquet(other / "trials" / "*.parquet").filter(phase="search")
    searched = trials.filter(phase="search")
    for name in ("integers", "floats", "mixed"):
        trial = warm_started.filter(pl.col("trial_id") == f"split-digits.{name}.0000")
        settings = trial.select("^config_.*$").rows()
        assert settings[0] in searched.filter(method=name).select("^config_.*$").rows()


def test_columns_of_several_studies_have_the_same_types(tmp_path: Path) -> None:
    ngm_tune = in_process(install_methods(tmp_path, METHODS, "integers", "floats", "mixed"))
    study, names = tmp_path / "shared.toml", ("integers", "floats", "mixed")
    study.write_text(dedent(STUDY))
    changes = ("trials=1", "confirm.max_configurations=0", "iterations_per_task=2")
    options = [part for change in changes for part in ("--set", change)]
    for name in names:
        command = ("run", study, *options, "--set", f"methods=['{name}']")
        assert ngm_tune(*command, "--results", tmp_path / name).code == 0
        assert "is complete" in ngm_tune(*command, "--results", tmp_path / name).out
    types = duckdb.sql(
        "SELECT DISTINCT typeof(config_width), typeof(config_share), typeof(config_width_text) "
        f"FROM read_parquet('{tmp_path}/*/trials/*.parquet', union_by_name = true)"
    ).fetchall()
    assert types == [("DOUBLE", "DOUBLE", "VARCHAR")]
    tables = [pl.read_parquet(path) for path in sorted(tmp_path.glob("*/trials/*.parquet"))]
    together = pl.concat(tables, how="diagonal")  # raises where types of a column differ
    assert together.height == 3
    assert together.schema["config_width"] == together.schema["search_share"] == pl.Float64
    assert together.schema["config_width_text"] == pl.String


def test_files_whose_types_depended_on_the_study_are_read_and_continued(tmp_path: Path) -> None:
    """Results of schema version 3, with settings of the types bool, string, double and int64."""
    ngm_tune, location = in_process(), tmp_path / "typed"
    shutil.copytree(Path(__file__).parents[1] / "data" / "schema-3-typed", location)
    for trials in (1, 2):
        command = ("run", location / "study.toml", "--set", f"trials={trials}", "--results")
        answer = ngm_tune(*command, location)
        assert (answer.code, answer.err) == (0, "")
        assert ("is complete" in answer.out) == (trials == 1)
    assert ngm_tune("doctor", location, "--look").code == 0
    rows = load(str(location)).search.filter(method="ngm-sgd")
    assert rows["config_normalise_entropy"].to_list() == ["True"] * 2
    assert ngm_tune("defaults", location).code == 0
    with (location / "defaults.toml").open("rb") as file:
        defaults = {d["method"]: d["hyperparameters"] for d in tomllib.load(file)["defaults"]}
    assert defaults["ngm-sgd"]["normalise_entropy"] is True
    assert defaults["ngm-sgd"]["layers"] == "output"
    assert repr(defaults["er"]["buffer_size"]) == "7"


def test_hyperparameters_with_a_column_in_common_are_refused(tmp_path: Path) -> None:
    site = install_methods(
        tmp_path,
        """
        from optuna.distributions import CategoricalDistribution, FloatDistribution
        from torch.optim import SGD

        from ngm_tune.methods import Method

        SPACE = {"k": CategoricalDistribution(("a", "b")), "k_text": FloatDistribution(0, 1)}
        clash = Method(
            name="clash", title="Clash", source="tests", space=SPACE,
            build=lambda model, k, k_text: SGD(model.parameters(), lr=0.1),
        )
        """,
        "clash",
    )
    refused = in_process(site)("run", "quickstart", "--set", "methods=['clash']")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "the hyper-parameter k, as text, and the hyper-parameter k_text" in refused.err


VALUES = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text(max_size=3)
DISTINCT = st.lists(VALUES, min_size=1, unique_by=(str, lambda value: value))


@given(DISTINCT, DISTINCT, st.data())
def test_values_in_a_shared_column_are_decoded_with_their_types(
    values: list[Any], other_values: list[Any], data: st.DataObject
) -> None:
    domain = infer_domain(values)
    kind = column_kind([domain, infer_domain(other_values)])
    value = data.draw(st.sampled_from(values))
    columns = encode("x", value, kind)
    decoded = decode(columns["x" if kind == "float" else "x_text"], domain)
    assert (decoded, type(decoded)) == (value, type(value))


@pytest.mark.parametrize(
    ("stored", "domain"),
    [
        ("wide", int), (2.5, int), ("3.5", int), (float("inf"), int), ("wide", float), (2, bool),
        ("true", bool), ("wide", ["narrow", 3]), (4.0, [1, 3]), (None, float),
    ],
)  # fmt: skip
def test_values_outside_a_domain_are_returned_unchanged(stored: Any, domain: Domain) -> None:
    assert decode(stored, domain) is stored
