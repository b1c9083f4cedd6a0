"""Study files and overrides that are nested too deeply are refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.commands import Command

LISTS = "[" * 5000 + "]" * 5000
TABLES = "{a = " * 5000 + "1" + "}" * 5000


@pytest.mark.parametrize(
    "line",
    [
        ".".join("a" * 600) + " = 1",
        f"[{'.'.join('a' * 600)}]",
        f"trials = {LISTS}",
        f"trials = {TABLES}",
        f"trials = {'[' * 21}{']' * 21}",
    ],
    ids=["dotted key", "table", "lists", "inline tables", "one level too many"],
)
def test_a_deeply_nested_file_is_refused(tmp_path: Path, ngm_tune: Command, line: str) -> None:
    file = tmp_path / "deep.toml"
    file.write_text(f"{line}\n")
    refused = ngm_tune("run", file, "--results", tmp_path / "results")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert f"{file}: not valid TOML: tables and lists are nested more than 20 levels" in refused.err
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    "override",
    [f"{'.'.join('a' * 600)}=1", f"trials={LISTS}", f"trials={TABLES}"],
    ids=["dotted key", "lists", "inline tables"],
)
def test_a_deeply_nested_override_is_refused(
    tmp_path: Path, ngm_tune: Command, override: str
) -> None:
    refused = ngm_tune("run", "quickstart", "--set", override, "--results", tmp_path / "results")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "nested more than 20 levels deep" in refused.err
    assert len(refused.err) < 1000
    assert not (tmp_path / "results").exists()
