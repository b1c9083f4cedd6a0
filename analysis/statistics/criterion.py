"""Criteria that choose one configuration of a front: ``--select`` of the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from ngm_tune.errors import UserError
from ngm_tune.metrics.constraints import Constraint, are_feasible
from ngm_tune.metrics.curves import Floats
from ngm_tune.metrics.pareto import shortfall
from ngm_tune.metrics.registry import Metric

KNEE = "knee"


@dataclass(frozen=True)
class Criterion:
    """What the chosen configuration is best in.

    Attributes:
        deciding: The objectives that decide; the chosen configuration is nearest to their ideal.
        objectives: All objectives of the study; those that do not decide break ties.
        reference_point: The least useful value of each objective. Distances to the ideal are in
            units of the distance from this point to the ideal, so a low least useful accuracy makes
            differences in accuracy count for little.
        constraint: Bound that the chosen configuration satisfies; None without one.
    """

    deciding: Sequence[Metric]
    objectives: Sequence[Metric]
    reference_point: Mapping[str, float]
    constraint: Constraint | None = None

    @classmethod
    def parse(
        cls, text: str, objectives: Sequence[Metric], reference_point: Mapping[str, float]
    ) -> Criterion:
        """Parse a criterion.

        Args:
            text: ``"knee"`` for the point nearest to the ideal; the name of an objective for the
                point that is best in it; or a bound such as ``"avg_acc >= 0.94"`` for the point
                that is best in the other objectives among those that satisfy it.
            objectives: The objectives of the study.
            reference_point: The least useful value of each objective.

        Raises:
            UserError: The text has another form, or bounds the only objective.
        """
        if text == KNEE:
            return cls(objectives, objectives, reference_point)
        by_name = {metric.name: metric for metric in objectives}
        if text in by_name:
            return cls([by_name[text]], objectives, reference_point)
        if not {"<", ">", "="} & set(text):
            raise UserError(
                f"--select {text}: allowed are {KNEE}, {', '.join(by_name)}, and a bound such as "
                '"avg_acc >= 0.94"'
            )
        try:
            constraint = Constraint.parse(text)
        except ValueError as error:
            raise UserError(f"--select: {error}") from None
        others = [metric for metric in objectives if metric != constraint.metric]
        if not others:
            raise UserError(
                f"--select {text}: {constraint.metric.name} is the only objective of the study, so "
                f"no objective is left to choose by; use --select {KNEE}"
            )
        return cls(others, objectives, reference_point, constraint)

    @property
    def description(self) -> str:
        """Why a configuration is chosen, such as ``best in avg_acc``."""
        if len(self.deciding) == 1 < len(self.objectives):
            text = f"best in {self.deciding[0].name}"
        else:
            ideal = ", ".join(f"{metric.name} {metric.best:g}" for metric in self.deciding)
            text = f"nearest to the ideal ({ideal})"
        return text if self.constraint is None else f"{text} with {self.bound}"

    @property
    def bound(self) -> str:
        """The constraint as text; empty without one."""
        if self.constraint is None:
            return ""
        name, at_least, bound = self.constraint.metric.name, *self.constraint[1:]
        return f"{name} {'>=' if at_least else '<='} {bound:g}"

    def losses(self, trials: pl.DataFrame) -> Floats:
        """Return the loss of each trial, smaller for a better one; infinite beyond the constraint.

        It is the distance to the ideal of the deciding objectives. Trials that are worse than the
        reference point in an objective lose to all others.

        Args:
            trials: Trials with a column for each objective, and for the metric of the constraint.

        Returns:
            Shape (N,).
        """
        names = [metric.name for metric in self.objectives]
        short = shortfall(trials.select(names).to_numpy(), self.objectives, self.reference_point)
        decides = [metric in self.deciding for metric in self.objectives]
        losses = np.linalg.norm(short[:, decides], axis=1)
        losses[(short >= 1.0).any(axis=1)] += len(names)  # more than any useful trial can lose
        if self.constraint is not None:
            losses[~self._satisfy(trials)] = np.inf
        return np.asarray(losses)

    def best(self, trials: pl.DataFrame) -> int | None:
        """Return the row of the best trial; None if no trial satisfies the constraint."""
        losses = self.losses(trials)
        if not np.isfinite(losses).any():
            return None
        names = [metric.name for metric in self.objectives]
        short = shortfall(trials.select(names).to_numpy(), self.objectives, self.reference_point)
        return int(np.lexsort([np.linalg.norm(short, axis=1), losses.round(12)])[0])

    def _satisfy(self, trials: pl.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Return which trials satisfy the constraint; those without a value do not."""
        assert self.constraint is not None
        name = self.constraint.metric.name
        if name not in trials.columns:
            return np.zeros(trials.height, dtype=np.bool_)
        values = trials[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
        return np.asarray(are_feasible(self.constraint.violation(values)))
