"""The registry of metrics, with the properties that search, tables and charts use."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from ngm_tune.metrics.curves import AccuracyCurves
from ngm_tune.metrics.functional import (
    average_accuracy,
    average_signed_stability_gap,
    average_stability_gap,
    first_task_accuracy,
    forgetting,
    gap_area,
    learning_accuracy,
    minimum_accuracy,
    recovered,
    recovery,
    windowed_forgetting,
    windowed_plasticity,
    worst_case_accuracy,
)


@dataclass(frozen=True)
class Metric:
    """A metric.

    Attributes:
        name: Column in results and key in studies.
        title: Display name.
        source: The publication that defines it.
        compute: Function that computes it from accuracy curves.
        direction: Whether to maximize or minimize it.
        best: The ideal value.
        worst: Value recorded for a diverged run. None if the metric has no natural bound; then it
            cannot be an objective.
        unit: ``"fraction"`` or ``"iterations"``.
        bounded: Whether no value can be better than the ideal. A signed stability gap can: it is
            negative if accuracy only rises.
        every_task: Whether it depends on all old tasks between task ends, instead of only the first
            and the previous one.
        window: Evaluations must be fewer than this many iterations apart; None without a limit.
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
        """Factor that turns the metric into one to minimize: 1 or -1."""
        return 1.0 if self.direction == "minimize" else -1.0

    def best_among(self, values: Iterable[float]) -> float:
        """Return the best value; the ideal if ``values`` is empty."""
        return min(values, key=lambda value: self.sign * value, default=self.best)


_maximized = partial(Metric, direction="maximize", best=1.0, worst=0.0)
_minimized = partial(Metric, direction="minimize", best=0.0, worst=1.0)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        _maximized("avg_acc", "Average accuracy", "[CE]", average_accuracy),
        _minimized(
            "avg_sg",
            "Stability gap (previous task)",
            "[NGM] eq. SG_k, drops only",
            average_stability_gap,
        ),
        _minimized(
            "avg_sg_first",
            "Stability gap (first task)",
            "[NGM] tables, drops only",
            partial(average_stability_gap, of="first"),
        ),
        _minimized(
            "avg_sg_old",
            "Stability gap (all old tasks)",
            "[NGM], drops only",
            partial(average_stability_gap, of="old"),
            every_task=True,
        ),
        _minimized(
            "avg_sg_signed",
            "Signed stability gap (previous task)",
            "[NGM] eq. SG_k",
            average_signed_stability_gap,
            bounded=False,
        ),
        _minimized(
            "avg_sg_first_signed",
            "Signed stability gap (first task)",
            "[NGM] tables",
            partial(average_signed_stability_gap, of="first"),
            bounded=False,
        ),
        _maximized(
            "min_acc", "Average minimum accuracy", "[CE]", minimum_accuracy, every_task=True
        ),
        _maximized("wc_acc", "Worst-case accuracy", "[CE]", worst_case_accuracy, every_task=True),
        _maximized("first_acc", "First-task accuracy", "[NGM] avg-ACC", first_task_accuracy),
        _maximized("learning_acc", "Learning accuracy", "[MER]", learning_accuracy),
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
        _maximized("recovered", "Transitions recovered", "ngm-tune", recovered),
        _minimized("gap_area", "Gap area", "ngm-tune", gap_area),
        _minimized("forgetting", "Forgetting", "[RW]", forgetting, bounded=False),
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
                (_minimized, "wf", "Windowed forgetting", windowed_forgetting),
                (_maximized, "wp", "Windowed plasticity", windowed_plasticity),
            )
            for window in (10, 100)
        ),
    )
}
"""All metrics by name, in the order of the columns of the results."""


def compute_metrics(curves: AccuracyCurves) -> dict[str, float]:
    """Compute all :data:`METRICS` of a run."""
    return {name: metric.compute(curves) for name, metric in METRICS.items()}
