"""Choice of one configuration for every method, from all repetitions of its search together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from ngm_tune.messages import counted
from ngm_tune.metrics.curves import Floats
from ngm_tune.metrics.pareto import normalised_hypervolume
from ngm_tune.results.columns import decode_hyperparameters
from ngm_tune.results.schema import Status

from ..formatting import number, settings
from ..loaded_study import LoadedStudy
from .criterion import KNEE, Criterion
from .paired import Estimate, estimate_mean


class Choice(NamedTuple):
    """The chosen configuration of one method on one benchmark.

    Attributes:
        benchmark: Name of the benchmark.
        method: Name of the method.
        repetition: The repetition whose search found the configuration.
        trial_id: The trial with the scores below.
        hyperparameters: Values by name.
        scores: Mean of each objective with its interval over seeds, by metric name. It holds for
            the class order and the split of the repetition.
        over_repetitions: Mean of each objective with its interval over repetitions, where the
            criterion chooses in each repetition alone: what tuning once promises. A method is
            left out of repetitions without a choice.
        regret: Normalised hypervolume that is lost by using one configuration instead of the whole
            front: that of the configurations of a repetition minus that of the one that the
            criterion chooses among them, over repetitions.
        criterion: Why this configuration was chosen, such as ``"best in avg_acc"``.
        n_points: Number of configurations to choose from.
        n_repetitions: Number of repetitions that found them. The criterion can have a choice in
            fewer; ``regret.n`` is their number.
        n_excluded: Confirmed configurations excluded because they failed, diverged or violated a
            constraint.
        from_search: Whether the configuration was chosen by its search scores; the scores are then
            its confirmed scores. Otherwise no interval is given, because the same scores chose.
    """

    benchmark: str
    method: str
    repetition: int
    trial_id: str
    hyperparameters: dict[str, Any]
    scores: dict[str, Estimate]
    over_repetitions: dict[str, Estimate]
    regret: Estimate
    criterion: str
    n_points: int
    n_repetitions: int
    n_excluded: int
    from_search: bool

    @property
    def settings(self) -> str:
        """The hyper-parameters as text."""
        return settings(self.hyperparameters)

    @property
    def explanation(self) -> str:
        """One line with the configuration, its scores and the reason for its choice."""
        scores = ", ".join(
            f"{name} {describe_estimate(score)}" for name, score in self.scores.items()
        )
        text = (
            f"{self.benchmark}, {self.method}: {self.settings or 'no hyper-parameters'} ({scores}):"
            f" {self.criterion} among "
        )
        if not self.from_search:
            return f"{text}{counted(self.n_points, 'point')} on the front"
        points = counted(self.n_points, "confirmed point")
        searches = "the search" if self.n_repetitions == 1 else f"{self.n_repetitions} searches"
        text += f"{points} of {searches}, by validation scores"
        if self.n_excluded:
            text += f"; excluded on test data: {self.n_excluded} (failed, diverged or infeasible)"
        return f"{text}; regret {describe_estimate(self.regret)}"


def describe_estimate(estimate: Estimate) -> str:
    """Return a mean with its interval, such as ``0.940 [0.921, 0.959]``."""
    mean, low, high = estimate[:3]
    return number(mean) if np.isnan(low) else f"{number(mean)} [{number(low)}, {number(high)}]"


def choose(loaded: LoadedStudy, select: str = KNEE) -> list[Choice]:
    """Choose a configuration of every method on every benchmark.

    Confirmed configurations are chosen by their search scores on validation data: the best of
    several test scores would be optimistically biased. Configurations that failed, diverged or
    violated a constraint during confirmation are excluded and counted. The candidates are those of
    all complete repetitions together.

    Search scores are noisy, so the best of several repetitions can owe its rank to an easy split or
    class order, which its confirmation shares. ``over_repetitions`` and ``regret`` are free of
    this: there each repetition chooses for itself.

    In a study of fixed runs there is nothing to choose; the first repetition's run is returned.

    Args:
        loaded: The study.
        select: What to choose by, as in :meth:`~analysis.statistics.criterion.Criterion.parse`.

    Returns:
        One choice per benchmark and method. Methods without an eligible configuration that
        satisfies the criterion are omitted.

    Raises:
        UserError: ``select`` is not a criterion.
    """
    criteria = {
        name: Criterion.parse(select, loaded.objectives, loaded.reference_point(name))
        for name in loaded.study.benchmarks
    }
    choices = [
        _choose(loaded, benchmark, method, criteria[benchmark])
        for benchmark in loaded.benchmarks
        for method in loaded.methods
    ]
    return [choice for choice in choices if choice is not None]


def chooses_by_search(loaded: LoadedStudy, benchmark: str) -> bool:
    """Return whether confirmed configurations are chosen, by their search scores."""
    return loaded.is_confirmed(benchmark) and not loaded.has_fixed_runs


def candidates(loaded: LoadedStudy, benchmark: str, method: str) -> pl.DataFrame:
    """Return the configurations to choose from.

    Their metrics are those that decide: the search scores of confirmed configurations, or else the
    scores themselves. ``trial_id`` is the trial with the scores to report.
    """
    if not chooses_by_search(loaded, benchmark):
        return loaded.evidence(benchmark, method).filter("front")
    confirmed = loaded.evidence(benchmark, method).filter("eligible")
    searched = loaded.search_trials(benchmark, method).rename({"trial_id": "origin"})
    return confirmed.select("trial_id", "origin").join(
        searched, on="origin", how="left", maintain_order="left"
    )


def single_volume(loaded: LoadedStudy, benchmark: str, trials: pl.DataFrame) -> float:
    """Return the normalised hypervolume of feasible trials of a benchmark that did not fail."""
    known = pl.col("status").is_in([Status.COMPLETED, Status.DIVERGED])
    values: Floats = trials.filter(known, "feasible").select(loaded.study.objectives).to_numpy()
    return normalised_hypervolume(values, loaded.objectives, loaded.reference_point(benchmark))


def _choose(
    loaded: LoadedStudy, benchmark: str, method: str, criterion: Criterion
) -> Choice | None:
    points = candidates(loaded, benchmark, method)
    best = criterion.best(points) if points.height else None
    if best is None:
        return None
    from_search = chooses_by_search(loaded, benchmark)
    evidence = loaded.evidence(benchmark, method)
    trial = points["trial_id"][0 if loaded.has_fixed_runs else best]
    row = evidence.row(by_predicate=pl.col("trial_id") == trial, named=True)
    chosen = list(_choices_by_repetition(points, evidence, criterion))
    losses = [
        single_volume(loaded, benchmark, evidence.filter(repetition=each["repetition"][0]))
        - single_volume(loaded, benchmark, each)
        for each in chosen
    ]
    names = [metric.name for metric in loaded.objectives]
    return Choice(
        benchmark=benchmark,
        method=method,
        repetition=row["repetition"],
        trial_id=trial,
        hyperparameters=decode_hyperparameters(row, loaded.domains(method)),
        scores={
            name: score if loaded.is_confirmed(benchmark) else _without_interval(score)
            for name, score in _scores_of_trial(loaded, trial).items()
        },
        over_repetitions={
            name: estimate_mean([each[name][0] for each in chosen]) for name in names
        },
        regret=estimate_mean(losses),
        criterion=criterion.description,
        n_points=points.height,
        n_repetitions=points["repetition"].n_unique(),
        n_excluded=evidence.height - points.height if from_search else 0,
        from_search=from_search,
    )


def _choices_by_repetition(
    points: pl.DataFrame, evidence: pl.DataFrame, criterion: Criterion
) -> Iterator[pl.DataFrame]:
    """Yield the trial that the criterion chooses in each repetition alone, as one row."""
    for of_repetition in points.partition_by("repetition", maintain_order=True):
        best = criterion.best(of_repetition)
        if best is not None:
            yield evidence.filter(trial_id=of_repetition["trial_id"][best])


def _scores_of_trial(loaded: LoadedStudy, trial: str) -> Mapping[str, Estimate]:
    """Return each objective with its interval over seeds."""
    runs = loaded.runs.filter(trial_id=trial)
    return {m.name: estimate_mean(runs[m.name].drop_nulls()) for m in loaded.objectives}


def _without_interval(estimate: Estimate) -> Estimate:
    return Estimate(estimate.mean, np.nan, np.nan, np.nan, np.nan, estimate.n)
