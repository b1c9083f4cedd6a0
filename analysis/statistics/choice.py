"""One point of every front: which, why, and as settings for the optimizer."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import tomli_w

from ngm_tune import __version__
from ngm_tune.errors import UserError
from ngm_tune.metrics.pareto import knee, shortfall
from ngm_tune.results.columns import hyperparameters_of
from ngm_tune.results.filesystem import Directory

from ..formatting import counted
from ..loading import ELIGIBLE, LoadedStudy, load, output_beside


class Choice(NamedTuple):
    """The chosen configuration of one method on one benchmark."""

    benchmark: str
    method: str
    trial_id: str
    hyperparameters: dict[str, Any]
    scores: dict[str, float]
    explanation: str

    @property
    def settings(self) -> str:
        """The hyper-parameters as people read them."""
        return _spelled(self.hyperparameters)


def settings_of(loaded: LoadedStudy, row: dict[str, Any]) -> str:
    """The hyper-parameters of a trial as people read them."""
    return _spelled(hyperparameters_of(row, loaded.domains(row["method"])))


def _spelled(hyperparameters: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in hyperparameters.items()
    )


def choose(loaded: LoadedStudy, pick: str = "knee") -> list[Choice]:
    """Pick a configuration of every front; benchmarks and methods without one are passed over.

    Confirmed configurations are picked by what the search knew of them, on validation data: the
    best of several on test data would be as good there by chance. What diverged or broke one of the
    study's constraints when it was confirmed is passed over, and the explanation says so.

    Args:
        loaded: The study.
        pick: ``"knee"`` (:func:`ngm_tune.metrics.pareto.knee`), or the name of an objective: the point best
            in it.

    Raises:
        UserError: ``pick`` is neither.
    """
    names = [metric.name for metric in loaded.objectives]
    if pick != "knee" and pick not in names:
        raise UserError(f"--pick {pick}: allowed are knee, {', '.join(names)}")
    choices = []
    for benchmark in loaded.benchmarks:
        for method in loaded.methods:
            points, known = _points(loaded, benchmark, method)
            if points.height:
                row = points.row(_index(known, loaded, pick), named=True)
                choices.append(_choice(loaded, row, points.height, pick))
    return choices


def _passed_over(loaded: LoadedStudy, benchmark: str, method: str) -> int:
    """Configurations that are not chosen for how they were confirmed."""
    if loaded.given or not loaded.is_confirmed(benchmark):
        return 0
    confirmed = loaded.confirmed_of(benchmark, method)
    return confirmed.height - confirmed.filter(ELIGIBLE).height


def _points(loaded: LoadedStudy, benchmark: str, method: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The configurations to choose from, and what is known for that, row by row."""
    if loaded.given or not loaded.is_confirmed(benchmark):
        front = loaded.of(benchmark, method).filter("front")
        return front, front
    confirmed = loaded.confirmed_of(benchmark, method).filter(ELIGIBLE)
    search = loaded.searched(benchmark, method)
    known = confirmed.select(trial_id="origin").join(
        search, on="trial_id", how="left", maintain_order="left"
    )
    return confirmed, known


def _index(front: pl.DataFrame, loaded: LoadedStudy, pick: str) -> int:
    objectives, reference_point = loaded.objectives, loaded.study.reference_point
    values = front.select(metric.name for metric in objectives).to_numpy()
    if pick == "knee":
        return knee(values, objectives, reference_point)
    column = next(i for i, metric in enumerate(objectives) if metric.name == pick)
    # Of several equally good points, the one that is better in the others.
    losses = shortfall(values, objectives, reference_point)
    return int(np.lexsort([*np.delete(losses, column, axis=1).T, losses[:, column]])[0])


def _choice(loaded: LoadedStudy, row: dict[str, Any], points: int, pick: str) -> Choice:
    hyperparameters = hyperparameters_of(row, loaded.domains(row["method"]))
    scores = {metric.name: row[metric.name] for metric in loaded.objectives}
    ideal = ", ".join(f"{metric.name} {metric.best:g}" for metric in loaded.objectives)
    why = f"nearest to the ideal ({ideal})" if pick == "knee" else f"best in {pick}"
    chosen_in_search = loaded.is_confirmed(row["benchmark"]) and not loaded.given
    what = "confirmed point" if chosen_in_search else "point"
    where = " of the search, on validation data" if chosen_in_search else ""
    passed_over = _passed_over(loaded, row["benchmark"], row["method"])
    if passed_over:
        where += f", but for {passed_over} that failed, diverged or broke a constraint on test data"
    reached = ", ".join(f"{name} {value:.3f}" for name, value in scores.items())
    settings = _spelled(hyperparameters) or "nothing to tune"
    choice = Choice(
        row["benchmark"], row["method"], row["trial_id"], hyperparameters, scores, explanation=""
    )
    return choice._replace(
        explanation=f"{choice.benchmark}, {choice.method}: {settings} ({reached}): "
        f"{why} of {counted(points, what)} on the front{where}"
    )


def write_defaults(
    location: str, output: Path | None = None, pick: str = "knee"
) -> tuple[Path, list[Choice]]:
    """Write the chosen settings of every method as a TOML file, with where they come from.

    Args:
        location: The results directory.
        output: The file; by default ``defaults.toml`` in the results directory.
        pick: As for :func:`choose`.

    Raises:
        UserError: The results cannot be read, there is nothing to choose from, or the file cannot
            be written, or is another one, which is left as it is.
    """
    loaded = load(location)
    choices = choose(loaded, pick)
    if not choices:
        limits = loaded.study.constraints
        kept = f" and kept {', '.join(limits)}" if limits else ""
        which = "confirmed trial" if any(map(loaded.is_confirmed, loaded.benchmarks)) else "trial"
        raise UserError(
            f"{location}: nothing to choose from: no {which} completed with all its seeds{kept}"
        )
    content = {
        "provenance": {
            "study": loaded.study.name,
            "pick": pick,
            "trials": loaded.study.trials,
            **({"plateaus": loaded.plateaus} if loaded.plateaus else {}),
            "seeds": loaded.study.seeds,
            "ngm_tune": __version__,
            **{
                key: kept
                for key in ("started", "resumed", "git_revision")
                if (kept := getattr(loaded.environment, key))
            },
        },
        "defaults": [
            {
                "benchmark": choice.benchmark,
                "method": choice.method,
                "trial_id": choice.trial_id,
                "why": choice.explanation,
                "evaluated_on": (
                    "test data" if loaded.is_confirmed(choice.benchmark) else "validation data"
                ),
                "hyperparameters": {
                    name: "None" if value is None else value  # which TOML does not have
                    for name, value in choice.hyperparameters.items()
                },
                "scores": choice.scores,
            }
            for choice in choices
        ],
    }
    path = output or output_beside(location, "defaults.toml")
    try:
        if path.exists() and not _may_be_replaced(path):
            raise UserError(
                f"{path}: it is there already and no file of `ngm-tune defaults`, so it is not "
                "replaced; name another with --output"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        place = Path(os.path.realpath(path))  # of a link, what it leads to
        if place.exists() and not place.is_file():  # such as a terminal
            place.write_text(tomli_w.dumps(content), encoding="utf-8")
        else:
            Directory(str(place.parent)).write_text(place.name, tomli_w.dumps(content))
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error}") from error
    return path, choices


def _may_be_replaced(path: Path) -> bool:
    """Whether a file is one as :func:`write_defaults` writes it, or holds nothing."""
    if not path.is_file() or not path.stat().st_size:
        return not path.is_dir()
    try:
        return "defaults" in tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError):
        return False
