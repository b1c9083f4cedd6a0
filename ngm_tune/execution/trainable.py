"""A trial on Ray Tune: one configuration of one method, trained with each seed of the study."""

from __future__ import annotations

import socket
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import astuple
from functools import partial
from typing import Any

import ray
import torch
from ray import tune

from ngm_tune.benchmarks import Benchmark, Custom, TaskSplit, get_benchmark
from ngm_tune.errors import UserError
from ngm_tune.execution.recording import (
    curves_table,
    probes_table,
    steps_table,
    stopped_row,
    task_rows,
    trial_identity,
    trial_row,
    write_failure,
    write_trial,
)
from ngm_tune.execution.trial_config import TrialConfig
from ngm_tune.methods import get_method
from ngm_tune.results.checkpoints import checkpoint_of, pack, unpack
from ngm_tune.results.directory import Results
from ngm_tune.results.outcome import interim_of, outcome_of, read_outcome
from ngm_tune.training.evaluation import Evaluator
from ngm_tune.training.loop import ContinualTraining
from ngm_tune.training.probes import Probes
from ngm_tune.training.seeding import repeat_on_gpus


class ContinualTrainable(tune.Trainable):
    """Trains a configuration task by task: one ``step`` is one task, for every seed.

    Every step but the last reports to Tune ``interim``, the objectives after each task so far,
    averaged over seeds: what :class:`ngm_tune.execution.scheduler.DominanceStopping` compares. The last one
    writes the trial's Parquet files from the worker and reports ``outcome``, the fields of an
    :class:`~ngm_tune.execution.recording.Outcome`. A seed that diverges counts with the worst value of each
    metric; the others go on. A method that raises makes its trial a ``failed`` one, not the actor,
    which goes on with the next.

    What is trained is kept in the results directory, after a task of a seed and not oftener than
    every ``checkpoint_seconds``, and a trial that finds such a checkpoint goes on from it, on
    whatever machine. Results that cannot be read or written are no fault of the trial: it reports
    the ``problem``, which ends the study (:class:`ngm_tune.execution.stopper.Halt`).

    The config is what :func:`ngm_tune.execution.runner.trial_config` makes.
    """

    def setup(
        self, config: TrialConfig, data: Mapping[tuple[str, str], ray.ObjectRef] | None = None
    ) -> None:
        """Start the trial. ``data`` has the splits of every phase and benchmark in Ray's store."""
        torch.set_num_threads(config["threads"])
        if config["device"] != "cpu":
            repeat_on_gpus()
        self._data = dict(data or {})
        self._splits: dict[tuple[str, str, str], tuple[TaskSplit, Evaluator]] = {}
        self._start(config)

    def reset_config(self, new_config: TrialConfig) -> bool:
        """Start another trial in the same actor."""
        self._last_result = None  # Trainable.reset leaves that of the former trial
        self._start(new_config)
        return True

    def _start(self, config: TrialConfig) -> None:
        self._config = config
        self._runs: list[ContinualTraining] = []
        self._saved = time.monotonic()
        self._unsaved = False
        self._reported = False
        try:
            self._results = Results(config["results"])
            self._end = self._found()
            if self._end is None:
                kept = self._results.read_bytes(checkpoint_of(config["run_id"]))
                self._build(kept)
        except (OSError, UserError) as error:
            self._end = self._problem(error)

    def _found(self) -> dict[str, Any] | None:
        """How the trial ended, if that stands there already: its worker was lost after its end."""
        config = self._config
        if not self._results.exists():
            return self._problem("no study.toml there; every node must reach the results there")
        ended = read_outcome(
            self._results, config["run_id"], config["objectives"], config["constraints"]
        )
        return None if ended is None else {"outcome": astuple(ended)}

    def _build(self, kept: bytes | None) -> None:
        config = self._config
        custom = config["custom"]
        benchmark = get_benchmark(
            config["benchmark"], Custom.model_validate(custom) if custom else None
        )
        train, evaluator = self._load_splits(benchmark)
        try:
            trial_identity(config, config["seeds"][0])  # what no row holds is known before the end
            self._runs = self._resumed(
                lambda: [self._build_run(benchmark, train, evaluator, s) for s in config["seeds"]],
                kept,
            )
        except Exception:
            self._end = self._fail()

    def _resumed(
        self, build: Callable[[], list[ContinualTraining]], kept: bytes | None
    ) -> list[ContinualTraining]:
        """Fresh runs, or as the checkpoint of an interrupted trial left them if it is usable."""
        runs = build()
        if kept is None:
            return runs
        try:
            checkpoint = unpack(kept, self._config["device"])
            if checkpoint.of != self._identity():
                return runs
            for run, state in zip(runs, checkpoint.states, strict=True):
                run.load_state_dict(state)
        except Exception:  # it is damaged, or another version's
            return build()  # the former ones may have taken up a part of it
        return runs

    def _load_splits(self, benchmark: Benchmark) -> tuple[TaskSplit, Evaluator]:
        """Training examples, and evaluation on prepared ones; fetched once per actor."""
        phase, device = self._config["phase"], self._config["device"]
        precision = self._config["eval_precision"]
        key = (phase, benchmark.name, precision)
        if key not in self._splits:
            arrays = ray.get(self._data[phase, benchmark.name])
            evaluation = TaskSplit.from_arrays(arrays["evaluation"]).to(device)
            self._splits[key] = (
                TaskSplit.from_arrays(arrays["train"]).to(device),
                Evaluator(evaluation.prepared(benchmark.prepare), precision, device),
            )
        return self._splits[key]

    def _build_run(
        self, benchmark: Benchmark, train: TaskSplit, evaluator: Evaluator, seed: int
    ) -> ContinualTraining:
        config = self._config
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
        if self._end is None and not self._owes_report():
            try:
                self._end = self._train()
            except OSError as error:  # of what is written; those of a method are its failure
                self._end = self._problem(error)
        self._reported = True
        return self._progress() if self._end is None else {"done": True, **self._end}

    def _owes_report(self) -> bool:
        """Whether a task was trained before an interruption that Tune may not have heard of.

        Whether a trial is stopped is asked after every task, so none may be left out.
        """
        if self._reported or not self._config["stopping"]:
            return False
        going = {len(run.records) for run in self._runs if not run.finished}
        return len(going) == 1 and going != {0}

    def _train(self) -> dict[str, Any] | None:
        """Train the next task; how the trial ended, if it did."""
        going = [run for run in self._runs if not run.finished]
        task = min((len(run.records) for run in going), default=0)
        for run in going:
            if len(run.records) == task:  # and not one that a checkpoint has further
                try:
                    run.train_task()
                except Exception:
                    return self._fail()
                self._unsaved = True
                self._keep()
        return self._finish() if all(run.finished for run in self._runs) else None

    def cleanup(self) -> None:
        """Keep what is trained, as the study is being stopped; Tune waits some seconds for it.

        Tune also makes actors that it never uses, as another one was free sooner: such a one has
        nothing to keep, and would put an older state in the place of the other's.
        """
        with suppress(OSError):
            if (
                self._unsaved
                and self._end is None
                and not self._results.has_run(self._config["run_id"])
            ):
                self._keep(at_once=True)

    def _keep(self, *, at_once: bool = False) -> None:
        """Keep what is trained, if the last time is long enough ago."""
        since = time.monotonic() - self._saved
        if since < self._config["checkpoint_seconds"] and not at_once:
            return
        content = pack(self._identity(), [run.state_dict() for run in self._runs])
        self._results.write_bytes(checkpoint_of(self._config["run_id"]), content)
        self._saved = time.monotonic()
        self._unsaved = False

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint must be of, for this trial to go on from it."""
        config = self._config
        return {
            "run_id": config["run_id"],
            "phase": config["phase"],
            "seeds": list(config["seeds"]),
            "hyperparameters": config["hyperparameters"],
            "iterations_per_task": config["iterations_per_task"],
        }

    def _problem(self, reason: object) -> dict[str, Any]:
        """What Tune is told where the results cannot be used."""
        return {"problem": f"{self._config['results']} on {socket.gethostname()}: {reason}"}

    def _progress(self) -> dict[str, Any]:
        """What Tune is told after a task that is not the last.

        With ``stopping`` also all that there would be to write if the trial were stopped here.
        """
        tasks = max(len(run.records) for run in self._runs)
        rows = [row for run in self._runs for row in task_rows(self._config["trial_id"], run)]
        interim = interim_of(
            [row for row in rows if row["task"] < tasks], self._config["objectives"]
        )
        progress: dict[str, Any] = {"interim": interim}
        if self._config["stopping"]:
            progress["if_stopped"] = {
                "rows": [stopped_row(self._config, run) for run in self._runs],
                "tasks": [row for row in rows if row["task"] < tasks],
            }
        return progress

    def _fail(self) -> dict[str, Any]:
        """Write the row of a trial whose method raised, and the traceback beside it."""
        write_failure(self._config, traceback.format_exc())
        return {"outcome": ("failed", None)}

    def _finish(self) -> dict[str, Any]:
        """Write the trial's files, its row in ``trials/`` last; what Tune is told of it."""
        results = self._results
        trial_id, run_id = self._config["trial_id"], self._config["run_id"]
        rows = [trial_row(self._config, run) for run in self._runs]
        tasks = [row for run in self._runs for row in task_rows(self._config["trial_id"], run)]
        results.write("curves", run_id, curves_table(trial_id, self._runs))
        results.write("steps", run_id, steps_table(trial_id, self._runs))
        if self._config["probes"]:
            results.write("probes", run_id, probes_table(trial_id, self._runs))
        write_trial(self._config, rows, tasks)
        outcome = outcome_of(rows, tasks, self._config["objectives"], self._config["constraints"])
        return {"outcome": astuple(outcome)}
