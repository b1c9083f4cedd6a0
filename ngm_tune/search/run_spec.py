"""What a search hands out: configurations and the runs that train them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Phase = Literal["search", "confirm"]
"""``search`` is evaluated on validation data, ``confirm`` on test data."""


class Configuration(NamedTuple):
    """A configuration under the id of its trial.

    Attributes:
        trial_id: Id of the trial.
        hyperparameters: Hyper-parameters, as the method takes them.
        coordinates: Search coordinates; empty for fixed hyper-parameters.
    """

    trial_id: str
    hyperparameters: dict[str, Any]
    coordinates: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """A run to train: a configuration with some seeds, one trial of Ray Tune."""

    benchmark: str
    method: str
    phase: Phase
    run_id: str
    seeds: tuple[int, ...]
    trial_id: str
    hyperparameters: dict[str, Any]
    coordinates: dict[str, Any]
