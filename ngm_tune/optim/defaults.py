"""Tuned hyper-parameters in the file format of ``ngm-tune defaults``."""

from __future__ import annotations

from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Any

from ngm_tune.toml import parse_toml


def load_defaults(
    method: str, benchmark: str | None = None, path: str | PathLike[str] | None = None
) -> dict[str, Any]:
    """Return the tuned hyper-parameters of a method on a benchmark.

    Args:
        method: Name of a method, e.g. ``"ngm-sgd"``.
        benchmark: Name of a benchmark. Optional if the file has the method on one benchmark only.
        path: A file written by ``ngm-tune defaults``; by default the file shipped with ngm-tune.

    Returns:
        Keyword arguments for the method's optimizer.

    Raises:
        ValueError: The file is not a defaults file, or has no entry for the method and benchmark.
        FileNotFoundError: ``path`` does not exist.
    """
    source = files("ngm_tune.optim") / "defaults.toml" if path is None else Path(path)
    name = "the shipped defaults" if path is None else str(path)
    try:
        entries = parse_toml(source.read_text(encoding="utf-8"))["defaults"]
        settings = {
            entry["benchmark"]: {
                name: None if value == "None" else value  # TOML has no null value
                for name, value in entry["hyperparameters"].items()
            }
            for entry in entries
            if entry["method"] == method
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{name} is not a file of ngm-tune defaults: {error!r}") from error
    benchmarks = ", ".join(map(repr, settings)) or "no benchmark"
    if benchmark is None and len(settings) != 1:
        raise ValueError(f"name a benchmark: {name} has {method} settings for {benchmarks}")
    if benchmark is not None and benchmark not in settings:
        raise ValueError(
            f"{name} has no {method} settings for {benchmark!r}, only for {benchmarks}"
        )
    return settings[benchmark] if benchmark is not None else next(iter(settings.values()))
