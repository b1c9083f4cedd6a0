"""The live display of a running study."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

from rich.console import Console

from ngm_tune.cli.progress import progress_display
from tests.helpers.searches import a_study, make_method_search, run_search


def test_a_terminal_shows_the_ended_runs(tmp_path: Path) -> None:
    searched = make_method_search(tmp_path / "journal", trials=3)
    console = Console(file=StringIO(), force_terminal=True, width=100, color_system=None)
    with progress_display(console, a_study(trials=3), [searched]):
        run_search(searched, stop=2)
    output = console.file.getvalue()  # type: ignore[attr-defined]
    assert "2/3 runs, 0:00:00 elapsed, -:--:-- left" in output


def test_a_file_gets_no_live_display(tmp_path: Path) -> None:
    searched = make_method_search(tmp_path / "journal", trials=3)
    console = Console(file=StringIO())
    with progress_display(console, a_study(trials=3), [searched]):
        run_search(searched, stop=2)
    assert console.file.getvalue() == ""  # type: ignore[attr-defined]
