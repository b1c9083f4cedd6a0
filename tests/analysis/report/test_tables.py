"""Tables of the report."""

from __future__ import annotations

from pathlib import Path

from ngm_tune.analysis.report.tables import markdown_table, optimism_rows
from tests.helpers.made_up import STUDY, MadeUp

SPLIT = "split-digits"


def test_optimism_of_a_single_seed_has_no_error(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, study=STUDY.replace("seeds = 2", "seeds = 1"))
    made.trial(0, (0.9, 0.1), seeds=(0,))
    made.trial(0, (0.8, 0.2), phase="confirm")
    (row,) = optimism_rows(made.load(), SPLIT)
    assert (row["Method"], row["Configurations"]) == ("SGD", "1")
    assert row["Average accuracy"] == "0.900 → 0.800 (+0.100)"


def test_markdown_tables_are_escaped() -> None:
    table = markdown_table([{"Method": "<b>a|b</b>"}])
    assert "&lt;b&gt;a\\|b&lt;/b&gt;" in table
