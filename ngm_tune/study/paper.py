"""The paper's settings (arXiv 2507.14056), as the shipped studies ``paper-*`` have them."""

from __future__ import annotations

import tomllib
from typing import Any

from ngm_tune.study.shipped import shipped_text


def paper_study(benchmark: str) -> dict[str, Any]:
    """Return the paper's study of a benchmark; empty if the paper has none."""
    return tomllib.loads(shipped_text(f"paper-{benchmark}") or "")
