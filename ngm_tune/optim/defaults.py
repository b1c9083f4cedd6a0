"""Tuned settings, as ``ngm-tune defaults`` writes them and optimizers read them."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Any


def load_defaults(
    method: str, benchmark: str | None = None, path: str | PathLike[str] | None = None
) -> dict[str, Any]:
    """Hyper-parameters of ``method`` on ``benchmark``.

    Args:
        method: Name of a method, e.g. ``"ngm-sgd"``.
        benchmark: Name of a benchmark; may be left out where the file knows one only.
        path: A file written by ``ngm-tune defaults``; without it, the one shipped with ngm-tune.

    Returns:
        Keyword arguments for the method's optimizer.

    Raises:
        ValueError: The file is no defaults file, or holds none for this method and benchmark.
        FileNotFoundError: There is no file at ``path``.
    """
    source = files("ngm_tune.optim") / "defaults.toml" if path is None else Path(path)
    name = "the shipped defaults" if path is None else str(path)
    try:
        entries = tomllib.loads(source.read_text(encoding="utf-8"))["defaults"]
        found = {
            entry["benchmark"]: {
                name: None if value == "None" else value  # which TOML does not have
                for name, value in entry["hyperparameters"].items()
            }
            for entry in entries
            if entry["method"] == method
        }
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{name} is no file of ngm-tune defaults: {error!r}") from error
    known = ", ".join(map(repr, found)) or "none"
    if benchmark is None and len(found) != 1:
        raise ValueError(f"name a benchmark: {name} has {method} settings for {known}")
    if benchmark is not None and benchmark not in found:
        raise ValueError(f"{name} has no {method} settings for {benchmark!r}, only for {known}")
    return found[benchmark] if benchmark is not None else next(iter(found.values()))
