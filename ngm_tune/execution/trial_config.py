"""What the worker of a trial is told."""

from __future__ import annotations

from typing import Any, TypedDict

from ngm_tune.search.run_spec import Phase
from ngm_tune.training.options import EvalTasks, Precision, ProbeName, Strategy


class TrialConfig(TypedDict):
    """The config of a trial of Tune: plain values only, as they go to other machines."""

    study: str
    results: str
    """The results directory: a path or URI that every node reaches under the same name."""
    benchmark: str
    method: str
    trial_id: str
    run_id: str
    phase: Phase
    seeds: list[int]
    hyperparameters: dict[str, Any]
    hyperparameter_columns: dict[str, str]
    """Types of the columns ``config_*``, by name, of all methods together."""
    coordinates: dict[str, Any]
    coordinate_columns: dict[str, str]
    """Likewise of the columns ``search_*``."""
    objectives: list[str]
    constraints: list[str]
    stopping: bool
    """Whether it may be stopped early, and so brings along what is to be written then."""
    iterations_per_task: int
    eval_every: int
    eval_dense: int
    evaluate: EvalTasks
    eval_precision: Precision
    variant: Strategy
    buffer_size: int | None
    custom: dict[str, Any] | None
    """What the benchmark ``custom`` is."""
    probes: list[ProbeName]
    probe_every: int
    threads: int
    device: str
    checkpoint_seconds: float
