"""Cost of NGM-SGD and of the training loop, relative to a reference in the same process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD, Optimizer
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from ngm_tune import NGMSGD
from ngm_tune.benchmarks import TaskSplit
from ngm_tune.benchmarks.models import MLP, SlimResNet18
from ngm_tune.training.evaluation import Evaluator
from ngm_tune.training.loop import ContinualTraining
from ngm_tune.training.options import EvaluationMode, EvaluationSchedule, StreamOptions

pytestmark = pytest.mark.slow


def paper_mlp() -> nn.Module:
    return MLP((784, 400, 400, 10), hidden_std=0.01, output_std=0.05)


def sgd(model: nn.Module) -> Optimizer:
    return SGD(model.parameters(), lr=0.01)


def median_ratio(
    measured: Callable[[], object], reference: Callable[[], object], rounds: int = 9
) -> float:
    """Return the median ratio of the CPU times of two functions, which are called in turns.

    Load on the machine therefore affects both. Tests compute with one thread, so the CPU time is
    the wall time without the time spent waiting for other processes.
    """
    ratios = []
    measured(), reference()
    for _ in range(rounds):
        times = []
        for work in (measured, reference):
            started = time.process_time()
            work()
            times.append(time.process_time() - started)
        ratios.append(times[0] / times[1])
    return statistics.median(ratios)


def training(build: Callable[[nn.Module], Optimizer], batch: int = 128) -> Callable[[], None]:
    """Return a function that trains the paper's MLP for thirty iterations."""
    torch.manual_seed(0)
    model = paper_mlp()
    optimizer = build(model)
    inputs, labels = torch.randn(batch, 784), torch.randint(10, (batch,))

    def thirty_iterations() -> None:
        for _ in range(30):
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), labels).backward()
            optimizer.step()

    return thirty_iterations


def test_ngm_sgd_costs_little_more_than_sgd() -> None:
    """The ratio is measured on the paper's MLP with the paper's batch size."""
    ratio = median_ratio(training(NGMSGD), training(sgd))
    print(f"NGM-SGD / SGD, seconds per training iteration: {ratio:.3f}")
    assert ratio < 1.25


def test_a_resnet_trains_faster_with_channels_last() -> None:
    """The reference applies the same layers in sequence, in the channels-first layout of images."""
    torch.manual_seed(0)
    model = SlimResNet18(classes=10)
    layers = nn.Sequential(*model.children())
    inputs, labels = torch.randn(64, 3, 32, 32), torch.randint(10, (64,))

    def step(network: nn.Module) -> Callable[[], None]:
        return lambda: F.cross_entropy(network(inputs), labels).backward()

    ratio = median_ratio(step(model), step(layers))
    print(f"channels last / channels first, seconds per ResNet step: {ratio:.3f}")
    assert ratio < 1.0


def test_tensor_batches_beat_a_data_loader() -> None:
    """The training loop with its recording is faster than a plain loop over a DataLoader.

    The network is so small that its computations do not hide the overhead.
    """
    torch.manual_seed(0)
    inputs, labels = torch.randn(4000, 1, 28, 28), torch.randint(10, (4000,))
    split = TaskSplit(inputs, labels, (4000,))
    few = TaskSplit(inputs[:10], labels[:10], (10,))
    small_mlp = partial(MLP, (784, 100, 10), hidden_std=0.01, output_std=0.05)

    def ours() -> None:
        run = ContinualTraining(
            split, Evaluator(few), small_mlp, sgd, seed=0, iterations_per_task=50,
            stream=StreamOptions(batch_size=128), evaluation=EvaluationSchedule(every=50),
        )  # fmt: skip
        run.train_task()

    def batches() -> Iterator[list[torch.Tensor]]:
        dataset = TensorDataset(inputs, labels)
        sampler = RandomSampler(dataset, replacement=True, num_samples=50 * 128)
        yield from DataLoader(dataset, batch_size=128, sampler=sampler)

    def data_loader() -> None:
        model = small_mlp()
        optimizer = sgd(model)
        for x, y in batches():
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()

    ratio = median_ratio(ours, data_loader)
    print(f"ContinualTraining / DataLoader loop, seconds per 50 iterations: {ratio:.3f}")
    assert ratio < 1.0


def test_adaptive_evaluation_takes_less_than_half_the_time() -> None:
    """Whole runs, of which training is a small part, on tasks as large as those of Split-MNIST."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(4).repeat_interleave(1000)
    inputs = 0.3 * torch.randn(4, 784, generator=generator)[labels]
    inputs += torch.randn(len(labels), 784, generator=generator)
    split = TaskSplit(inputs, labels, (2000, 2000))

    def train(mode: EvaluationMode) -> None:
        run = ContinualTraining(
            split, Evaluator(split), paper_mlp, sgd, seed=0, iterations_per_task=60,
            stream=StreamOptions(batch_size=32), evaluation=EvaluationSchedule(mode=mode),
        )  # fmt: skip
        while not run.finished:
            run.train_task()

    ratio = median_ratio(partial(train, "adaptive"), partial(train, "full"), rounds=3)
    print(f"adaptive / full evaluation, seconds per run: {ratio:.3f}")
    assert ratio < 0.5
