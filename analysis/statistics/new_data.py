"""Settings for a new data set, and their regret: leave one benchmark out.

Who has a new data set uses settings that were chosen on others. What this loses is measured on
every benchmark of a study with transfers: in each repetition a configuration is chosen on all other
benchmarks together and judged on this one, which took no part in the choice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from ngm_tune.results.columns import CONFIG_PREFIX, decode_hyperparameters

from ..formatting import settings
from ..loaded_study import LoadedStudy
from .choice import candidates, describe_estimate, single_volume
from .criterion import KNEE, Criterion
from .paired import Estimate, estimate_mean
from .transfer import transferred_repetitions, transferred_trials


@dataclass(frozen=True)
class NewDataChoice:
    """The configuration of a method that is chosen on all benchmarks together.

    Attributes:
        method: Name of the method.
        origin: Name of the benchmark whose search found the configuration.
        repetition: The repetition of this search.
        trial_id: The trial of this search.
        hyperparameters: Values by name, without those that belong to a benchmark.
        regrets: By benchmark that is left out: the normalised hypervolume of the configurations
            that were tuned on it, minus that of the one that was chosen on the others, over the
            repetitions in which every benchmark has a choice.
        regret: Mean over the benchmarks left out, over these repetitions. Nothing else is reported:
            the scores of the configuration on these benchmarks chose it.
    """

    method: str
    origin: str
    repetition: int
    trial_id: str
    hyperparameters: dict[str, Any]
    regrets: Mapping[str, Estimate]
    regret: Estimate

    @property
    def explanation(self) -> str:
        """One line with the configuration and its regret."""
        parts = ", ".join(
            f"{describe_estimate(each)} on {benchmark}" for benchmark, each in self.regrets.items()
        )
        return (
            f"new data, {self.method}: {settings(self.hyperparameters) or 'no hyper-parameters'}: "
            f"regret {describe_estimate(self.regret)} on a benchmark that is left out ({parts})"
        )


def choose_for_new_data(loaded: LoadedStudy, select: str = KNEE) -> list[NewDataChoice]:
    """Choose a configuration of every method on all benchmarks together.

    The loss of a configuration is its mean over benchmarks: by its search scores on the benchmark
    where it was found, as in :func:`~analysis.statistics.choice.choose`, and by its test scores on
    the others. A bound must hold on each of them.

    Args:
        loaded: The study.
        select: What to choose by, as in :meth:`~analysis.statistics.criterion.Criterion.parse`.

    Returns:
        One choice per method. Methods without a choice, or whose regret is unknown on some
        benchmark, are omitted; so is every method in a study without transfers.

    Raises:
        UserError: ``select`` is not a criterion.
    """
    criterion = Criterion.parse(select, loaded.objectives, loaded.study.reference_point)
    if not loaded.transferred.height:
        return []
    choices = [_choose(loaded, method, criterion) for method in loaded.methods]
    return [choice for choice in choices if choice is not None]


def _choose(loaded: LoadedStudy, method: str, criterion: Criterion) -> NewDataChoice | None:
    benchmarks = loaded.benchmarks
    repetitions = _judged_repetitions(loaded, method)
    best = _best(loaded, method, benchmarks, repetitions, criterion)
    regrets = {
        benchmark: dict(_regrets(loaded, method, benchmark, repetitions, criterion))
        for benchmark in benchmarks
    }
    common = sorted(set.intersection(*(set(each) for each in regrets.values())))
    if best is None or not common:
        return None
    return NewDataChoice(
        method=method,
        origin=best["benchmark"],
        repetition=best["repetition"],
        trial_id=best["origin"],
        hyperparameters=_shared_hyperparameters(loaded, method, best["origin"]),
        regrets={name: estimate_mean([each[r] for r in common]) for name, each in regrets.items()},
        regret=estimate_mean([np.mean([each[r] for each in regrets.values()]) for r in common]),
    )


def _judged_repetitions(loaded: LoadedStudy, method: str) -> list[int]:
    """Return the repetitions in which all transfers of a method can be judged."""
    pairs = [(one, other) for one in loaded.benchmarks for other in loaded.benchmarks]
    judged = [
        set(transferred_repetitions(loaded, one, other, method))
        for one, other in pairs
        if one != other
    ]
    return sorted(set.intersection(*judged)) if judged else []


def _regrets(
    loaded: LoadedStudy,
    method: str,
    benchmark: str,
    repetitions: Sequence[int],
    criterion: Criterion,
) -> Iterator[tuple[int, float]]:
    """Yield repetition and regret on a benchmark of what is chosen on the others.

    Repetitions in which nothing satisfies the criterion are left out.
    """
    others = [name for name in loaded.benchmarks if name != benchmark]
    for repetition in repetitions:
        best = _best(loaded, method, others, [repetition], criterion)
        if best is None:
            continue
        moved = transferred_trials(loaded, benchmark, best["benchmark"], method)
        tuned = loaded.confirmed_trials(benchmark, method).filter(repetition=repetition)
        yield (
            repetition,
            single_volume(loaded, benchmark, tuned)
            - single_volume(loaded, benchmark, moved.filter(origin=best["origin"])),
        )


def _best(
    loaded: LoadedStudy,
    method: str,
    benchmarks: Sequence[str],
    repetitions: Sequence[int],
    criterion: Criterion,
) -> dict[str, Any] | None:
    """Return the row of the search trial that is best on some benchmarks together, if any is.

    Candidates are the configurations that were selected on these benchmarks, and completed on all
    of them.
    """
    found: list[dict[str, Any]] = []
    losses: list[float] = []
    for origin in benchmarks:
        points = candidates(loaded, origin, method).filter(
            pl.col("repetition").is_in(list(repetitions))
        )
        total = criterion.losses(points) if points.height else np.zeros(0)
        for benchmark in benchmarks:
            if benchmark != origin:
                total = total + _losses_elsewhere(loaded, benchmark, origin, points, criterion)
        found += points.to_dicts()
        losses += total.tolist()
    if not np.isfinite(losses).any():
        return None
    return found[int(np.argmin(np.round(losses, 12)))]


def _losses_elsewhere(
    loaded: LoadedStudy, benchmark: str, origin: str, points: pl.DataFrame, criterion: Criterion
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the loss of configurations on a benchmark where they were not tuned."""
    moved = loaded.transferred.filter("eligible", benchmark=benchmark, origin_benchmark=origin)
    losses = dict(zip(moved["origin"], criterion.losses(moved), strict=True))
    return np.array([losses.get(trial, np.inf) for trial in points["origin"]], dtype=np.float64)


def _shared_hyperparameters(loaded: LoadedStudy, method: str, trial: str) -> dict[str, Any]:
    """Return the hyper-parameters that a configuration has on every benchmark."""
    rows = pl.concat(
        [
            trials.filter(origin=trial).select(_config_columns(loaded))
            for trials in (loaded.confirmed, loaded.transferred)
        ]
    ).to_dicts()
    settings = [decode_hyperparameters(row, loaded.domains(method)) for row in rows]
    return {
        name: value
        for name, value in settings[0].items()
        if all(name in each and each[name] == value for each in settings)
    }


def _config_columns(loaded: LoadedStudy) -> list[str]:
    return [name for name in loaded.confirmed.columns if name.startswith(CONFIG_PREFIX)]
