"""The registry of metrics: what search, tables and charts need to know about each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from ngm_tune.metrics.curves import AccuracyCurves
from ngm_tune.metrics.functional import (
    average_accuracy,
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
