"""The examples of the documentation work: Python runs, studies are valid, commands parse."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import SkipTest

import duckdb
import polars as pl
import pytest
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser, SkipParser
from typer.main import get_command

from ngm_tune.cli import app
from ngm_tune.methods import Method, methods
from ngm_tune.study.files import load_study
from ngm_tune.study.shipped import shipped_names

ROOT = Path(__file__).parents[2]
OUTSIDE_OF_SITE = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
PAGES = sorted({*OUTSIDE_OF_SITE, *(ROOT / "docs").rglob("*.md")})
COMMANDS = get_command(app).commands  # type: ignore[attr-defined]


@cache
def shipped() -> set[str]:
    return set(shipped_names())


def validate_study(example: Example) -> None:
    """Load a TOML block as `ngm-tune run` does."""
    study = Path("example.toml")
    study.write_text(example.parsed, encoding="utf-8")
    load_study(str(study))


def parse_commands(example: Example) -> None:
    """Parse every `ngm-tune` command of a block, and load its study if ngm-tune ships it."""
    for line in example.parsed.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        command = words[words.index("ngm-tune") + 1 :] if "ngm-tune" in words else []
        if not command or command == ["--help"]:
            continue
        values = COMMANDS[command[0]].make_context(command[0], command[1:]).params
        if values.get("study") in shipped():
            load_study(values["study"], values["set_"] or [])


SYBIL = Sybil(
    parsers=[
        PythonCodeBlockParser(),
        CodeBlockParser(language="toml", evaluator=validate_study),
        CodeBlockParser(language="sh", evaluator=parse_commands),
        SkipParser(),
    ]
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_blocks_of_a_page_work_in_order(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "tests/data/schema-1", tmp_path / "results/quickstart")
    monkeypatch.chdir(tmp_path)
    document = SYBIL.parse(page)
    document.namespace["no_testing"] = find_spec("ngm_tune.testing") is None
    for example in document.examples():
        with suppress(SkipTest):
            example.evaluate()
        for value in list(document.namespace.values()):
            if isinstance(value, Method):  # as if its file were given with --methods
                monkeypatch.setitem(methods(), value.name, value)


QUERIES = [page for page in PAGES if "_parquet(" in page.read_text(encoding="utf-8")]


@pytest.mark.parametrize("page", QUERIES, ids=lambda page: page.name)
def test_queries_never_average_validation_with_test_data(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of the search, on validation data, are negative here, which no result may be."""
    results = tmp_path / "results" / "quickstart"
    shutil.copytree(ROOT / "tests/data/schema-3-without-searches", results)
    for file in results.glob("[tc]*/*.parquet"):
        if not file.stem.endswith(".confirm"):
            rows = pl.read_parquet(file)
            columns = {"avg_acc", "avg_sg", "accuracy"} & set(rows.columns)
            rows.with_columns(
                pl.lit(-99, rows.schema[name]).alias(name) for name in columns
            ).write_parquet(file)
    monkeypatch.chdir(tmp_path)
    document, checked = SYBIL.parse(page), 0
    for example in document.examples():
        before = dict(document.namespace)
        with suppress(SkipTest):
            example.evaluate()
        for name in ("by_trial", "by_method", "first_task"):
            table = document.namespace.get(name)
            if table is not before.get(name):
                averages = as_polars(table).select("^(avg_acc|avg_sg|accuracy|gap)$")
                assert averages.height
                assert min(column.min() for column in averages) >= 0.0
                checked += 1
    assert checked == 5


def as_polars(table: Any) -> pl.DataFrame:
    """Return the result of a query with DuckDB, pandas or polars."""
    if isinstance(table, duckdb.DuckDBPyRelation):
        return table.pl()
    return table if isinstance(table, pl.DataFrame) else pl.from_pandas(table)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_in_running_text_exist(page: Path) -> None:
    """A command in inline code, such as `ngm-tune run`; blocks are parsed with their options."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for name in re.findall(r"`ngm-tune ([^`\s]+)", text):
        assert name in COMMANDS, name


@pytest.mark.parametrize("page", OUTSIDE_OF_SITE, ids=lambda page: page.name)
def test_links_of_pages_outside_of_the_site_lead_to_files(page: Path) -> None:
    """`mkdocs build --strict` checks the links of the other pages."""
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 130


def test_the_package_of_the_tutorial_can_be_built(tmp_path: Path) -> None:
    """The `pyproject.toml` is complete: the wheel holds the module and its entry point."""
    page = (ROOT / "docs/tutorials/own-optimizer.md").read_text(encoding="utf-8")
    (project,) = re.findall(r"```toml\n(\[build-system\].*?)```", page, flags=re.DOTALL)
    (tmp_path / "pyproject.toml").write_text(project, encoding="utf-8")
    (tmp_path / "rmsprop.py").write_text("rmsprop = None\n")
    build = "from setuptools.build_meta import build_wheel; build_wheel('dist')"
    subprocess.run([sys.executable, "-c", build], cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").iterdir()
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (entries,) = (name for name in names if name.endswith("entry_points.txt"))
        assert "rmsprop.py" in names
        assert b"[ngm_tune.methods]\nrmsprop = rmsprop:rmsprop\n" in archive.read(entries)
