"""The study files that are shipped with ngm-tune."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import Any


def shipped_names() -> list[str]:
    """Return the names of the shipped studies, sorted."""
    folder = files("ngm_tune") / "studies"
    names = (file.name for file in folder.iterdir() if file.name.endswith(".toml"))
    return sorted(name.removesuffix(".toml") for name in names)


def shipped_text(name: str) -> str | None:
    """Return the text of a shipped study file; None if no shipped study has this name."""
    file = files("ngm_tune") / "studies" / f"{name}.toml"
    return file.read_text(encoding="utf-8") if name and file.is_file() else None


def shipped_contents() -> dict[str, dict[str, Any]]:
    """Return the content of every shipped study file by name, without validation."""
    return {name: tomllib.loads(shipped_text(name) or "") for name in shipped_names()}
