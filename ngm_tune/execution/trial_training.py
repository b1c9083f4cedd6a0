"""Training of one trial, task by task: the part of a worker that does not depend on Ray."""

from __future__ import annotations

import logging
import socket
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from ngm_tune.benchmarks import Benchmark, Custom, TaskSplit, get_benchmark
from ngm_tune.benchmarks.arrangement import Arrangement
from ngm_tune.errors import UserError
from ngm_tune.execution.recording import (
    curves_table,
    probes_table,
    steps_table,
    task_rows,
    trial_identity,
    trial_row,
    write_failure,
    write_trial,
)
from ngm_tune.execution.split_cache import SplitCache
from ngm_tune.execution.trial_config import TrialConfig
from ngm_tune.execution.trial_report import TrialReport
from ngm_tune.methods import get_method
from ngm_tune.methods.registry import current_registry
from ngm_tune.results.directory import Results, checkpoint_of
from ngm_tune.results.outcome import Outcome, compute_outcome, read_outcome
from ngm_tune.results.schema import Status
from ngm_tune.training.checkpoints import pack, unpack
from ngm_tune.training.evaluation import Evaluator
from ngm_tune.training.loop import ContinualTraining
from ngm_tune.training.options import EvaluationSchedule, StreamOptions
from ngm_tune.training.probes import Probes

logger = logging.getLogger(__name__)


class TrialTraining:
    """Train one configuration with each of its seeds, one task per step.

    A seed that diverges gets the worst value of each metric, and the other seeds continue. If a
    method raises an exception, its trial fails. The last step writes the trial's Parquet files.

    A checkpoint is written to the results directory after a task of a seed, at most every
    ``checkpoint_seconds``. A trial with a checkpoint continues from it, on any machine. If the
    results cannot be read or written, the trial does not fail: it reports a problem, which stops
    the study.

    Args:
        config: The config of the trial
            (:func:`ngm_tune.execution.trial_config.build_trial_config`).
        splits: Task data of this worker.
    """

    def __init__(self, config: TrialConfig, splits: SplitCache) -> None:
        self.config = config
        self.runs: list[ContinualTraining] = []
        self._splits = splits
        self._saved_at = time.monotonic()
        self._unsaved = False
        self._discarded: str | None = None
        self._final_report: TrialReport | None = None
        try:
            self._results = Results(config["results"])
            self._final_report = self._read_final_report()
            if self._final_report is None:
                for file in config["methods_files"]:
                    current_registry().add_file(file)
                self._build(self._results.read_bytes(checkpoint_of(config["run_id"])))
        except (OSError, UserError) as error:
            self._final_report = self._report_problem(error)

    def train_next_task(self) -> TrialReport:
        """Train the next task with every seed that has not diverged, and report."""
        if self._final_report is None:
            try:
                self._final_report = self._train()
            except OSError as error:  # writing failed; errors of the method are caught before
                self._final_report = self._report_problem(error)
        return self._report_progress() if self._final_report is None else self._final_report

    def save_progress(self) -> None:
        """Write a checkpoint if a task was trained since the last one and the trial has not ended.

        Tune also creates actors that it never uses. They have trained nothing, so they must not
        overwrite the checkpoint of the actor that trains the trial.
        """
        with suppress(OSError):
            if (
                self._unsaved
                and self._final_report is None
                and not self._results.has_run(self.config["run_id"])
            ):
                self.save()

    def save(self) -> None:
        """Write a checkpoint of every seed."""
        content = pack(self._identity(), [run.state_dict() for run in self.runs])
        self._results.write_bytes(checkpoint_of(self.config["run_id"]), content)
        self._saved_at = time.monotonic()
        self._unsaved = False

    def _read_final_report(self) -> TrialReport | None:
        """Return the report of a trial whose rows exist, because its worker was lost afterwards."""
        config = self.config
        if not self._results.has_study():
            return self._report_problem(
                "no study.toml found; every node must reach the results under this name"
            )
        outcome = read_outcome(
            self._results, config["run_id"], config["objectives"], config["constraints"]
        )
        return None if outcome is None else TrialReport(outcome=outcome)

    def _build(self, checkpoint: bytes | None) -> None:
        config = self.config
        custom = config["custom"]
        benchmark = get_benchmark(
            config["benchmark"], Custom.model_validate(custom) if custom else None
        )
        train, evaluator = self._splits.get(
            benchmark,
            config["phase"],
            Arrangement(config["split_seed"], config["order_seed"]),
            config["eval_examples"],
            config["eval_precision"],
        )
        try:
            trial_identity(config, config["seeds"][0])  # raises for values that cannot be stored
            self.runs = self._build_or_resume(
                lambda: [self._build_run(benchmark, train, evaluator, s) for s in config["seeds"]],
                checkpoint,
            )
        except Exception:
            self._final_report = self._fail()

    def _build_or_resume(
        self, build: Callable[[], list[ContinualTraining]], content: bytes | None
    ) -> list[ContinualTraining]:
        """Build the runs, and load the checkpoint of an interrupted trial if it can be used."""
        runs = build()
        if content is None:
            return runs
        try:
            checkpoint = unpack(content, self.config["device"])
            if checkpoint.identity != self._identity():
                raise ValueError("it belongs to another trial")
            for run, state in zip(runs, checkpoint.states, strict=True):
                run.load_state_dict(state)
        except Exception as error:  # damaged, or written by another version
            self._discarded = f"{checkpoint_of(self.config['run_id'])}: {error}"
            logger.warning("checkpoint not used, the trial restarts: %s", self._discarded)
            return build()  # the previous runs may have loaded a part of it
        logger.info("%s continues from its checkpoint", self.config["run_id"])
        return runs

    def _build_run(
        self, benchmark: Benchmark, train: TaskSplit, evaluator: Evaluator, seed: int
    ) -> ContinualTraining:
        config = self.config
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
            iterations_per_task=config["iterations_per_task"],
            stream=StreamOptions(benchmark.batch_size, config["strategy"], config["buffer_size"]),
            evaluation=EvaluationSchedule(
                config["eval_every"],
                config["eval_dense"],
                config["eval_tasks"],
                config["evaluation"],
            ),
            prepare=benchmark.prepare,
            augment=benchmark.augment,
            probe=probe if config["probes"] else None,
            device=config["device"],
        )

    def _train(self) -> TrialReport | None:
        """Train the next task; return the last report if the trial ended."""
        unfinished = [run for run in self.runs if not run.finished]
        task = min((len(run.records) for run in unfinished), default=0)
        for run in unfinished:
            if len(run.records) == task:  # a checkpoint can have seeds at different tasks
                try:
                    run.train_task()
                except Exception:
                    return self._fail()
                self._unsaved = True
                if time.monotonic() - self._saved_at >= self.config["checkpoint_seconds"]:
                    self.save()
        return self._finish() if all(run.finished for run in self.runs) else None

    def _identity(self) -> dict[str, Any]:
        """Return the identity of the trial, which its checkpoint must have."""
        config = self.config
        file = current_registry().file_of(config["method"])
        return {
            "run_id": config["run_id"],
            "phase": config["phase"],
            "seeds": list(config["seeds"]),
            "hyperparameters": config["hyperparameters"],
            "iterations_per_task": config["iterations_per_task"],
            # A file that has changed since is another method, so its trial starts again.
            **({} if file is None else {"methods_file": file.sha256}),
        }

    def _report_problem(self, reason: object) -> TrialReport:
        return TrialReport(problem=f"{self.config['results']} on {socket.gethostname()}: {reason}")

    def _report_progress(self) -> TrialReport:
        """Report a task other than the last."""
        return TrialReport(
            tasks=max(len(run.records) for run in self.runs),
            discarded_checkpoint=self._take_discarded(),
        )

    def _take_discarded(self) -> str | None:
        """Return why a checkpoint was not used; None after the first call."""
        discarded, self._discarded = self._discarded, None
        return discarded

    def _fail(self) -> TrialReport:
        """Write the rows of a trial whose method raised, and the traceback."""
        write_failure(self.config, traceback.format_exc())
        return TrialReport(
            outcome=Outcome(Status.FAILED, None), discarded_checkpoint=self._take_discarded()
        )

    def _finish(self) -> TrialReport:
        """Write the trial's files, its rows in ``trials/`` last."""
        results = self._results
        trial_id, run_id = self.config["trial_id"], self.config["run_id"]
        rows = [trial_row(self.config, run) for run in self.runs]
        tasks = [row for run in self.runs for row in task_rows(trial_id, run)]
        results.write("curves", run_id, curves_table(trial_id, self.runs))
        results.write("steps", run_id, steps_table(trial_id, self.runs))
        if self.config["probes"]:
            results.write("probes", run_id, probes_table(trial_id, self.runs))
        write_trial(self.config, rows, tasks)
        outcome = compute_outcome(rows, self.config["objectives"], self.config["constraints"])
        return TrialReport(outcome=outcome, discarded_checkpoint=self._take_discarded())
