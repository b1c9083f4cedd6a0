"""A study on Ray, start to finish; the same call goes on with one that was interrupted."""

from __future__ import annotations

import logging
import os
import signal
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
import torch
from ray import tune

from ngm_tune import cost
from ngm_tune.arms import Arm, FixedArm, Outcome, Proposal, open_storage
from ngm_tune.environment import describe_environment
from ngm_tune.errors import UserError
from ngm_tune.methods import get_method
from ngm_tune.results import COSTS_SCHEMA, Results
from ngm_tune.search import FairSearcher
from ngm_tune.study import Study
from ngm_tune.study_files import validate_study
from ngm_tune.trainable import (
    TUNE_FOLDER,
    ContinualTrainable,
    mean_objectives,
    worst_status,
    write_failure,
)

_LOST_WORKERS = 3
"""How often a trial goes on elsewhere, from its last finished task, after losing its worker."""

_MAY_CHANGE = {"title", "trials", "cost", "resources"}

_RAY_SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # Parquet instead of JSON, CSV and TensorBoard
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def prepare(study: Study, location: str) -> list[Arm | FixedArm]:
    """Open or create a results directory and reconcile the search with what is in it.

    Raises:
        UserError: The directory holds results of another study.
    """
    if "://" in location:
        raise UserError(f"{location}: a study is run into a folder; this looks like a URI")
    results = Results(location)
    found = None
    if results.exists():
        found = validate_study(results.study(), f"{location}/study.toml")
        _require_same(study, found, location)
    try:
        if found != study:
            results.write_text("study.toml", study.to_toml())
        if not results.environment():
            results.write_text("environment.json", describe_environment(study))
    except OSError as error:
        raise UserError(f"{location}: cannot be written to: {error}") from error
    finished = _outcomes(results.read("trials"), study)
    arms = [(benchmark, method) for benchmark in study.benchmarks for method in study.methods]
    if study.settings is not None:
        return [
            FixedArm(
                benchmark,
                get_method(method),
                hyperparameters=dict(study.settings[method]),
                finished=finished,
            )
            for benchmark, method in arms
        ]
    storage = open_storage(Path(location) / "optuna.journal")
    return [
        Arm(
            benchmark,
            get_method(method),
            storage=storage,
            objectives=study.objective_metrics,
            trials=study.trials,
            in_flight=study.in_flight,
            sampler=study.sampler,
            seed=study.seed,
            finished=finished,
        )
        for benchmark, method in arms
    ]


def run(
    study: Study,
    location: str,
    arms: Sequence[Arm | FixedArm],
    *,
    verbose: bool = False,
) -> None:
    """Run what is left of a study.

    Ray is joined where ``RAY_ADDRESS`` names a cluster, and otherwise started on this machine.
    SIGINT and SIGTERM stop gracefully: finished trials are kept and the study can go on later.

    Args:
        study: What to run.
        location: The results directory, which every node must reach under the same path.
        arms: What :func:`prepare` returned.
        verbose: Show what Ray says.
    """
    left = sum(arm.trials - len(arm.outcomes) for arm in arms)
    if not left:
        close(arms)
    with _ray(verbose), _sigterm_as_sigint():
        if left:
            _run_trials(study, Path(location).resolve(), arms, left, verbose)
        if all(len(arm.outcomes) == arm.trials for arm in arms) and owes_costs(study, location):
            _measure_costs(study, location)


def owes_costs(study: Study, location: str) -> bool:
    """Whether costs are asked for that were not measured yet."""
    if not study.cost:
        return False
    return set(study.methods) - set(Results(location).read("costs")["method"].to_pylist()) != set()


def _measure_costs(study: Study, location: str) -> None:
    """Measure costs in a worker of their own, once no trial disturbs them."""
    networks = cost.NETWORKS

    def measure() -> list[dict[str, Any]]:
        torch.set_num_threads(study.resources.cpu)
        found = cost.measure(study.methods, networks, _device(study))
        return [row._asdict() for row in found]

    task = ray.remote(measure).options(**_asked(study), max_retries=_LOST_WORKERS)
    rows = pa.Table.from_pylist(ray.get(task.remote()), COSTS_SCHEMA)
    Results(location).write("costs", study.name, rows)


def _asked(study: Study) -> dict[str, float]:
    """The study's resources as Ray's tasks take them."""
    return {"num_cpus": study.resources.cpu, "num_gpus": study.resources.gpu}


def _device(study: Study) -> str:
    return "cuda" if study.resources.gpu else "cpu"


def _run_trials(
    study: Study, root: Path, arms: Sequence[Arm | FixedArm], left: int, verbose: bool
) -> None:
    splits = {name: splits_for(study, name) for name in study.benchmarks}
    data = {name: ray.put(arrays) for name, arrays in splits.items()}
    trainable = tune.with_resources(
        tune.with_parameters(ContinualTrainable, data=data), study.resources.model_dump()
    )
    config_of = partial(trial_config, study, str(root))
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=FairSearcher(arms, config_of),
            num_samples=left,
            max_concurrent_trials=len(arms) * study.in_flight,
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name=TUNE_FOLDER,
            storage_path=str(root),
            callbacks=[_LostTrials()],
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1, num_to_keep=1),
            failure_config=tune.FailureConfig(max_failures=_LOST_WORKERS),
            verbose=3 if verbose else 0,
        ),
    )
    try:
        tuner.fit()
    finally:
        close(arms)


def trial_config(study: Study, location: str, proposal: Proposal) -> dict[str, Any]:
    """The config of one trial: plain values only."""
    return {
        "study": study.name,
        "results": location,
        "benchmark": proposal.benchmark,
        "method": proposal.method,
        "trial_id": proposal.trial_id,
        "phase": "search" if study.settings is None else "confirm",
        "seeds": study.seed_list,
        "hyperparameters": study.given(proposal.benchmark, proposal.method)
        | proposal.hyperparameters,
        "hyperparameter_columns": study.hyperparameters,
        "objectives": study.objectives,
        "iterations_per_task": study.iterations(proposal.benchmark),
        "eval_every": study.eval_every,
        "eval_dense": study.eval_dense,
        "evaluate": study.evaluate,
        "eval_precision": study.eval_precision,
        "variant": study.variant,
        "buffer_size": study.buffer_size,
        "custom": study.custom.model_dump() if study.custom else None,
        "probes": study.probes,
        "probe_every": study.probe_every,
        "threads": study.resources.cpu,
        "device": _device(study),
    }


def splits_for(study: Study, benchmark: str) -> dict[str, Any]:
    """What trials may see of a benchmark, as arrays: ``train``, and ``evaluation``.

    A search gets the validation split and no test data; settings that are given, and so cannot have
    been chosen on any data here, are trained on all training data and evaluated on the test data.
    """
    data = study.benchmark(benchmark).load()
    if study.settings is None:
        train, evaluation = data.train, data.validation
    else:
        train, evaluation = data.train.joined(data.validation), data.test
    if study.eval_examples is not None:
        evaluation = evaluation.capped(study.eval_examples)
    return {"train": train.arrays(), "evaluation": evaluation.arrays()}


def _trial_name(trial: Any) -> str:
    return str(trial.config["trial_id"])


def _outcomes(trials: pa.Table, study: Study) -> dict[str, Outcome]:
    """How each trial in ``trials/`` ended: objectives are means over its seeds."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in trials.to_pylist():
        rows.setdefault(row["trial_id"], []).append(row)
    outcomes = {}
    for trial_id, seeds in rows.items():
        status = worst_status(row["status"] for row in seeds)
        values = None
        if status != "failed":
            values = mean_objectives(seeds, study.objectives)
        outcomes[trial_id] = Outcome(status, values)
    return outcomes


class _LostTrials(tune.Callback):
    """Records a trial as failed whose worker was lost again and again."""

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        path = Path(trial.error_file) if trial.error_file else None
        report = path.read_text(errors="replace") if path and path.is_file() else "no report\n"
        write_failure(trial.config, report)


def _require_same(study: Study, found: Study, location: str) -> None:
    """Refuse to mix two studies in one directory; raising ``trials`` extends one."""
    asked, there = study.model_dump(), found.model_dump()
    for key in asked.keys() - _MAY_CHANGE:
        if asked[key] != there[key]:
            raise UserError(
                f"{location} holds another study: {key} is {there[key]!r} there and "
                f"{asked[key]!r} here; choose another directory with --results"
            )
    if study.trials < found.trials:
        raise UserError(
            f"{location} holds a study of {found.trials} trials per method, more than "
            f"trials = {study.trials}; trials can only be raised, or choose another --results"
        )


def close(arms: Sequence[Arm | FixedArm]) -> None:
    """Tell Optuna of all results, and of the trials that did not get to their end."""
    for arm in arms:
        arm.close()


@contextmanager
def _ray(verbose: bool) -> Iterator[None]:
    """Ray for the time of a run, quiet unless asked otherwise."""
    for name, value in _RAY_SETTINGS.items():
        os.environ.setdefault(name, value)
    started_here = not ray.is_initialized()
    if started_here:
        ray.init(
            address=os.environ.get("RAY_ADDRESS", "local"),
            include_dashboard=False,
            log_to_driver=verbose,
            logging_level=logging.INFO if verbose else logging.CRITICAL,
        )
    try:
        with warnings.catch_warnings():
            if not verbose:
                warnings.simplefilter("ignore")
            yield
    finally:
        if started_here:
            ray.shutdown()


@contextmanager
def _sigterm_as_sigint() -> Iterator[None]:
    """Treat SIGTERM, which schedulers send, as SIGINT, which Tune stops gracefully on."""
    try:
        former = signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    except ValueError:  # not the main thread, which alone receives signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)
