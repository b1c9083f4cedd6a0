"""The examples in docstrings work."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for folder in (ROOT / "ngm_tune", ROOT / "ngm_tune/analysis")
    for path in sorted(folder.rglob("*.py"))
    if ">>>" in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", dict.fromkeys(MODULES))
def test_examples_of_a_module_work(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    results = doctest.testmod(import_module(name), optionflags=doctest.ELLIPSIS)
    assert results.attempted > 0
    assert results.failed == 0, capsys.readouterr().out
