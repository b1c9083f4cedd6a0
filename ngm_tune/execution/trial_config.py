"""The config of a trial: all information that its worker needs."""

from __future__ import annotations

import math
import os
from typing import Any, TypedDict

from ngm_tune.errors import UserError
from ngm_tune.methods.files import MethodsFile
from ngm_tune.methods.registry import current_registry
from ngm_tune.results.columns import Kind
from ngm_tune.search.run_spec import Phase, RunSpec
from ngm_tune.study.plan import StudyPlan
from ngm_tune.study.study import Study
from ngm_tune.training.options import EvalTasks, EvaluationMode, Precision, ProbeName, Strategy

_CHECKPOINT_SECONDS = "NGM_TUNE_CHECKPOINT_SECONDS"
"""Environment variable: seconds between checkpoints of a trial."""
_DEFAULT_CHECKPOINT_SECONDS = 10.0


class TrialConfig(TypedDict):
    """The config of a trial, as plain values that can be sent to other machines."""

    study: str
    results: str
    """Results directory: a path or URI that every node reaches under the same name."""
    benchmark: str
    method: str
    methods_files: list[MethodsFile]
    """Files with methods, which the worker registers before it looks the method up."""
    repetition: int
    trial_id: str
    run_id: str
    phase: Phase
    seeds: list[int]
    hyperparameters: dict[str, Any]
    hyperparameter_columns: dict[str, Kind]
    """The columns ``config_*`` of each hyper-parameter, for all methods of the study."""
    coordinates: dict[str, Any]
    coordinate_columns: dict[str, Kind]
    """The columns ``search_*`` of each search coordinate, for all methods of the study."""
    objectives: list[str]
    constraints: list[str]
    iterations_per_task: int
    split_seed: int | None
    """Seed of the validation split; None for that of the benchmark."""
    order_seed: int | None
    """Seed of the class order; None for that of the benchmark."""
    eval_examples: int | None
    evaluation: EvaluationMode
    eval_every: int
    eval_dense: int
    eval_tasks: EvalTasks
    eval_precision: Precision
    strategy: Strategy
    buffer_size: int | None
    custom: dict[str, Any] | None
    """Definition of the benchmark ``custom``."""
    probes: list[ProbeName]
    probe_every: int
    threads: int
    device: str
    checkpoint_seconds: float


def build_trial_config(plan: StudyPlan, location: str, spec: RunSpec) -> TrialConfig:
    """Build the config of a run.

    Confirmations and transfers are evaluated after every iteration, on examples from all of the
    test data, in float32; only the key ``evaluation`` is that of the search.
    """
    study = plan.study
    is_confirmation = spec.phase != "search" and study.settings is None
    arrangement = plan.arrangement(spec.benchmark, spec.repetition)
    return {
        "study": study.name,
        "results": location,
        "benchmark": spec.benchmark,
        "method": spec.method,
        "methods_files": list(current_registry().files),
        "repetition": spec.repetition,
        "trial_id": spec.trial_id,
        "run_id": spec.run_id,
        "phase": spec.phase,
        "seeds": list(spec.seeds),
        "hyperparameters": plan.fixed_hyperparameters(spec.benchmark, spec.method)
        | spec.hyperparameters,
        "hyperparameter_columns": plan.hyperparameters,
        "coordinates": spec.coordinates,
        "coordinate_columns": plan.coordinates,
        "objectives": study.objectives,
        "constraints": study.constraints,
        "iterations_per_task": plan.iterations(spec.benchmark),
        "split_seed": arrangement.split_seed,
        "order_seed": arrangement.order_seed,
        "eval_examples": None if is_confirmation else study.eval_examples,
        "evaluation": study.evaluation,
        "eval_every": 1 if is_confirmation else study.eval_every,
        "eval_dense": 0 if is_confirmation else study.eval_dense,
        "eval_tasks": "seen" if is_confirmation else study.eval_tasks,
        "eval_precision": "float32" if is_confirmation else study.eval_precision,
        "strategy": study.strategy,
        "buffer_size": study.buffer_size,
        "custom": study.custom.model_dump() if study.custom else None,
        "probes": study.probes,
        "probe_every": study.probe_every,
        "threads": study.resources.cpu,
        "device": device_of(study),
        "checkpoint_seconds": read_checkpoint_seconds(),
    }


def device_of(study: Study) -> str:
    """Return the device on which the trials of a study train."""
    return "cuda" if study.resources.gpu else "cpu"


def read_checkpoint_seconds() -> float:
    """Return the seconds between checkpoints of a trial.

    Raises:
        UserError: The environment variable is not a non-negative number.
    """
    text = os.environ.get(_CHECKPOINT_SECONDS, str(_DEFAULT_CHECKPOINT_SECONDS))
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0.0 <= seconds < math.inf:
        raise UserError(
            f"{_CHECKPOINT_SECONDS} = {text}: must be a number of seconds, such as "
            f"{_DEFAULT_CHECKPOINT_SECONDS:g}"
        )
    return seconds
