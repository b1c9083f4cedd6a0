"""Metrics of continual evaluation, computed from accuracy curves.

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
"""Accuracy has recovered when it is at most this far below its value before the transition."""


def average_accuracy(curves: AccuracyCurves) -> float:
    """Return (1/K) sum_j a_j(T_K): the accuracy over all tasks at the end of the run."""
    return float(curves.at_task_ends()[-1].mean())


def first_task_accuracy(curves: AccuracyCurves) -> float:
    """Return avg-ACC of [NGM], (1/K) sum_k a_1(T_k). It hides underfitting of later tasks."""
    return float(curves.at_task_ends()[:, 0].mean())


def learning_accuracy(curves: AccuracyCurves) -> float:
    """Return (1/K) sum_j a_j(T_j): the accuracy on each task at its own end."""
    return float(np.diagonal(curves.at_task_ends()).mean())


def minimum_accuracy(curves: AccuracyCurves) -> float:
    """Return min-ACC of [CE], (1/(K-1)) sum_{j<K} min_{T_j < t <= T_K} a_j(t).

    NaN for a single task.
    """
    if curves.tasks < 2:
        return float("nan")
    ends = curves.task_ends
    minima = [curves.between(ends[j], ends[-1])[1][:, j].min() for j in range(curves.tasks - 1)]
    return float(np.mean(minima))


def worst_case_accuracy(curves: AccuracyCurves) -> float:
    """Return WC-ACC of [CE], a_K(T_K)/K + (1 - 1/K) min-ACC."""
    newest = float(curves.at_task_ends()[-1, -1])
    if curves.tasks < 2:
        return newest
    return newest / curves.tasks + (1.0 - 1.0 / curves.tasks) * minimum_accuracy(curves)


def stability_gaps(curves: AccuracyCurves, of: GapOf = "previous") -> Floats:
    """Return the stability gap of each transition, shape (K-1,), between 0 and 1.

    SG_k = max(0, (a(T_{k-1}) - min_{T_{k-1} < t <= T_k} a(t)) / a(T_{k-1})). The gap is a drop: it
    is 1 if accuracy falls to zero, and 0 if accuracy never falls below its value before the
    transition. Without the maximum, a rise on a task that was hardly learned could offset the total
    loss of another one. If a(T_{k-1}) is 0, nothing was learned, and the gap is 1, the worst value.

    Args:
        curves: The accuracy curves of a run.
        of: The accuracy a: on the ``"previous"`` task (the equation of [NGM]), on the ``"first"``
            task (the tables of [NGM]), or the mean over all ``"old"`` tasks.
    """
    gaps = [
        1.0 if before == 0.0 else np.maximum(0.0, (before - accuracy.min()) / before)
        for before, _, accuracy in transitions(curves, of)
    ]
    return np.array(gaps, dtype=np.float64)


def signed_stability_gaps(curves: AccuracyCurves, of: GapOf = "previous") -> Floats:
    """Return SG_k as the equation of [NGM] defines it, shape (K-1,), to compare with the paper.

    SG_k = (a(T_{k-1}) - min_{T_{k-1} < t <= T_k} a(t)) / a(T_{k-1}). It is negative if accuracy
    only rises. The equation is undefined if a(T_{k-1}) is 0; the gap is then 0.

    Args:
        curves: The accuracy curves of a run.
        of: The accuracy a, as for :func:`stability_gaps`.
    """
    gaps = [
        0.0 if before == 0.0 else (before - accuracy.min()) / before
        for before, _, accuracy in transitions(curves, of)
    ]
    return np.array(gaps, dtype=np.float64)


def average_stability_gap(curves: AccuracyCurves, of: GapOf = "previous") -> float:
    """Return the mean of :func:`stability_gaps` over transitions; NaN for a single task."""
    return _mean(stability_gaps(curves, of))


def average_signed_stability_gap(curves: AccuracyCurves, of: GapOf = "previous") -> float:
    """Return the mean of :func:`signed_stability_gaps`; NaN for a single task."""
    return _mean(signed_stability_gaps(curves, of))


def recovery_times(curves: AccuracyCurves, of: GapOf = "previous") -> Floats:
    """Return the iterations from each transition until accuracy has recovered, shape (K-1,).

    Accuracy has recovered at the first evaluation, from its minimum on, that is at most one
    percentage point below a(T_{k-1}). The time is 0 if accuracy never fell further than that, and
    NaN (censored) if accuracy did not recover during the task.
    """
    times = []
    for before, elapsed, accuracy in transitions(curves, of):
        low = int(accuracy.argmin())
        # The tolerance exceeds the rounding of float32, in which accuracies are stored. It is much
        # less than 1/N, the accuracy of one of N examples.
        within = accuracy >= before - RECOVERY_MARGIN - 1e-6
        recoveries = np.flatnonzero(within[low:])
        if within.all():
            times.append(0.0)
        else:
            times.append(float(elapsed[low + recoveries[0]]) if recoveries.size else np.nan)
    return np.array(times, dtype=np.float64)


def recovery(curves: AccuracyCurves) -> float:
    """Return the mean of :func:`recovery_times`; a censored time counts as the task's length."""
    times = recovery_times(curves)
    return _mean(np.where(np.isnan(times), np.diff(curves.task_ends), times))


def recovered(curves: AccuracyCurves) -> float:
    """Return the share of transitions after which accuracy on the previous task recovered."""
    return _mean(np.isfinite(recovery_times(curves)).astype(np.float64))


def gap_area(curves: AccuracyCurves) -> float:
    """Return the mean of max(0, a(T_{k-1}) - a(t)) over the iterations t of a task.

    The means of the tasks are averaged over transitions. With sparse evaluation, each value is
    weighted by the number of iterations since the previous evaluation.
    """
    areas = []
    for before, elapsed, accuracy in transitions(curves):
        weights = np.diff(elapsed, prepend=0)
        areas.append(np.average(np.maximum(0.0, before - accuracy), weights=weights))
    return _mean(np.array(areas))


def windowed_forgetting(curves: AccuracyCurves, window: int) -> float:
    """Return WF^w of [CE]: the largest fall of a_j within ``window`` iterations, mean over tasks j.

    NaN if a fall could be missed: if an evaluation omits a task whose training has begun, or if
    evaluations are ``window`` or more iterations apart.

    A window spans ``window`` iterations, as in the definition. The code of [CE] counts evaluations
    instead, so with sparse evaluation its windows are longer.
    """
    return _largest_change(curves, window, sign=-1.0)


def windowed_plasticity(curves: AccuracyCurves, window: int) -> float:
    """Return WP^w of [CE]: the largest rise of a_j within ``window`` iterations, mean over tasks j.

    NaN if a rise could be missed. Windows are those of :func:`windowed_forgetting`. The code of
    [CE] considers only rises from values that are the highest of their window so far, which makes
    its WP^w smaller.
    """
    return _largest_change(curves, window, sign=1.0)


def _largest_change(curves: AccuracyCurves, window: int, sign: float) -> float:
    iterations, accuracy = curves.between(0, int(curves.task_ends[-1]))
    starts = np.concatenate(([0], curves.task_ends[:-1]))
    omits_task = np.isnan(accuracy[iterations[:, np.newaxis] > starts]).any()
    if omits_task or np.diff(iterations, prepend=0).max() >= window:
        return float("nan")
    largest = np.zeros(curves.tasks)
    for lag in range(1, min(window, len(iterations))):
        change = sign * (accuracy[lag:] - accuracy[:-lag])
        change[iterations[lag:] - iterations[:-lag] >= window] = 0.0
        largest = np.fmax(largest, np.fmax.reduce(change, axis=0))
    return float(largest.mean())


def forgetting(curves: AccuracyCurves) -> float:
    """Return the forgetting of [RW]: max_{k<K} a_j(T_k) - a_j(T_K), mean over tasks j < K.

    Avalanche's forgetting is the negative of its backward transfer instead: it compares with the
    accuracy right after the task was learned, a_j(T_j), not with the highest one since.

    NaN for a single task.
    """
    at_ends = curves.at_task_ends()
    lost = [at_ends[j:-1, j].max() - at_ends[-1, j] for j in range(curves.tasks - 1)]
    return _mean(np.array(lost))


def _mean(values: Floats) -> float:
    return float(values.mean()) if values.size else float("nan")
