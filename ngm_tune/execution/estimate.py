"""What a study has left to run, and how long that takes on this machine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch

from ngm_tune.benchmarks import Benchmark
from ngm_tune.benchmarks.pool import DataPool
from ngm_tune.benchmarks.tasks import TaskSplit
from ngm_tune.errors import UserError
from ngm_tune.execution.split_cache import Arrays, SplitCache
from ngm_tune.execution.trial_config import TrialConfig, build_trial_config, device_of
from ngm_tune.learners.modes import evaluation_weights
from ngm_tune.methods import get_method
from ngm_tune.search.fixed_runs import RunSource
from ngm_tune.search.run_spec import Phase, RunSpec
from ngm_tune.study.plan import StudyPlan
from ngm_tune.training.adaptive import TYPICAL_SHARE
from ngm_tune.training.evaluation import Evaluator
from ngm_tune.training.loop import ContinualTraining
from ngm_tune.training.options import EvaluationSchedule, StreamOptions

_TIMED_ITERATIONS = 20


@dataclass(frozen=True)
class RemainingRuns:
    """Runs of one method on one benchmark that a study has left.

    Attributes:
        benchmark: Name of the benchmark.
        method: Title of the method.
        phase: ``"search"``, ``"confirm"`` for confirmations and fixed runs, or ``"transfer"``.
        seed_runs: Number of trainings with one seed. Before the search has ended, the number of
            confirmations and transfers is the largest possible one.
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


def estimate(plan: StudyPlan, location: str, sources: Sequence[RunSource]) -> list[RemainingRuns]:
    """Count the runs that a study has left, and time some iterations of each method.

    Nothing is written. The methods train with the hyper-parameters of ``settings``, or else with
    those at the lowest corner of their search spaces.

    Args:
        plan: The plan of the study.
        location: The results directory; it need not exist.
        sources: The searches and fixed runs of the study
            (:func:`ngm_tune.workspace.remaining.read_sources`).

    Raises:
        UserError: Data is missing, or a method raises an exception.
    """
    remaining: dict[tuple[str, str, str], list[RunSource]] = {}
    for source in sources:
        if not source.complete:
            key = (source.phase, source.benchmark, source.method.name)
            remaining.setdefault(key, []).append(source)
    splits = SplitCache(lambda name: _load_data(plan.benchmark(name)), device_of(plan.study))
    threads = torch.get_num_threads()
    torch.set_num_threads(plan.study.resources.cpu)
    try:
        return [
            _estimate_repetitions(plan, location, repetitions, splits)
            for repetitions in remaining.values()
        ]
    finally:
        torch.set_num_threads(threads)


def _load_data(benchmark: Benchmark) -> Arrays:
    return DataPool.of(benchmark.load(), permutes_pixels=benchmark.permutes_pixels).arrays()


def _estimate_repetitions(
    plan: StudyPlan, location: str, repetitions: Sequence[RunSource], splits: SplitCache
) -> RemainingRuns:
    """Estimate the runs of one method, benchmark and phase, by timing the first repetition."""
    source = repetitions[0]
    study, benchmark = plan.study, plan.benchmark(source.benchmark)
    settings = study.settings
    spec = RunSpec(
        benchmark=benchmark.name,
        method=source.method.name,
        repetition=source.repetition,
        phase=source.phase,
        run_id="",
        seeds=(0,),
        trial_id="",
        hyperparameters=source.method.example if settings is None else settings[source.method.name],
        coordinates={},
    )
    config = build_trial_config(plan, location, spec)
    train, evaluator = splits.get(
        benchmark,
        source.phase,
        plan.arrangement(benchmark.name, source.repetition),
        config["eval_examples"],
        config["eval_precision"],
    )
    try:
        step, per_example = _time(benchmark, config, train, evaluator)
    except Exception as error:  # anything that a user's method raises
        raise UserError(f"{source.method.name} on {benchmark.name} raises {error!r}") from error
    schedule = EvaluationSchedule(
        config["eval_every"], config["eval_dense"], config["eval_tasks"], config["evaluation"]
    )
    iterations = config["iterations_per_task"]
    evaluated = _count_evaluated(schedule, evaluator.sizes, iterations)
    return RemainingRuns(
        benchmark=benchmark.name,
        method=source.method.title,
        phase=source.phase,
        seed_runs=sum(each.remaining_seed_runs for each in repetitions),
        seconds=iterations * evaluator.tasks * step + evaluated * per_example,
        cores=study.resources.cpu,
    )


def _time(
    benchmark: Benchmark, config: TrialConfig, train: TaskSplit, evaluator: Evaluator
) -> tuple[float, float]:
    """Return the seconds of one training step, and of the evaluation of one example."""
    run = ContinualTraining(
        train,
        evaluator,
        benchmark.build_model,
        partial(get_method(config["method"]).build, **config["hyperparameters"]),
        seed=0,
        iterations_per_task=_TIMED_ITERATIONS,
        stream=StreamOptions(benchmark.batch_size, config["strategy"], config["buffer_size"]),
        evaluation=EvaluationSchedule(every=_TIMED_ITERATIONS),
        prepare=benchmark.prepare,
        augment=benchmark.augment,
        device=config["device"],
    )
    while not run.finished:  # the first task includes work that happens once
        record = run.train_task()
    started = time.perf_counter()
    with evaluation_weights(run.learner) as model:
        evaluator(model, range(evaluator.tasks))[0].sum().item()
    per_evaluation = time.perf_counter() - started
    step = max(0.0, record.seconds - per_evaluation) / len(record.steps)
    return step, per_evaluation / sum(evaluator.sizes)


def _count_evaluated(schedule: EvaluationSchedule, sizes: Sequence[int], iterations: int) -> int:
    """Return the number of examples that one run evaluates."""
    at_ends = sum(sum(sizes[: task + 1]) for task in range(len(sizes)))
    before = sum(
        sizes[evaluated]
        for task in range(len(sizes))
        for step in range(iterations - 1)
        for evaluated in schedule.tasks_at(task, step, iterations)
    )
    return at_ends + round(before * (TYPICAL_SHARE if schedule.mode == "adaptive" else 1.0))
