"""Milliseconds of a training iteration and of an evaluation, on one thread of a CPU.

The images are noise with the shape of each benchmark, so the script needs no data. Times are
medians over rounds that alternate between the methods.
"""

import time
from collections.abc import Callable
from functools import partial
from itertools import count
from statistics import median

import torch
from tabulate import tabulate

from ngm_tune.benchmarks import TaskSplit, get_benchmark
from ngm_tune.methods import get_method
from ngm_tune.training.evaluation import Evaluator
from ngm_tune.training.loop import ContinualTraining
from ngm_tune.training.options import EvaluationSchedule, StreamOptions

SHAPES = {
    "split-digits": (1, 8, 8),
    "split-mnist": (1, 28, 28),
    "rotated-mnist": (1, 28, 28),
    "split-cifar10": (3, 32, 32),
    "domain-cifar100": (3, 32, 32),
    "split-mini-imagenet": (3, 84, 84),
}
METHODS = {
    "sgd": {"lr": 0.01},
    "ngm-sgd": {"lr": 0.01, "gain_sensitivity": 0.2, "entropy_smoothing": 0.9},
    "adam": {"lr": 0.01},
}
IMAGES, ROUNDS = 1000, 7


def milliseconds(work: Callable[[], object], times: int = 1) -> float:
    """Mean time of a call."""
    started = time.perf_counter()
    for _ in range(times):
        work()
    return 1000 * (time.perf_counter() - started) / times


def row(name: str, shape: tuple[int, ...]) -> dict[str, object]:
    """One row of the table."""
    torch.manual_seed(0)
    benchmark = get_benchmark(name)
    images = TaskSplit(torch.randn(IMAGES, *shape), torch.randint(10, (IMAGES,)), (IMAGES,))
    iterations = 20 if shape[-1] < 32 else 1
    runs = {
        method: (
            ContinualTraining(
                images,
                Evaluator(TaskSplit(images.inputs[:1], images.labels[:1], (1,))),
                benchmark.build_model,
                partial(get_method(method).build, **settings),
                seed=seed,
                iterations_per_task=iterations,
                stream=StreamOptions(benchmark.batch_size),
                evaluation=EvaluationSchedule(every=iterations),
            ).train_task
            for seed in count()
        )
        for method, settings in METHODS.items()
    }
    times: dict[str, list[float]] = {method: [] for method in runs}
    model = benchmark.build_model()
    for precision in ("float32", "mixed"):
        times[f"evaluation, {precision}"] = []
    evaluators = {p: Evaluator(images, p) for p in ("float32", "mixed")}  # type: ignore[arg-type]
    for _ in range(ROUNDS):
        for method, tasks in runs.items():
            times[method].append(milliseconds(next(tasks)) / iterations)
        for precision, evaluator in evaluators.items():
            times[f"evaluation, {precision}"].append(milliseconds(partial(evaluator, model, [0])))
    return {"benchmark": benchmark.name} | {k: f"{median(v):.1f}" for k, v in times.items()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    rows = [row(name, shape) for name, shape in SHAPES.items()]
    print(tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True))
