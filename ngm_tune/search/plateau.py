"""Plateaus: searches that no longer increase their hypervolume."""

from __future__ import annotations

from collections.abc import Callable

from ngm_tune.study.sections import Plateau


def has_levelled_off(volume: Callable[[int], float], runs: int, window: int, rule: Plateau) -> bool:
    """Whether a search improved by at most ``rule.min_improvement`` over its latest runs.

    A search with fewer than ``2 * window`` runs has not levelled off.

    Args:
        volume: Returns the hypervolume of the search after a number of runs.
        runs: Number of runs so far.
        window: Number of latest runs over which the improvement is measured.
        rule: The plateau rule of the study.
    """
    if runs < 2 * window:
        return False
    latest, earlier = volume(runs), volume(runs - window)
    return latest - earlier <= rule.min_improvement * latest
