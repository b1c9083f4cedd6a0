"""Escaping of untrusted text in the report."""

from __future__ import annotations

import json
from pathlib import Path

from ngm_tune.analysis import write_report
from tests.helpers.made_up import STUDY, MadeUp

HOSTILE = "</script><script>alert(1)</script>"


def test_titles_are_escaped_in_the_page_and_in_the_tables(tmp_path: Path) -> None:
    made = MadeUp(tmp_path, study=STUDY.replace('"Made up"', json.dumps(HOSTILE)))
    space = {"lr": {"low": 1e-3, "high": 1.0, "log": True, "step": None}}
    titles = {
        "methods": {"sgd": {"title": f"SGD {HOSTILE}", "space": space}},
        "benchmarks": {"split-digits": {"title": f"Digits {HOSTILE}"}},
        "data": {HOSTILE: [HOSTILE]},
        "versions": {"torch": HOSTILE},
    }
    made.results.write_text("environment.json", json.dumps(titles))
    made.trial(0, (0.9, 0.1))
    made.trial(0, (0.9, 0.4), method="ngm-sgd")
    page = write_report(made.location, tmp_path / "report").page
    text = page.read_text()
    assert "<script>alert(1)" not in text
    assert "SGD &lt;/script&gt;" in text
    assert "<script>" not in (tmp_path / "report" / "methods.md").read_text()
