"""Many runs on Split-Digits at once: their weights are stacked, and each step is one product.

A run has the initial weights, batches and metrics of the same run of
:class:`~ngm_tune.training.loop.ContinualTraining`, up to rounding, and takes a fraction of its
time. SGD with momentum and NGM-SGD on the benchmark's MLP are implemented.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ngm_tune.benchmarks import Benchmark, TaskSplit
from ngm_tune.metrics.curves import AccuracyCurves
from ngm_tune.metrics.registry import METRICS
from ngm_tune.optim.dynamics import next_gain
from ngm_tune.optim.predictions import predictive_entropy
from ngm_tune.training.options import EvaluationSchedule, StreamOptions
from ngm_tune.training.seeding import derive_seed, seeded
from ngm_tune.training.streams import Stream

Floats = NDArray[np.float64]


class Rule(NamedTuple):
    """Hyper-parameters of N runs, each of shape (N, 1, 1): SGD with momentum and a gain."""

    lr: Tensor
    momentum: Tensor
    gain_sensitivity: Tensor
    entropy_smoothing: Tensor


def rule_of(settings: Sequence[dict[str, float]]) -> Rule:
    """Return the rule of N runs of NGM-SGD or of SGD with momentum 0.9.

    Args:
        settings: Hyper-parameters of each run, from ``Method.settings_at``.
    """

    def column(name: str, default: float) -> Tensor:
        values = [setting.get(name, default) for setting in settings]
        return torch.tensor(values, dtype=torch.float32)[:, None, None]

    has_gain = ["gain_sensitivity" in setting for setting in settings]
    momentum = torch.where(torch.tensor(has_gain), 0.0, 0.9)[:, None, None]
    return Rule(
        column("lr", 0.0),
        momentum,
        column("gain_sensitivity", 0.0),
        column("entropy_smoothing", 0.0),
    )


@torch.no_grad()
def train(
    benchmark: Benchmark,
    split: TaskSplit,
    evaluated: TaskSplit,
    rule: Rule,
    seeds: Sequence[int],
    schedule: EvaluationSchedule,
    objectives: Sequence[str],
) -> Floats:
    """Train N runs.

    Args:
        benchmark: A benchmark whose network is an MLP with three layers and without biases.
        split: Training examples.
        evaluated: Evaluation examples.
        rule: Hyper-parameters of the runs.
        seeds: Seed of each run.
        schedule: When all seen tasks are evaluated.
        objectives: Names of metrics.

    Returns:
        The objectives of the runs after every task, shape (N, K, M); the worst values of a diverged
        run.
    """
    gain = torch.ones(len(seeds), 1, 1)
    weights = _initial_weights(benchmark, seeds)
    velocities = [torch.zeros_like(weight) for weight in weights]
    inputs = split.inputs_of(torch.arange(len(split.labels))).flatten(1)
    images = evaluated.inputs_of(torch.arange(len(evaluated.labels))).flatten(1)
    iterations = benchmark.iterations_per_task
    options = StreamOptions(benchmark.batch_size)
    streams = {
        seed: Stream(split.sizes, options, iterations=iterations, seed=seed) for seed in set(seeds)
    }
    diverged = torch.zeros(len(seeds), dtype=torch.bool)
    times, rows = [], []
    for task in range(len(split.sizes)):
        of_seed = {seed: stream.batches(task) for seed, stream in streams.items()}
        batches = torch.stack([of_seed[seed] for seed in seeds], dim=1)
        for step, batch in enumerate(batches):
            x, labels = inputs[batch], split.labels[batch]
            first = torch.relu(torch.bmm(x, weights[0]).mul_(gain))
            second = torch.relu(torch.bmm(first, weights[1]).mul_(gain))
            logits = torch.bmm(second, weights[2]).mul_(gain)
            errors = logits.softmax(-1)
            diverged |= ~errors.flatten(1).isfinite().all(dim=1)
            entropy = predictive_entropy(logits).mean(dim=1)[:, None, None]
            errors.scatter_add_(2, labels[..., None], -torch.ones_like(errors[..., :1]))
            errors.mul_(gain / len(x[0]))
            into_second = torch.bmm(errors, weights[2].mT).mul_(second > 0).mul_(gain)
            into_first = torch.bmm(into_second, weights[1].mT).mul_(first > 0).mul_(gain)
            ahead = ((x, into_first), (first, into_second), (second, errors))
            for weight, velocity, (below, above) in zip(weights, velocities, ahead, strict=True):
                velocity.mul_(rule.momentum).add_(torch.bmm(below.mT, above))
                weight.sub_(rule.lr * velocity)
            if tasks := schedule.tasks_at(task, step, iterations):
                times.append(task * iterations + step + 1)
                rows.append(_accuracy(images, evaluated, weights, len(tasks)))
            gain = next_gain(
                gain,
                entropy,
                sensitivity=rule.gain_sensitivity,
                smoothing=rule.entropy_smoothing,
                baseline=torch.ones_like(gain),
            )
    diverged |= ~torch.stack([w.flatten(1).isfinite().all(dim=1) for w in weights]).all(dim=0)
    ends = [(task + 1) * iterations for task in range(len(split.sizes))]
    values = _objectives(np.array(times), np.stack(rows), ends, objectives)
    values[diverged.numpy()] = [METRICS[name].worst for name in objectives]
    return values


def _initial_weights(benchmark: Benchmark, seeds: Sequence[int]) -> list[Tensor]:
    """Return the initial weights of every layer, shape (N, fan-in, fan-out)."""
    of_seed = {}
    for seed in set(seeds):
        with seeded(derive_seed(seed, "weights")):
            of_seed[seed] = [w.detach().mT for w in benchmark.build_model().parameters()]
    layers = zip(*(of_seed[seed] for seed in seeds), strict=True)
    return [torch.stack(layer) for layer in layers]


def _accuracy(
    images: Tensor, evaluated: TaskSplit, weights: Sequence[Tensor], tasks: int
) -> Floats:
    """Return the accuracy of every run on every task, shape (N, K); NaN for unseen tasks.

    A positive gain on every layer does not change the predictions of a network without biases.
    """
    end = evaluated.seen(tasks)
    hidden = torch.relu(torch.matmul(images[:end], weights[0]))
    hidden = torch.relu(torch.bmm(hidden, weights[1]))
    correct = torch.bmm(hidden, weights[2]).argmax(dim=2) == evaluated.labels[:end]
    parts = torch.split(correct, list(evaluated.sizes[:tasks]), dim=1)
    accuracy = np.full((len(correct), len(evaluated.sizes)), np.nan)
    for task, part in enumerate(parts):
        accuracy[:, task] = part.float().mean(dim=1)
    return accuracy


def _objectives(
    times: NDArray[np.int64], accuracy: Floats, ends: Sequence[int], names: Sequence[str]
) -> Floats:
    """Return the objectives after every task, shape (N, K, M).

    Args:
        times: Evaluated iterations, shape (E,).
        accuracy: Accuracy of every run on every task, shape (E, N, K).
        ends: Last iteration of every task.
        names: The M objectives.
    """
    values = np.empty((accuracy.shape[1], len(ends), len(names)))
    for tasks, end in enumerate(ends, 1):
        until = np.searchsorted(times, end, side="right")
        for run in range(len(values)):
            curves = AccuracyCurves(times[:until], accuracy[:until, run, :tasks], ends[:tasks])
            values[run, tasks - 1] = [METRICS[name].compute(curves) for name in names]
    return values
