"""A trial on Ray Tune: one configuration of one method, trained with each seed of the study."""

from __future__ import annotations

import pickle
import socket
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import torch
from ray import tune

from ngm_tune.benchmarks import Benchmark, Custom, TaskSplit, get_benchmark
from ngm_tune.evaluation import Evaluator
from ngm_tune.methods import get_method
from ngm_tune.metrics import METRICS, compute_metrics
from ngm_tune.probes import Probes
from ngm_tune.results import (
    CONFIG_PREFIX,
    CURVES_SCHEMA,
    PROBES_SCHEMA,
    STEPS_SCHEMA,
    Results,
    trials_schema,
)
from ngm_tune.training import ContinualTraining

TUNE_FOLDER = "tune"
"""Where in a results directory Tune keeps its state, a folder per trial."""

_CHECKPOINT = "runs.pt"
_DAMAGED = (
    OSError,
    EOFError,
    KeyError,
    TypeError,
    ValueError,
    RuntimeError,
    pickle.UnpicklingError,
)
"""What a checkpoint can raise that was cut off, or written by another version of ngm-tune."""


class ContinualTrainable(tune.Trainable):
    """Trains a configuration task by task: one ``step`` is one task, for every seed.

    The last step writes the trial's Parquet files from the worker and reports to Tune
    ``status`` and ``values``, the objectives averaged over seeds. A seed that diverges counts with
    the worst value of each objective; the others go on. A method that raises makes its trial a
    ``failed`` one, not the actor, which goes on with the next.

    The config is what :func:`ngm_tune.runner.trial_config` makes.
    """

    def setup(
        self, config: dict[str, Any], data: Mapping[str, ray.ObjectRef] | None = None
    ) -> None:
        """Start the trial. ``data`` holds the splits of every benchmark in Ray's object store."""
        torch.set_num_threads(config["threads"])
        self._data = dict(data or {})
        self._splits: dict[str, tuple[TaskSplit, Evaluator]] = {}
        self._start(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another trial in the same actor."""
        self._last_result = None  # Trainable.reset leaves that of the former trial
        self._start(new_config)
        return True

    def _start(self, config: dict[str, Any]) -> None:
        self._trial = config
        self._runs: list[ContinualTraining] = []
        self._result: dict[str, Any] | None = None
        custom = config["custom"]
        benchmark = get_benchmark(
            config["benchmark"], Custom.model_validate(custom) if custom else None
        )
        train, evaluator = self._load_splits(benchmark)
        try:
            self._runs = self._resumed(
                lambda: [self._build_run(benchmark, train, evaluator, s) for s in config["seeds"]]
            )
        except Exception:
            self._result = self._fail()

    def _resumed(self, build: Callable[[], list[ContinualTraining]]) -> list[ContinualTraining]:
        """Fresh runs, or as the last usable checkpoint of an interrupted session left them."""
        runs = build()
        folder = Path(self._trial["results"]) / TUNE_FOLDER / self._trial["trial_id"]
        left = sorted(folder.glob(f"checkpoint_*/{_CHECKPOINT}"), key=lambda p: p.stat().st_mtime)
        for path in reversed(left):
            try:
                states = self._load(path)["runs"]
                if len(states) == len(runs):  # none of a trial that had finished
                    for run, state in zip(runs, states, strict=True):
                        run.load_state_dict(state)
                    return runs
            except _DAMAGED:
                runs = build()  # the former ones may have taken up a part of it
        return runs

    def _load(self, path: Path) -> dict[str, Any]:
        """A checkpoint, on this trial's device whatever it was written on."""
        state: dict[str, Any] = torch.load(
            path, weights_only=True, map_location=self._trial["device"]
        )
        return state

    def _load_splits(self, benchmark: Benchmark) -> tuple[TaskSplit, Evaluator]:
        """Training examples, and evaluation on prepared ones; fetched once per actor."""
        name, device = benchmark.name, self._trial["device"]
        if name not in self._splits:
            arrays = ray.get(self._data[name])
            evaluation = TaskSplit.from_arrays(arrays["evaluation"]).to(device)
            self._splits[name] = (
                TaskSplit.from_arrays(arrays["train"]).to(device),
                Evaluator(
                    evaluation.prepared(benchmark.prepare), self._trial["eval_precision"], device
                ),
            )
        return self._splits[name]

    def _build_run(
        self, benchmark: Benchmark, train: TaskSplit, evaluator: Evaluator, seed: int
    ) -> ContinualTraining:
        config = self._trial
        method = get_method(config["method"])
        probe = Probes(
            config["probes"], train, benchmark.prepare, seed=seed, every=config["probe_every"]
        )
        return ContinualTraining(
            train,
            evaluator,
            benchmark.build_model,
            partial(method.build, **config["hyperparameters"]),
            seed=seed,
            batch_size=benchmark.batch_size,
            iterations_per_task=config["iterations_per_task"],
            variant=config["variant"],
            buffer_size=config["buffer_size"],
            eval_every=config["eval_every"],
            eval_dense=config["eval_dense"],
            evaluated=config["evaluate"],
            prepare=benchmark.prepare,
            augment=benchmark.augment,
            probe=probe if config["probes"] else None,
            device=config["device"],
        )

    def step(self) -> dict[str, Any]:
        """Train the next task with every seed that has not diverged."""
        if self._result is None:
            try:
                for run in self._runs:
                    if not run.finished:
                        run.train_task()
            except Exception:
                self._result = self._fail()
        if self._result is None:
            if not all(run.finished for run in self._runs):
                return {"tasks": max(len(run.records) for run in self._runs)}
            self._result = self._finish()
        return {"done": True, **self._result}

    def _fail(self) -> dict[str, Any]:
        """Write the row of a trial whose method raised, and the traceback beside it."""
        write_failure(self._trial, traceback.format_exc())
        return {"status": "failed", "values": None}

    def _finish(self) -> dict[str, Any]:
        """Write the trial's files, its row in ``trials/`` last; what Tune is told of it."""
        results = Results(self._trial["results"])
        trial_id = self._trial["trial_id"]
        rows = [self._outcome(run) for run in self._runs]
        schema = trials_schema(self._trial["hyperparameter_columns"])
        results.write("curves", trial_id, curves_table(trial_id, self._runs))
        results.write("steps", trial_id, steps_table(trial_id, self._runs))
        if self._trial["probes"]:
            results.write("probes", trial_id, probes_table(trial_id, self._runs))
        results.write("trials", trial_id, pa.Table.from_pylist(rows, schema))
        objectives = self._trial["objectives"]
        return {
            "status": worst_status(row["status"] for row in rows),
            "values": mean_objectives(rows, objectives),
        }

    def _outcome(self, run: ContinualTraining) -> dict[str, Any]:
        """The row of one seed in ``trials/``."""
        diverged = run.diverged_at is not None
        metrics: dict[str, float | None] = (
            {name: metric.worst for name, metric in METRICS.items()}
            if diverged
            else {
                name: None if np.isnan(value) else value  # what was not evaluated, not a number
                for name, value in compute_metrics(run.curves()).items()
            }
        )
        return {
            **trial_identity(self._trial, run.seed),
            **metrics,
            "status": "diverged" if diverged else "completed",
            "iterations": sum(len(record.steps) for record in run.records),
            "diverged_at": run.diverged_at,
            "wall_seconds": sum(record.seconds for record in run.records),
            "node": socket.gethostname(),
        }

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Keep every run's state after its last finished task, or all that is left to be said."""
        runs = [] if self._result else [run.state_dict() for run in self._runs]
        state = {"result": self._result, "runs": runs}
        torch.save(state, Path(checkpoint_dir) / _CHECKPOINT)

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        """Go on from a checkpoint, which is read without executing anything."""
        state = self._load(Path(checkpoint_dir) / _CHECKPOINT)
        self._result = state["result"]
        if self._result is None:
            for run, run_state in zip(self._runs, state["runs"], strict=True):
                run.load_state_dict(run_state)


def write_failure(config: Mapping[str, Any], report: str) -> None:
    """Write the rows of a trial that failed, and the report of why."""
    results = Results(config["results"])
    rows = [{**trial_identity(config, seed), "status": "failed"} for seed in config["seeds"]]
    schema = trials_schema(config["hyperparameter_columns"])
    results.write_text(f"failures/{config['trial_id']}.txt", report)
    results.write("trials", config["trial_id"], pa.Table.from_pylist(rows, schema))


def trial_identity(config: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """The columns of ``trials/`` that say which run a row is, from its trial's config."""
    settings = {CONFIG_PREFIX + k: v for k, v in config["hyperparameters"].items()}
    return {
        "study": config["study"],
        "benchmark": config["benchmark"],
        "method": config["method"],
        "trial_id": config["trial_id"],
        "seed": seed,
        "phase": config["phase"],
        **settings,
    }


def mean_objectives(
    rows: Sequence[Mapping[str, Any]], objectives: Iterable[str]
) -> tuple[float, ...]:
    """Objectives of a trial: the means over its seeds' rows; NaN where one has none."""
    columns = [[row[name] for row in rows] for name in objectives]
    return tuple(float(np.array(column, dtype=np.float64).mean()) for column in columns)


def worst_status(statuses: Iterable[str]) -> str:
    """The status of a trial whose seeds ended with these."""
    return max(statuses, key=("completed", "diverged", "stopped", "failed").index)


def curves_table(trial_id: str, runs: Iterable[ContinualTraining]) -> pa.Table:
    """Accuracy and loss of every run, a row per iteration and evaluated task."""
    parts = []
    for run in runs:
        for task, record in enumerate(run.records):
            accuracy, loss = record.accuracy.numpy(), record.loss.numpy()
            row, eval_task = np.nonzero(~np.isnan(accuracy))
            parts.append(
                _columns(
                    CURVES_SCHEMA,
                    trial_id,
                    run.seed,
                    iteration=record.evaluated.numpy()[row],
                    task=np.full(len(row), task),
                    eval_task=eval_task,
                    accuracy=accuracy[row, eval_task],
                    loss=loss[row, eval_task],
                )
            )
    return pa.concat_tables(parts)


def steps_table(trial_id: str, runs: Iterable[ContinualTraining]) -> pa.Table:
    """Train loss, entropy and gain of every run, a row per iteration."""
    parts = []
    for run in runs:
        for task, record in enumerate(run.records):
            loss, entropy, gain = record.steps.numpy().T
            first, rows = record.first_iteration, len(loss)
            parts.append(
                _columns(
                    STEPS_SCHEMA,
                    trial_id,
                    run.seed,
                    iteration=np.arange(first, first + rows),
                    task=np.full(rows, task),
                    loss=loss,
                    entropy=entropy,
                    gain=gain if run.has_gain else pa.nulls(rows, pa.float32()),
                )
            )
    return pa.concat_tables(parts)


def probes_table(trial_id: str, runs: Iterable[ContinualTraining]) -> pa.Table:
    """What probes found in every run, a row per iteration and quantity."""
    rows = [
        (trial_id, run.seed, iteration, task, quantity, value)
        for run in runs
        for task, record in enumerate(run.records)
        for iteration, quantity, value in record.probed
    ]
    columns = zip(*rows, strict=True) if rows else [()] * len(PROBES_SCHEMA)
    return pa.Table.from_arrays(
        [pa.array(c, field.type) for c, field in zip(columns, PROBES_SCHEMA, strict=True)],
        schema=PROBES_SCHEMA,
    )


def _columns(schema: pa.Schema, trial_id: str, seed: int, **columns: Any) -> pa.Table:
    rows = len(columns["iteration"])
    identity = {"trial_id": pa.repeat(trial_id, rows), "seed": np.full(rows, seed)}
    values = identity | columns
    arrays = [pa.array(values[field.name]).cast(field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)
