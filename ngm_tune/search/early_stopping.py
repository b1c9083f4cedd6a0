"""Early stopping of trials that other trials dominate, for several objectives.

As in MO-ASHA (Schmucker et al., arXiv 2106.12639), trials are compared at rungs by their
non-dominated rank. The rungs are tasks: a trial is compared by its objectives up to the end of a
task, and only with trials at the same task, because a shorter run has seen fewer transitions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ngm_tune.metrics.pareto import ranks
from ngm_tune.metrics.registry import Metric
from ngm_tune.results.outcome import Values
from ngm_tune.study.sections import EarlyStopping


def is_dominated(
    values: Values, peers: Sequence[Values], objectives: Sequence[Metric], rule: EarlyStopping
) -> bool:
    """Whether the share of peers with a better non-dominated rank is large enough to stop a trial.

    Args:
        values: Objectives of the trial after a task.
        peers: Objectives of other trials after the same task.
        objectives: The metrics.
        rule: The early-stopping rule of the study.
    """
    if len(peers) < rule.min_peers:
        return False
    points = np.array([values, *peers])
    if not np.isfinite(points).all():
        return False  # an objective is not defined before the first transition
    rank = ranks(points, objectives)
    return bool(np.mean(rank[1:] < rank[0]) >= rule.quantile)
