"""What a study has left to run, and how long that takes on this machine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from optuna.storages import InMemoryStorage

from ngm_tune.benchmarks.pool import DataPool
from ngm_tune.benchmarks.tasks import TaskSplit
from ngm_tune.execution.trial_config import device_of
from ngm_tune.methods import Config
from ngm_tune.results.directory import Results
from ngm_tune.search.fixed_runs import RunSource
from ngm_tune.search.run_spec import Phase
from ngm_tune.study.plan import StudyPlan
from ngm_tune.training.evaluation import Evaluator
from ngm_tune.training.loop import ContinualTraining
from ngm_tune.training.options import EVERY_ITERATION, EvaluationSchedule, StreamOptions
from ngm_tune.training.splits import splits_for
from ngm_tune.workspace.manifest import require_same_study
from ngm_tune.workspace.resume import create_sources, read_outcomes

_TIMED_ITERATIONS = 20


@dataclass(frozen=True)
class RemainingRuns:
    """Runs of one method on one benchmark that a study has left.

    Attributes:
        benchmark: Name of the benchmark.
        method: Title of the method.
        phase: ``"search"``, or ``"confirm"`` for confirmations and fixed runs.
        seed_runs: Number of trainings with one seed. Before the search has ended, the number of
            confirmations is the largest possible one.
        seconds: Estimated seconds of one training with one seed, on the cores of one trial.
        cores: Number of CPU cores of one trial.
    """

    benchmark: str
    method: str
    phase: Phase
    seed_runs: int
    seconds: float
    cores: int

    @property
    def core_hours(self) -> float:
        """Estimated core-hours of all runs, without pruning."""
        return self.seed_runs * self.seconds * self.cores / 3600.0


def estimate(plan: StudyPlan, location: str) -> list[RemainingRuns]:
    """Count the runs that a study has left, and time some iterations of each method.

    Nothing is written. The methods train with the hyper-parameters of ``settings``, or else with
    those at the lowest corner of their search spaces.

    Args:
        plan: The plan of the study.
        location: The results directory; it need not exist.

    Raises:
        UserError: The directory has a different study or damaged results, or data is missing.
    """
    sources = _read_sources(plan, location)
    threads = torch.get_num_threads()
    torch.set_num_threads(plan.study.resources.cpu)
    try:
        remaining = []
        for benchmark in plan.outlines:
            of_benchmark = [s for s in sources if s.benchmark == benchmark and not s.complete]
            if of_benchmark:
                remaining += _estimate_benchmark(plan, benchmark, of_benchmark)
        return remaining
    finally:
        torch.set_num_threads(threads)


def _read_sources(plan: StudyPlan, location: str) -> Sequence[RunSource]:
    results = Results(location)
    finished = {}
    if results.has_study():
        require_same_study(plan.study, results)
        finished = read_outcomes(results, plan)
    return create_sources(plan, InMemoryStorage(), finished)


def _estimate_benchmark(
    plan: StudyPlan, benchmark: str, sources: Sequence[RunSource]
) -> list[RemainingRuns]:
    study, described = plan.study, plan.benchmark(benchmark)
    pool = DataPool.of(described.load(), permutes_pixels=described.permutes_pixels)
    arrangement, iterations = plan.arrangement(benchmark), plan.iterations(benchmark)
    remaining = []
    for source in sources:
        is_confirmation = source.phase == "confirm" and study.settings is None
        examples = None if is_confirmation else study.eval_examples
        train, evaluation = splits_for(pool, source.phase, arrangement, examples)
        schedule = EvaluationSchedule(study.eval_every, study.eval_dense, study.eval_tasks)
        evaluator = Evaluator(
            evaluation.prepared(described.prepare),
            "float32" if is_confirmation else study.eval_precision,
            device_of(study),
        )
        step, per_example = _time(plan, benchmark, source.method.name, train, evaluator, evaluation)
        evaluated = _count_evaluated(
            EVERY_ITERATION if is_confirmation else schedule, evaluation.sizes, iterations
        )
        n_seeds = 1
        if source.phase == "confirm":
            n_seeds = len(study.fresh_seeds if is_confirmation else study.seed_list)
        elif study.racing is None:
            n_seeds = len(study.seed_list)
        remaining.append(
            RemainingRuns(
                benchmark,
                source.method.title,
                source.phase,
                (source.total - len(source.outcomes)) * n_seeds,
                iterations * len(evaluation.sizes) * step + evaluated * per_example,
                study.resources.cpu,
            )
        )
    return remaining


def _time(
    plan: StudyPlan,
    benchmark: str,
    method: str,
    train: TaskSplit,
    evaluator: Evaluator,
    evaluation: TaskSplit,
) -> tuple[float, float]:
    """Return the seconds of one training step, and of the evaluation of one example."""
    study, described = plan.study, plan.benchmark(benchmark)
    run = ContinualTraining(
        train.to(device_of(study)),
        evaluator,
        described.build_model,
        partial(plan.methods[method].build, **_hyperparameters(plan, benchmark, method)),
        seed=0,
        iterations_per_task=_TIMED_ITERATIONS,
        stream=StreamOptions(described.batch_size, study.strategy, study.buffer_size),
        evaluation=EvaluationSchedule(every=_TIMED_ITERATIONS),
        prepare=described.prepare,
        augment=described.augment,
        device=device_of(study),
    )
    while not run.finished:  # the first task includes work that happens once
        record = run.train_task()
    tasks = range(len(evaluation.sizes))
    started = time.perf_counter()
    evaluator(run.learner.evaluated, tasks)[0].sum().item()
    per_evaluation = time.perf_counter() - started
    step = max(0.0, record.seconds - per_evaluation) / len(record.steps)
    return step, per_evaluation / sum(evaluation.sizes)


def _hyperparameters(plan: StudyPlan, benchmark: str, method: str) -> Config:
    settings = plan.study.settings
    chosen = plan.methods[method].example if settings is None else settings[method]
    return plan.fixed_hyperparameters(benchmark, method) | chosen


def _count_evaluated(schedule: EvaluationSchedule, sizes: Sequence[int], iterations: int) -> int:
    """Return the number of examples that one run evaluates."""
    return sum(
        sizes[evaluated]
        for task in range(len(sizes))
        for step in range(iterations)
        for evaluated in schedule.tasks_at(task, step, iterations)
    )
