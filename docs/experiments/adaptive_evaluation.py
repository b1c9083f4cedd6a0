"""Error and cost of adaptive evaluation, against full evaluation of the same runs.

Train five methods with five seeds on each benchmark, evaluate all examples after every iteration,
and let adaptive evaluation see only those that it asks for.

The data folder is the environment variable NGM_TUNE_DATA.

Usage: python docs/experiments/adaptive_evaluation.py BENCHMARK... [--seeds 5]
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from tabulate import tabulate
from torch import Tensor, nn

from ngm_tune.benchmarks import Benchmark, get_benchmark
from ngm_tune.methods import get_method
from ngm_tune.metrics import functional
from ngm_tune.metrics.curves import AccuracyCurves
from ngm_tune.training.adaptive import AdaptiveEvaluation
from ngm_tune.training.evaluation import Evaluation, Evaluator, ExampleScores
from ngm_tune.training.loop import ContinualTraining
from ngm_tune.training.options import StreamOptions

SETTINGS = {
    "ngm-sgd": {"lr": 0.01, "gain_sensitivity": 0.4, "entropy_smoothing": 0.9},
    "ngm-sgd-frozen-gain": {"lr": 0.01, "baseline_gain": 2.0},
    "sgd": {"lr": 0.01},
    "momentum-sgd": {"lr": 0.01},
    "adam": {"lr": 0.001},
}
METRICS: dict[str, Callable[[AccuracyCurves], float]] = {
    "avg_sg": functional.average_stability_gap,
    "avg_sg_first": partial(functional.average_stability_gap, of="first"),
    "avg_sg_old": partial(functional.average_stability_gap, of="old"),
    "min_acc": functional.minimum_accuracy,
    "gap_area": functional.gap_area,
    "recovery": functional.recovery,
}


class Known(Evaluator):
    """Evaluator of a model whose scores on all examples are known."""

    scores: ExampleScores

    def score(self, model: nn.Module, rows: Tensor) -> ExampleScores:
        """Look up the scores of some examples."""
        return ExampleScores(*(values[rows] for values in self.scores))


class Both(Evaluator):
    """Evaluates all examples, and hands them to adaptive evaluation on demand."""

    def __init__(self, benchmark: Benchmark, known: Known, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._length = benchmark.iterations_per_task
        self._known = known
        self._iteration = 0
        self.adaptive: list[Evaluation] = []

    def __call__(self, model: nn.Module, tasks: Sequence[int]) -> Evaluation:
        """Evaluate the tasks in full, and record their adaptive evaluation."""
        task, step = divmod(self._iteration, self._length)
        if step == 0:  # the known scores are those of the model when the task begins
            before = self.adaptive[-1].accuracy if task else torch.empty(0)
            self._follow = AdaptiveEvaluation(self._known, model, task, tasks, before)
        scores = self.score(model, torch.arange(self.rows(task).stop))
        self._known.scores = scores
        full = Evaluation.of_none(self.tasks, self.device)
        for each in tasks:
            rows = self.rows(each)
            full.accuracy[each] = scores.correct[rows.start : rows.stop].float().mean()
            full.loss[each] = scores.loss[rows.start : rows.stop].mean()
            full.examples[each] = len(rows)
        self.adaptive.append(full if step == self._length - 1 else self._follow(model))
        self._iteration += 1
        return full


def train(benchmark: Benchmark, method: str, seed: int) -> tuple[ContinualTraining, Both]:
    """Train a run; return it with its evaluator."""
    data = benchmark.load()
    test = data.test.prepared(benchmark.prepare)
    evaluator = Both(benchmark, Known(test), test, "mixed")
    run = ContinualTraining(
        data.train,
        evaluator,
        benchmark.build_model,
        partial(get_method(method).build, **SETTINGS[method]),
        seed=seed,
        iterations_per_task=benchmark.iterations_per_task,
        stream=StreamOptions(benchmark.batch_size),
        prepare=benchmark.prepare,
        augment=benchmark.augment,
    )
    while not run.finished:
        run.train_task()
    return run, evaluator


def compare(benchmark: Benchmark, method: str, seeds: int) -> dict[str, str]:
    """Return the largest error of each metric over the seeds, and the share of evaluations."""
    values, errors, shares, distances = [], [], [], []
    for seed in range(seeds):
        run, evaluator = train(benchmark, method, seed)
        exact = run.curves()
        accuracy = torch.stack([each.accuracy for each in evaluator.adaptive]).numpy()
        found = AccuracyCurves(exact.iterations, accuracy, exact.task_ends)
        values.append([metric(exact) for metric in METRICS.values()])
        errors.append([metric(found) for metric in METRICS.values()])
        evaluated = sum(int(each.examples.sum()) for each in evaluator.adaptive)
        shares.append(evaluated / sum(int(record.examples.sum()) for record in run.records))
        distances.append(np.nanmean(np.abs(found.accuracy - exact.accuracy)))
    largest = np.abs(np.array(errors) - values).max(axis=0)
    row = {"method": get_method(method).title, "avg_sg": f"{np.mean(values, axis=0)[0]:.3f}"}
    row |= {f"error of {name}": f"{e:.4f}" for name, e in zip(METRICS, largest, strict=True)}
    row |= {"curve": f"{np.mean(distances):.4f}", "share": f"{np.mean(shares):.1%}"}
    return row


def main() -> None:
    """Print a table for each benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benchmarks", nargs="+")
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.benchmarks:
        rows = [compare(get_benchmark(name), method, arguments.seeds) for method in SETTINGS]
        print(f"{name}, {arguments.seeds} seeds\n")
        print(tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True), end="\n\n")


main()
