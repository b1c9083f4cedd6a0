"""What the arms of a study hand out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Phase = Literal["search", "confirm"]


@dataclass(frozen=True)
class Proposal:
    """A run: a configuration with some seeds, a trial of Tune.

    ``trial_id`` names the configuration, ``run_id`` this run of it; ``coordinates`` are those of
    the search, where it was searched.
    """

    benchmark: str
    method: str
    phase: Phase
    trial_id: str
    run_id: str
    seeds: tuple[int, ...]
    hyperparameters: dict[str, Any]
    coordinates: dict[str, Any]
