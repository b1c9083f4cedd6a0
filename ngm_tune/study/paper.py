"""The settings of the paper (arXiv 2507.14056), from the shipped studies ``paper-*``."""

from __future__ import annotations

import tomllib
from typing import Any

from ngm_tune.study.shipped import shipped_text


def paper_study(benchmark: str) -> dict[str, Any]:
    """Return the content of the paper's study of a benchmark; {} if the paper has none."""
    return tomllib.loads(shipped_text(f"paper-{benchmark}") or "")
