"""Export of chosen configurations as default hyper-parameters in a TOML file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from math import isnan
from pathlib import Path
from typing import Any, NamedTuple

import tomli_w

from ngm_tune import __version__
from ngm_tune.errors import UserError
from ngm_tune.messages import counted
from ngm_tune.results.filesystem import Directory
from ngm_tune.toml import parse_toml

from .loaded_study import LoadedStudy
from .loading import load, output_beside
from .statistics.choice import Choice, candidates, choose
from .statistics.criterion import KNEE
from .statistics.new_data import NewDataChoice, choose_for_new_data
from .statistics.paired import Estimate


class Defaults(NamedTuple):
    """A written file of default hyper-parameters.

    Attributes:
        path: Path of the file.
        choices: The configuration of each method on each benchmark.
        new_data: In a study with transfers, that of each method for a new data set.
        missing: Methods and benchmarks without a choice, and the reason.
    """

    path: Path
    choices: list[Choice]
    new_data: list[NewDataChoice]
    missing: list[str]


def write_defaults(location: str, output: Path | None = None, select: str = KNEE) -> Defaults:
    """Write the chosen hyper-parameters of every method, with their provenance, as TOML.

    :func:`ngm_tune.optim.defaults.load_defaults` reads the entries of ``defaults``. Every estimate
    is a table with its ``mean``, its 95 % ``interval`` if it has one, and the number of seeds or
    repetitions over which it is taken. ``new_data`` has the entries for a new data set.

    Args:
        location: Path or URI of the results directory.
        output: The file to write; by default ``defaults.toml`` in the results directory.
        select: What to choose by, as in
            :meth:`~analysis.statistics.criterion.Criterion.parse`.

    Raises:
        UserError: The results cannot be read, no configuration can be chosen, the file cannot be
            written, or ``output`` exists and was not written by this function.
    """
    loaded = load(location)
    choices = choose(loaded, select)
    missing = list(_explain_missing(loaded, choices, select))
    if not choices:
        raise UserError(f"{location}: {_nothing_to_choose(loaded, select)}")
    new_data = choose_for_new_data(loaded, select)
    text = tomli_w.dumps(_content(loaded, choices, new_data, select))
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
    return Defaults(path, choices, new_data, missing)


def _explain_missing(loaded: LoadedStudy, choices: list[Choice], select: str) -> Iterator[str]:
    """Yield a line for each method with candidates of which none satisfies the criterion."""
    chosen = {(choice.benchmark, choice.method) for choice in choices}
    for benchmark in loaded.benchmarks:
        for method in loaded.methods_on(benchmark):
            points = candidates(loaded, benchmark, method)
            if points.height and (benchmark, method) not in chosen:
                count = counted(points.height, "point")
                yield f"{benchmark}, {method}: none of {count} satisfies {select}"


def _nothing_to_choose(loaded: LoadedStudy, select: str) -> str:
    if any(
        candidates(loaded, benchmark, method).height
        for benchmark in loaded.benchmarks
        for method in loaded.methods
    ):
        return f"nothing to choose from: no configuration satisfies {select}"
    constraints = loaded.study.constraints
    feasible = f" and satisfied {', '.join(constraints)}" if constraints else ""
    kind = "confirmed trial" if any(map(loaded.is_confirmed, loaded.benchmarks)) else "trial"
    return f"nothing to choose from: no {kind} completed with all its seeds{feasible}"


def _content(
    loaded: LoadedStudy, choices: list[Choice], new_data: list[NewDataChoice], select: str
) -> dict[str, Any]:
    provenance = {
        "study": loaded.study.name,
        "select": select,
        "searches": loaded.study.searches,
        "trials": loaded.study.trials,
        "seeds": loaded.study.seeds,
        "ngm_tune": __version__,
    }
    for key in ("started", "resumed", "git_revision"):
        value = getattr(loaded.environment, key)
        if value:
            provenance[key] = value
    content = {"provenance": provenance, "defaults": [_entry(loaded, each) for each in choices]}
    if new_data:
        content["new_data"] = [_new_data_entry(each) for each in new_data]
    return content


def _entry(loaded: LoadedStudy, choice: Choice) -> dict[str, Any]:
    confirmed = loaded.is_confirmed(choice.benchmark)
    return {
        "benchmark": choice.benchmark,
        "method": choice.method,
        "study": loaded.study.name,
        "repetition": choice.repetition,
        "trial_id": choice.trial_id,
        "why": choice.explanation,
        "evaluated_on": "test data" if confirmed else "validation data",
        "hyperparameters": _storable(choice.hyperparameters),
        "scores": {name: score.mean for name, score in choice.scores.items()},
        "intervals": {
            name: _stored(score, "seeds")
            for name, score in choice.scores.items()
            if not isnan(score.low)
        },
        "over_repetitions": {
            name: _stored(score, "repetitions") for name, score in choice.over_repetitions.items()
        },
        "regret": _stored(choice.regret, "repetitions"),
    }


def _new_data_entry(choice: NewDataChoice) -> dict[str, Any]:
    return {
        "method": choice.method,
        "benchmark": choice.origin,
        "repetition": choice.repetition,
        "trial_id": choice.trial_id,
        "why": choice.explanation,
        "hyperparameters": _storable(choice.hyperparameters),
        "regret": _stored(choice.regret, "repetitions"),
        "left_out": {
            name: _stored(regret, "repetitions") for name, regret in choice.regrets.items()
        },
    }


def _storable(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return hyper-parameters without None, which TOML lacks."""
    return {name: "None" if value is None else value for name, value in hyperparameters.items()}


def _stored(estimate: Estimate, replicates: str) -> dict[str, Any]:
    interval = {} if isnan(estimate.low) else {"interval": [estimate.low, estimate.high]}
    return {"mean": estimate.mean, **interval, replicates: estimate.n}


def _is_replaceable(path: Path) -> bool:
    """Return whether a file is empty, a device, or was written by :func:`write_defaults`."""
    if not path.is_file() or not path.stat().st_size:
        return not path.is_dir()
    try:
        return "defaults" in parse_toml(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
