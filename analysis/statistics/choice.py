"""Choice of one configuration of every front."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import polars as pl

from ngm_tune.errors import UserError
from ngm_tune.messages import counted
from ngm_tune.metrics.pareto import shortfall
from ngm_tune.metrics.selection import find_knee
from ngm_tune.results.columns import decode_hyperparameters

from ..formatting import settings
from ..loaded_study import LoadedStudy


class Choice(NamedTuple):
    """The chosen configuration of one method on one benchmark.

    Attributes:
        benchmark: Name of the benchmark.
        method: Name of the method.
        trial_id: The trial with the scores below.
        hyperparameters: Values by name.
        scores: Mean over seeds of each objective, by metric name.
        criterion: Why this configuration was chosen, such as ``"best in avg_acc"``.
        n_points: Number of configurations to choose from.
        n_excluded: Confirmed configurations excluded because they failed, diverged or violated a
            constraint.
        from_search: Whether the configuration was chosen by its search scores; ``scores`` are then
            its confirmed scores.
    """

    benchmark: str
    method: str
    trial_id: str
    hyperparameters: dict[str, Any]
    scores: dict[str, float]
    criterion: str
    n_points: int
    n_excluded: int
    from_search: bool

    @property
    def settings(self) -> str:
        """The hyper-parameters as text."""
        return settings(self.hyperparameters)

    @property
    def explanation(self) -> str:
        """One line with the configuration, its scores and the reason for its choice."""
        scores = ", ".join(f"{name} {value:.3f}" for name, value in self.scores.items())
        text = (
            f"{self.benchmark}, {self.method}: {self.settings or 'no hyper-parameters'} ({scores}):"
            f" {self.criterion} among "
        )
        if not self.from_search:
            return f"{text}{counted(self.n_points, 'point')} on the front"
        points = counted(self.n_points, "confirmed point")
        text += f"{points} on the front of the search, by validation scores"
        if self.n_excluded:
            text += f"; excluded on test data: {self.n_excluded} (failed, diverged or infeasible)"
        return text


def choose(loaded: LoadedStudy, pick: str = "knee") -> list[Choice]:
    """Choose a configuration of every front.

    Confirmed configurations are chosen by their search scores on validation data: the best of
    several test scores would be optimistically biased. Configurations that failed, diverged or
    violated a constraint during confirmation are excluded and counted.

    Args:
        loaded: The study.
        pick: ``"knee"`` for the point nearest to the ideal
            (:func:`ngm_tune.metrics.selection.find_knee`), or the name of the objective in which
            the chosen point is best.

    Returns:
        One choice per benchmark and method; methods without an eligible configuration are omitted.

    Raises:
        UserError: ``pick`` is neither ``"knee"`` nor an objective.
    """
    names = [metric.name for metric in loaded.objectives]
    if pick != "knee" and pick not in names:
        raise UserError(f"--pick {pick}: allowed are knee, {', '.join(names)}")
    choices = []
    for benchmark in loaded.benchmarks:
        for method in loaded.methods:
            points, estimates = _points(loaded, benchmark, method)
            if points.height:
                row = points.row(_index(estimates, loaded, pick), named=True)
                choices.append(_choice(loaded, row, points.height, pick))
    return choices


def _chooses_by_search(loaded: LoadedStudy, benchmark: str) -> bool:
    return loaded.is_confirmed(benchmark) and not loaded.has_fixed_runs


def _points(loaded: LoadedStudy, benchmark: str, method: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the configurations to choose from and, in the same order, the deciding scores."""
    if not _chooses_by_search(loaded, benchmark):
        front = loaded.evidence(benchmark, method).filter("front")
        return front, front
    confirmed = loaded.evidence(benchmark, method).filter("eligible")
    estimates = confirmed.select(trial_id="origin").join(
        loaded.search_trials(benchmark, method), on="trial_id", how="left", maintain_order="left"
    )
    return confirmed, estimates


def _index(points: pl.DataFrame, loaded: LoadedStudy, pick: str) -> int:
    objectives, reference_point = loaded.objectives, loaded.study.reference_point
    values = points.select(metric.name for metric in objectives).to_numpy()
    if pick == "knee":
        return find_knee(values, objectives, reference_point)
    column = next(i for i, metric in enumerate(objectives) if metric.name == pick)
    # The other objectives break ties.
    losses = shortfall(values, objectives, reference_point)
    return int(np.lexsort([*np.delete(losses, column, axis=1).T, losses[:, column]])[0])


def _choice(loaded: LoadedStudy, row: dict[str, Any], n_points: int, pick: str) -> Choice:
    benchmark, method = row["benchmark"], row["method"]
    ideal = ", ".join(f"{metric.name} {metric.best:g}" for metric in loaded.objectives)
    from_search = _chooses_by_search(loaded, benchmark)
    n_confirmed = loaded.evidence(benchmark, method).height
    return Choice(
        benchmark,
        method,
        row["trial_id"],
        decode_hyperparameters(row, loaded.domains(method)),
        {metric.name: row[metric.name] for metric in loaded.objectives},
        f"nearest to the ideal ({ideal})" if pick == "knee" else f"best in {pick}",
        n_points,
        n_confirmed - n_points if from_search else 0,
        from_search,
    )
