"""Export of chosen configurations as default hyper-parameters in a TOML file."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import tomli_w

from ngm_tune import __version__
from ngm_tune.errors import UserError
from ngm_tune.results.filesystem import Directory

from .loaded_study import LoadedStudy
from .loading import load, output_beside
from .statistics.choice import Choice, choose


def write_defaults(
    location: str, output: Path | None = None, pick: str = "knee"
) -> tuple[Path, list[Choice]]:
    """Write the chosen hyper-parameters of every method, with their provenance, as TOML.

    Args:
        location: Path or URI of the results directory.
        output: The file to write; by default ``defaults.toml`` in the results directory.
        pick: How to choose from each front, as in :func:`~analysis.statistics.choice.choose`.

    Returns:
        The path of the file, and the choices in it.

    Raises:
        UserError: The results cannot be read, no configuration can be chosen, the file cannot be
            written, or ``output`` exists and was not written by this function.
    """
    loaded = load(location)
    choices = choose(loaded, pick)
    if not choices:
        raise UserError(f"{location}: {_nothing_to_choose(loaded)}")
    text = tomli_w.dumps(_content(loaded, choices, pick))
    path = output or output_beside(location, "defaults.toml")
    try:
        if path.exists() and not _is_replaceable(path):
            raise UserError(
                f"{path}: exists and was not written by `ngm-tune defaults`, so it is not "
                "replaced; choose another path with --output"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        target = Path(os.path.realpath(path))  # write through a link instead of replacing it
        if target.exists() and not target.is_file():  # a device such as /dev/stdout
            target.write_text(text, encoding="utf-8")
        else:
            Directory(str(target.parent)).write_text(target.name, text)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error}") from error
    return path, choices


def _nothing_to_choose(loaded: LoadedStudy) -> str:
    constraints = loaded.study.constraints
    feasible = f" and satisfied {', '.join(constraints)}" if constraints else ""
    kind = "confirmed trial" if any(map(loaded.is_confirmed, loaded.benchmarks)) else "trial"
    return f"nothing to choose from: no {kind} completed with all its seeds{feasible}"


def _content(loaded: LoadedStudy, choices: list[Choice], pick: str) -> dict[str, Any]:
    provenance = {
        "study": loaded.study.name,
        "pick": pick,
        "trials": loaded.study.trials,
        "seeds": loaded.study.seeds,
        "ngm_tune": __version__,
    }
    if loaded.runs_at_plateau:
        provenance["plateaus"] = loaded.runs_at_plateau
    for key in ("started", "resumed", "git_revision"):
        value = getattr(loaded.environment, key)
        if value:
            provenance[key] = value
    return {"provenance": provenance, "defaults": [_entry(loaded, each) for each in choices]}


def _entry(loaded: LoadedStudy, choice: Choice) -> dict[str, Any]:
    confirmed = loaded.is_confirmed(choice.benchmark)
    return {
        "benchmark": choice.benchmark,
        "method": choice.method,
        "trial_id": choice.trial_id,
        "why": choice.explanation,
        "evaluated_on": "test data" if confirmed else "validation data",
        "hyperparameters": {
            name: "None" if value is None else value  # TOML has no null
            for name, value in choice.hyperparameters.items()
        },
        "scores": choice.scores,
    }


def _is_replaceable(path: Path) -> bool:
    """Return whether a file is empty, a device, or was written by :func:`write_defaults`."""
    if not path.is_file() or not path.stat().st_size:
        return not path.is_dir()
    try:
        return "defaults" in tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError):
        return False
