"""Configurations of a search, and specifications of the runs that train them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Phase = Literal["search", "confirm", "transfer"]
"""``search`` runs are evaluated on validation data, the others on test data: ``confirm`` runs of
configurations selected on the same benchmark, ``transfer`` runs of those selected on another."""


class Configuration(NamedTuple):
    """A configuration and the id of its trial.

    Attributes:
        trial_id: Id of the trial.
        hyperparameters: Hyper-parameters with which the method is built.
        coordinates: Search coordinates; empty for fixed hyper-parameters.
    """

    trial_id: str
    hyperparameters: dict[str, Any]
    coordinates: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """Specification of a run: a configuration and the seeds to train it with.

    A run is one trial of Ray Tune.
    """

    benchmark: str
    method: str
    repetition: int
    phase: Phase
    run_id: str
    seeds: tuple[int, ...]
    trial_id: str
    hyperparameters: dict[str, Any]
    coordinates: dict[str, Any]
