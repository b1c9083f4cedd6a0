"""What the arms of a study hand out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Phase = Literal["search", "confirm"]


class Configuration(NamedTuple):
    """A configuration to be run, under the name of its trial."""

    trial_id: str
    hyperparameters: dict[str, Any]
    coordinates: dict[str, Any]
    """Of the search; empty where it was not searched."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A run: a configuration with some seeds, a trial of Tune."""

    benchmark: str
    method: str
    phase: Phase
    run_id: str
    seeds: tuple[int, ...]
    trial_id: str
    hyperparameters: dict[str, Any]
    coordinates: dict[str, Any]
