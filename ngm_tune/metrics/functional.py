"""Accuracy curves in, numbers out: the metrics of continual evaluation, on plain arrays.

Notation: a_j(t) is the accuracy on the evaluation set of task j after iteration t, T_k the last
iteration of task k, K the number of tasks. Iterations count from 1 over the whole run.

Sources: [NGM] arXiv 2507.14056; [CE] De Lange, van de Ven and Tuytelaars, "Continual evaluation
for lifelong learning: identifying the stability gap", ICLR 2023; [RW] Chaudhry et al.,
"Riemannian walk for incremental learning", ECCV 2018; [MER] Riemer et al., "Learning to learn
without forgetting by maximizing transfer and minimizing interference", ICLR 2019.
"""

from __future__ import annotations

import numpy as np

from ngm_tune.metrics.curves import AccuracyCurves, Floats, GapOf, transitions

RECOVERY_MARGIN = 0.01
"""Accuracy counts as recovered when it is this close to its value before the transition."""


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
