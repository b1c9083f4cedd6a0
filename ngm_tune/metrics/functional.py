"""Accuracy curves in, numbers out: the metrics of continual evaluation, on plain arrays.

Notation: a_j(t) is the accuracy on the evaluation set of task j after iteration t, T_k the last
iteration of task k, K the number of tasks. Iterations count from 1 over the whole run.

Sources: [NGM] arXiv 2507.14056; [CE] De Lange, van de Ven and Tuytelaars, "Continual evaluation
for lifelong learning: identifying the stability gap", ICLR 2023; [RW] Chaudhry et al.,
"Riemannian walk for incremental learning", ECCV 2018; [MER] Riemer et al., "Learning to learn
without forgetting by maximizing transfer and minimizing interference", ICLR 2019.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
GapOf = Literal["previous", "first", "old"]

RECOVERY_MARGIN = 0.01
"""Accuracy counts as recovered when it is this close to its value before the transition."""


class AccuracyCurves:
    """Accuracy on every task over the iterations of one run.

    Args:
        iterations: Iterations after which accuracy was evaluated, shape (E,), increasing.
        accuracy: a_j(t) as fractions, shape (E, K); NaN where a task was not evaluated, as before
            it was first seen.
        task_ends: T_k, shape (K,), increasing; each one of ``iterations``.

    Raises:
        ValueError: Shapes do not fit, iterations do not increase, or a task's end was not
            evaluated.
    """

    def __init__(self, iterations: ArrayLike, accuracy: ArrayLike, task_ends: ArrayLike) -> None:
        self.iterations: Ints = np.asarray(iterations, dtype=np.int64)
        self.accuracy: Floats = np.asarray(accuracy, dtype=np.float64)
        self.task_ends: Ints = np.asarray(task_ends, dtype=np.int64)
        expected = (len(self.iterations), len(self.task_ends))
        if self.accuracy.shape != expected:
            raise ValueError(f"accuracy has shape {self.accuracy.shape}, expected {expected}")
        if np.any(np.diff(self.iterations) <= 0) or np.any(np.diff(self.task_ends) <= 0):
            raise ValueError("iterations and task_ends must increase")
        missing = np.setdiff1d(self.task_ends, self.iterations)
        if missing.size:
            raise ValueError(f"no accuracy after iteration {missing[0]}, the end of a task")

    @property
    def tasks(self) -> int:
        """K."""
        return len(self.task_ends)

    def at_task_ends(self) -> Floats:
        """a_j(T_k), shape (K, K): row k after task k, column j for task j."""
        return self.accuracy[np.searchsorted(self.iterations, self.task_ends)]

    def between(self, after: int, until: int) -> tuple[Ints, Floats]:
        """Iterations in ``(after, until]``, shape (E',), and accuracy there, shape (E', K)."""
        part = slice(*np.searchsorted(self.iterations, [after, until], side="right"))
        return self.iterations[part], self.accuracy[part]


class Transition(NamedTuple):
    """One old-task accuracy curve across one transition."""

    before: float
    """a(T_{k-1}), the accuracy when the new task appears."""
    elapsed: Ints
    """Iterations since the transition, shape (E',), from 1 to the length of task k."""
    accuracy: Floats
    """a(t) while task k is trained, shape (E',)."""


def transitions(curves: AccuracyCurves, of: GapOf = "previous") -> list[Transition]:
    """The K-1 transitions, seen by the previous task, the first, or the mean of all old ones."""
    ends = curves.task_ends
    at_ends = curves.at_task_ends()
    found = []
    for task in range(1, curves.tasks):
        column = {
            "previous": slice(task - 1, task),
            "first": slice(0, 1),
            "old": slice(0, task),
        }[of]
        iterations, accuracy = curves.between(ends[task - 1], ends[task])
        found.append(
            Transition(
                before=float(at_ends[task - 1 : task, column].mean(axis=1)[0]),
                elapsed=iterations - ends[task - 1],
                accuracy=accuracy[:, column].mean(axis=1),
            )
        )
    return found


def average_accuracy(curves: AccuracyCurves) -> float:
    """(1/K) sum_j a_j(T_K): accuracy over all tasks at the end of the run."""
    return float(curves.at_task_ends()[-1].mean())


def first_task_accuracy(curves: AccuracyCurves) -> float:
    """(1/K) sum_k a_1(T_k): the avg-ACC of [NGM], which hides underfitting of later tasks."""
    return float(curves.at_task_ends()[:, 0].mean())


def learning_accuracy(curves: AccuracyCurves) -> float:
    """(1/K) sum_j a_j(T_j): accuracy on each task when it was just learned."""
    return float(np.diagonal(curves.at_task_ends()).mean())


def minimum_accuracy(curves: AccuracyCurves) -> float:
    """min-ACC of [CE]: (1/(K-1)) sum_{j<K} min_{T_j < t <= T_K} a_j(t); NaN for a single task."""
    if curves.tasks < 2:
        return float("nan")
    ends = curves.task_ends
    minima = [curves.between(ends[j], ends[-1])[1][:, j].min() for j in range(curves.tasks - 1)]
    return float(np.mean(minima))


def worst_case_accuracy(curves: AccuracyCurves) -> float:
    """WC-ACC of [CE]: a_K(T_K)/K + (1 - 1/K) min-ACC."""
    newest = float(curves.at_task_ends()[-1, -1])
    if curves.tasks < 2:
        return newest
    return newest / curves.tasks + (1.0 - 1.0 / curves.tasks) * minimum_accuracy(curves)


def stability_gaps(curves: AccuracyCurves, of: GapOf = "previous") -> Floats:
    """SG_k = (a(T_{k-1}) - min_{T_{k-1} < t <= T_k} a(t)) / a(T_{k-1}), shape (K-1,).

    At most 1 (accuracy fell to zero); 0 on a flat curve; negative where accuracy only rose. Where
    a(T_{k-1}) is 0 there was nothing to lose and the gap is 0.

    Args:
        curves: The run.
        of: Whose accuracy a is: that of the ``"previous"`` task (the equation of [NGM]), of the
            ``"first"`` task (its tables), or the mean over all ``"old"`` tasks.
    """
    gaps = [
        0.0 if before == 0.0 else (before - accuracy.min()) / before
        for before, _, accuracy in transitions(curves, of)
    ]
    return np.array(gaps, dtype=np.float64)


def average_stability_gap(curves: AccuracyCurves, of: GapOf = "previous") -> float:
    """Mean of :func:`stability_gaps` over the K-1 transitions; NaN for a single task."""
    return _mean(stability_gaps(curves, of))


def recovery_times(curves: AccuracyCurves, of: GapOf = "previous") -> Floats:
    """Iterations from each transition until accuracy is back, shape (K-1,).

    Counted to the first evaluation from the lowest point on that lies within one percentage point
    of a(T_{k-1}); 0 where accuracy never left that margin, NaN (censored) where it did not return.
    """
    times = []
    for before, elapsed, accuracy in transitions(curves, of):
        low = int(accuracy.argmin())
        # Far below 1/N, and above the last bit of accuracies in float32, as they are kept.
        back = accuracy >= before - RECOVERY_MARGIN - 1e-6
        returned = np.flatnonzero(back[low:])
        if back.all():
            times.append(0.0)
        else:
            times.append(float(elapsed[low + returned[0]]) if returned.size else np.nan)
    return np.array(times, dtype=np.float64)


def recovery(curves: AccuracyCurves) -> float:
    """Mean of :func:`recovery_times`, a censored one counted as its task's full length."""
    times = recovery_times(curves)
    return _mean(np.where(np.isnan(times), np.diff(curves.task_ends), times))


def recovered(curves: AccuracyCurves) -> float:
    """Share of transitions after which accuracy on the previous task came back."""
    return _mean(np.isfinite(recovery_times(curves)).astype(np.float64))


def gap_area(curves: AccuracyCurves) -> float:
    """Mean over a task's iterations of max(0, a(T_{k-1}) - a(t)), then over transitions.

    Where evaluation is sparse, each value stands for the iterations since the one before it.
    """
    areas = []
    for before, elapsed, accuracy in transitions(curves):
        weights = np.diff(elapsed, prepend=0)
        areas.append(np.average(np.maximum(0.0, before - accuracy), weights=weights))
    return _mean(np.array(areas))


def windowed_forgetting(curves: AccuracyCurves, window: int) -> float:
    """WF^w of [CE]: the largest fall of a_j within ``window`` iterations, mean over tasks j.

    NaN where changes could be missed: where a task was left out of an evaluation since its training
    began, or evaluations are a window or more apart.
    """
    return _largest_change(curves, window, sign=-1.0)


def windowed_plasticity(curves: AccuracyCurves, window: int) -> float:
    """WP^w of [CE]: the largest rise of a_j within ``window`` iterations, mean over tasks j.

    NaN as for :func:`windowed_forgetting`.
    """
    return _largest_change(curves, window, sign=1.0)


def _largest_change(curves: AccuracyCurves, window: int, sign: float) -> float:
    iterations, accuracy = curves.between(0, int(curves.task_ends[-1]))
    begins = np.concatenate(([0], curves.task_ends[:-1]))
    left_out = np.isnan(accuracy[iterations[:, np.newaxis] > begins]).any()
    if left_out or np.diff(iterations, prepend=0).max() >= window:
        return float("nan")
    largest = np.zeros(curves.tasks)
    for lag in range(1, min(window, len(iterations))):
        change = sign * (accuracy[lag:] - accuracy[:-lag])
        change[iterations[lag:] - iterations[:-lag] >= window] = 0.0
        largest = np.fmax(largest, np.fmax.reduce(change, axis=0))
    return float(largest.mean())


def forgetting(curves: AccuracyCurves) -> float:
    """[RW]: mean over j < K of the best a_j(T_k), k < K, minus a_j(T_K); NaN for a single task."""
    at_ends = curves.at_task_ends()
    lost = [at_ends[j:-1, j].max() - at_ends[-1, j] for j in range(curves.tasks - 1)]
    return _mean(np.array(lost))


def _mean(values: Floats) -> float:
    return float(values.mean()) if values.size else float("nan")


@dataclass(frozen=True)
class Metric:
    """A metric with everything that search, tables and charts need to know of it.

    Attributes:
        name: Column in results and key in studies.
        title: Display name.
        source: Where it is defined.
        compute: From curves to the number.
        direction: What is better.
        best: The ideal.
        worst: The value recorded for a run that diverged; None where there is no natural bound,
            and such a metric cannot be an objective.
        unit: ``"fraction"`` or ``"iterations"``.
        bounded: Whether no value is better than the ideal; a gap is, where accuracy only rose.
        every_task: Whether it looks at every old task between task ends, and not only at the first
            and the previous one.
        window: It needs evaluations less than so many iterations apart.
    """

    name: str
    title: str
    source: str
    compute: Callable[[AccuracyCurves], float]
    direction: Literal["maximize", "minimize"]
    best: float
    worst: float | None
    unit: Literal["fraction", "iterations"] = "fraction"
    bounded: bool = True
    every_task: bool = False
    window: int | None = None

    @property
    def sign(self) -> float:
        """Multiplies a value into one that is to be minimised."""
        return 1.0 if self.direction == "minimize" else -1.0

    def best_among(self, values: Iterable[float]) -> float:
        """The best of some values; the ideal if there are none."""
        return min(values, key=lambda value: self.sign * value, default=self.best)


_up = partial(Metric, direction="maximize", best=1.0, worst=0.0)
_down = partial(Metric, direction="minimize", best=0.0, worst=1.0)

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        _up("avg_acc", "Average accuracy", "[CE]", average_accuracy),
        _down(
            "avg_sg",
            "Stability gap (previous task)",
            "[NGM] eq. SG_k",
            average_stability_gap,
            bounded=False,
        ),
        _down(
            "avg_sg_first",
            "Stability gap (first task)",
            "[NGM] tables",
            partial(average_stability_gap, of="first"),
            bounded=False,
        ),
        _down(
            "avg_sg_old",
            "Stability gap (all old tasks)",
            "[NGM]",
            partial(average_stability_gap, of="old"),
            bounded=False,
            every_task=True,
        ),
        _up("min_acc", "Average minimum accuracy", "[CE]", minimum_accuracy, every_task=True),
        _up("wc_acc", "Worst-case accuracy", "[CE]", worst_case_accuracy, every_task=True),
        _up("first_acc", "First-task accuracy", "[NGM] avg-ACC", first_task_accuracy),
        _up("learning_acc", "Learning accuracy", "[MER]", learning_accuracy),
        Metric(
            "recovery",
            "Recovery time",
            "ngm-tune",
            recovery,
            direction="minimize",
            best=0.0,
            worst=None,
            unit="iterations",
        ),
        _up("recovered", "Transitions recovered", "ngm-tune", recovered),
        _down("gap_area", "Gap area", "ngm-tune", gap_area),
        _down("forgetting", "Forgetting", "[RW]", forgetting, bounded=False),
        *(
            make(
                f"{name}_{window}",
                f"{title}, {window}",
                "[CE]",
                partial(compute, window=window),
                every_task=True,
                window=window,
            )
            for make, name, title, compute in (
                (_down, "wf", "Windowed forgetting", windowed_forgetting),
                (_up, "wp", "Windowed plasticity", windowed_plasticity),
            )
            for window in (10, 100)
        ),
    )
}
"""Every metric by name, in the order of the columns."""


def compute_metrics(curves: AccuracyCurves) -> dict[str, float]:
    """All of :data:`METRICS` for one run."""
    return {name: metric.compute(curves) for name, metric in METRICS.items()}
