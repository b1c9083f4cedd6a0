"""Stopping trials early that others dominate: what Ray Tune has for one objective, for several.

As in MO-ASHA (Schmucker et al., arXiv 2106.12639) trials are compared at rungs by their
non-dominated rank. The rungs are tasks: after each a trial is measured by its objectives up to
there, and only against trials at the same task, for a short run has seen fewer transitions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ngm_tune.metrics.functional import Metric
from ngm_tune.metrics.pareto import ranks
from ngm_tune.study.sections import Stopping

Values = tuple[float, ...]


def hopeless(
    values: Values, peers: Sequence[Values], objectives: Sequence[Metric], rule: Stopping
) -> bool:
    """Whether a trial should be stopped.

    Args:
        values: Its objectives after some task.
        peers: Those of others after the same task.
        objectives: The metrics.
        rule: From how many peers on, and how many of them must be of a better rank.
    """
    if len(peers) < rule.peers:
        return False
    points = np.array([values, *peers])
    if not np.isfinite(points).all():
        return False  # not all objectives are there yet to be compared
    rank = ranks(points, objectives)
    return bool(np.mean(rank[1:] < rank[0]) >= rule.worse)
