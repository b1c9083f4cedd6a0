"""What arXiv 2507.14056 ran, as the studies ``paper-*`` that come with ngm-tune."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import Any


def paper_study(benchmark: str) -> dict[str, Any]:
    """The study of a benchmark as the paper has it; empty if it has none."""
    study = files("ngm_tune") / "studies" / f"paper-{benchmark}.toml"
    return tomllib.loads(study.read_text(encoding="utf-8")) if study.is_file() else {}
