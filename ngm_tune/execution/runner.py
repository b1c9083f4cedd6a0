"""A study on Ray, start to finish; the same call goes on with one that was interrupted."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import ray
import torch
from ray import tune

from ngm_tune.benchmarks import TaskData
from ngm_tune.errors import UserError
from ngm_tune.execution.scheduler import DominanceStopping
from ngm_tune.execution.searcher import FairSearcher
from ngm_tune.execution.stopper import Halt
from ngm_tune.execution.trainable import ContinualTrainable
from ngm_tune.execution.trial_config import TrialConfig
from ngm_tune.execution.worker_failures import MOST_LOSSES, Losses
from ngm_tune.results.directory import CHECKPOINTS, Results
from ngm_tune.results.outcome import Outcome, read_outcome
from ngm_tune.results.schema import COSTS_SCHEMA
from ngm_tune.search.fixed_runs import AnyArm
from ngm_tune.search.method_search import Arm
from ngm_tune.search.run_spec import Phase, Proposal
from ngm_tune.study.study import Study
from ngm_tune.training import step_cost as cost
from ngm_tune.workspace.manifest import note_data

_CHECKPOINT_SECONDS = "NGM_TUNE_CHECKPOINT_SECONDS"
"""The environment variable with the seconds between checkpoints of a trial."""
_USUAL_CHECKPOINT_SECONDS = 10.0

Data = dict[tuple[Phase, str], ray.ObjectRef]
"""What trials of a phase see of a benchmark (:func:`splits_for`), in Ray's memory."""


def run(
    study: Study,
    location: str,
    arms: Sequence[AnyArm],
    halt: Halt,
    *,
    time_budget: timedelta | None = None,
    verbose: bool = False,
    notice: Callable[[str], None] = print,
) -> bool:
    """Run what is left of a study on the Ray that this process has joined.

    SIGINT stops gracefully: finished trials are kept and the study can go on later.

    Args:
        study: What to run.
        location: The results directory, which every node must reach under the same name.
        arms: Those of the study (:func:`ngm_tune.workspace.resume.opened`).
        halt: Ends the study; has the reason afterwards.
        time_budget: After this time trials are cut off as by SIGINT.
        verbose: Show what Ray says.
        notice: Told what a person should know of the data.

    Returns:
        Whether it was the time budget that ended it.
    """
    timed_out = False
    _note_ends(location, arms)  # of trials that failed and are run again there may be one less
    if not is_complete(arms):
        data = _data_for(study, location, arms, notice)
        timed_out = _run_trials(study, location, arms, data, halt, time_budget, verbose)
    if is_complete(arms) and owes_costs(study, location, arms):
        _measure_costs(study, location, _working(study, arms))
    _note_ends(location, arms)
    return timed_out


def is_complete(arms: Sequence[AnyArm]) -> bool:
    """Whether nothing is left to be run."""
    return all(arm.complete for arm in arms)


def owes_costs(study: Study, location: str, arms: Sequence[AnyArm]) -> bool:
    """Whether costs are asked for that were not measured yet."""
    if not study.cost:
        return False
    measured = set(Results(location).read("costs")["method"].to_pylist())
    return not set(_working(study, arms)) <= measured


def _working(study: Study, arms: Sequence[AnyArm]) -> list[str]:
    """The methods of a study but for those that raised in every run."""
    raised = {
        name
        for name in study.methods
        if {o.status for arm in arms if arm.method.name == name for o in arm.outcomes} == {"failed"}
    }
    return [name for name in study.methods if name not in raised]


def _data_for(
    study: Study, location: str, arms: Sequence[AnyArm], notice: Callable[[str], None]
) -> Data:
    """What is left to be run on, in Ray's memory, and its checksums in the results."""
    data: Data = {}
    for benchmark in study.benchmarks:
        own = [arm for arm in arms if arm.benchmark == benchmark]
        phases = dict.fromkeys(arm.phase for arm in own if not arm.complete)
        if phases:
            begun = any(arm.outcomes for arm in own)
            data |= _benchmark_data(study, Results(location), benchmark, phases, begun, notice)
    return data


def _benchmark_data(
    study: Study,
    results: Results,
    benchmark: str,
    phases: Iterable[Phase],
    begun: bool,
    notice: Callable[[str], None],
) -> Data:
    loaded = study.benchmark(benchmark).load()
    begun = begun or any(name.startswith(f"{benchmark}.") for name in results.files(CHECKPOINTS))
    if note_data(results, benchmark, loaded.checksum(), begun=begun):
        notice(
            f"{benchmark}: not all runs are of the same data: its files or their order changed, or "
            "what computes it; environment.json has the checksums"
        )
    return {(phase, benchmark): ray.put(splits_for(study, loaded, phase)) for phase in phases}


def _run_trials(
    study: Study,
    location: str,
    arms: Sequence[AnyArm],
    data: Data,
    halt: Halt,
    time_budget: timedelta | None,
    verbose: bool,
) -> bool:
    trainable = tune.with_resources(
        tune.with_parameters(ContinualTrainable, data=data), study.resources.model_dump()
    )
    losses = Losses(halt)
    searcher = FairSearcher(
        arms,
        partial(trial_config, study, location),
        partial(_written, Results(location), study),
        losses.is_last,
    )
    # Tune's own state is of no use to anybody, as what counts is in the results.
    with TemporaryDirectory(prefix="ngm-tune-", ignore_cleanup_errors=True) as scratch:
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=DominanceStopping(searcher.is_hopeless, searcher.stopped, halt),
                num_samples=-1,  # until the searcher says that nothing is left
                time_budget_s=time_budget,
                max_concurrent_trials=len(arms) * study.in_flight,
                reuse_actors=True,
                trial_name_creator=_trial_name,
                trial_dirname_creator=_trial_name,
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=scratch,
                stop=halt,
                callbacks=[losses],
                # The trainable keeps its own, and Tune would ask for one at the end.
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=MOST_LOSSES),
                verbose=3 if verbose else 0,
            ),
        )
        started = time.monotonic()
        try:
            tuner.fit()
        finally:
            searcher.settle()
    spent = timedelta(seconds=time.monotonic() - started)
    return time_budget is not None and spent >= time_budget and not is_complete(arms)


def trial_config(study: Study, location: str, proposal: Proposal) -> TrialConfig:
    """The config of one trial.

    What confirms a search is evaluated at full fidelity, whatever the search was.
    """
    full = proposal.phase == "confirm" and study.settings is None
    return {
        "study": study.name,
        "results": location,
        "benchmark": proposal.benchmark,
        "method": proposal.method,
        "trial_id": proposal.trial_id,
        "run_id": proposal.run_id,
        "phase": proposal.phase,
        "seeds": list(proposal.seeds),
        "hyperparameters": study.given(proposal.benchmark, proposal.method)
        | proposal.hyperparameters,
        "hyperparameter_columns": study.hyperparameters,
        "coordinates": proposal.coordinates,
        "coordinate_columns": study.coordinates,
        "objectives": study.objectives,
        "constraints": study.constraints,
        "stopping": study.stopping is not None and proposal.phase == "search",
        "iterations_per_task": study.iterations(proposal.benchmark),
        "eval_every": 1 if full else study.eval_every,
        "eval_dense": 0 if full else study.eval_dense,
        "evaluate": "seen" if full else study.evaluate,
        "eval_precision": "float32" if full else study.eval_precision,
        "variant": study.variant,
        "buffer_size": study.buffer_size,
        "custom": study.custom.model_dump() if study.custom else None,
        "probes": study.probes,
        "probe_every": study.probe_every,
        "threads": study.resources.cpu,
        "device": _device(study),
        "checkpoint_seconds": checkpoint_seconds(),
    }


def checkpoint_seconds() -> float:
    """Seconds between checkpoints of a trial.

    Raises:
        UserError: The environment says something else than a number.
    """
    usual = _USUAL_CHECKPOINT_SECONDS
    text = os.environ.get(_CHECKPOINT_SECONDS, str(usual))
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0.0 <= seconds < math.inf:
        raise UserError(
            f"{_CHECKPOINT_SECONDS} = {text}: must be a number of seconds, such as {usual:g}"
        )
    return seconds


def splits_for(study: Study, data: TaskData, phase: Phase) -> dict[str, Any]:
    """What trials of a phase may see of their data, as arrays: ``train``, and ``evaluation``.

    A search gets the validation split and no test data. What is only confirmed, and so was not
    chosen on these data, is trained on all training data and evaluated on the test data.
    """
    if phase == "search":
        train, evaluation = data.train, data.validation
    else:
        train, evaluation = data.train.joined(data.validation), data.test
    if study.eval_examples is not None and (phase == "search" or study.settings is not None):
        evaluation = evaluation.capped(study.eval_examples)
    return {"train": train.arrays(), "evaluation": evaluation.arrays()}


def _trial_name(trial: Any) -> str:
    return str(trial.config["run_id"])


def _written(results: Results, study: Study, run_id: str) -> Outcome | None:
    """How a run ended, if that was written and can be read."""
    with suppress(OSError):
        return read_outcome(results, run_id, study.objectives, study.constraints)
    return None


def _note_ends(location: str, arms: Sequence[AnyArm]) -> None:
    """Write down which searches ended before their time, and after how many runs."""
    searches = [arm for arm in arms if isinstance(arm, Arm) and arm.complete]
    exhausted: dict[str, dict[str, int]] = {}
    for arm in searches:
        if arm.exhausted:
            exhausted.setdefault(arm.benchmark, {})[arm.method.name] = arm.total
    plateaus = {arm.benchmark: arm.total for arm in searches if arm.on_plateau}
    results = Results(location)
    environment = results.environment()
    ends = {"plateaus": plateaus, "exhausted": exhausted}
    changed = {key: runs for key, runs in ends.items() if environment.get(key, {}) != runs}
    if changed:
        results.write_environment(environment | changed)


def _measure_costs(study: Study, location: str, methods: Sequence[str]) -> None:
    """Measure costs in a worker of their own, once no trial disturbs them."""
    networks = cost.NETWORKS

    def measure() -> list[dict[str, Any]]:
        torch.set_num_threads(study.resources.cpu)
        found = cost.measure(list(methods), networks, _device(study))
        return [row._asdict() for row in found]

    task = ray.remote(measure).options(**_asked(study), max_retries=MOST_LOSSES)
    rows = pa.Table.from_pylist(ray.get(task.remote()), COSTS_SCHEMA)
    Results(location).write("costs", study.name, rows)


def _asked(study: Study) -> dict[str, float]:
    """The study's resources as Ray's tasks take them."""
    return {"num_cpus": study.resources.cpu, "num_gpus": study.resources.gpu}


def _device(study: Study) -> str:
    return "cuda" if study.resources.gpu else "cpu"
