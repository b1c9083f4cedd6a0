"""The MNIST benchmarks on the real data, against the paper's published runs."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest
import torch

from ngm_tune.benchmarks import TaskData, get_benchmark
from ngm_tune.evaluation import Evaluator
from ngm_tune.methods import get_method
from ngm_tune.training import ContinualTraining


@pytest.fixture(scope="module", autouse=True)
def data() -> Path:
    folder = os.environ.get("NGM_TUNE_DATA")
    if folder is None or not (Path(folder) / "MNIST" / "raw").is_dir():
        pytest.skip("NGM_TUNE_DATA names no folder with MNIST/raw")
    return Path(folder)


@pytest.fixture(scope="module")
def split_mnist(data: Path) -> TaskData:
    return get_benchmark("split-mnist").load()


def test_split_mnist_is_all_of_mnist_two_digits_a_task(split_mnist: TaskData) -> None:
    everything = split_mnist.train.joined(split_mnist.validation)
    assert everything.sizes == (12665, 12089, 11263, 12183, 11800)
    assert split_mnist.test.sizes == (2115, 2042, 1874, 1986, 1983)
    for task, labels in enumerate(split_mnist.test.labels.split(split_mnist.test.sizes)):
        assert set(labels.tolist()) == {2 * task, 2 * task + 1}
    pixels = everything.inputs.double() / 255
    assert pixels.mean().item() == pytest.approx(0.1307, abs=1e-4)
    assert pixels.std().item() == pytest.approx(0.3081, abs=1e-4)


def test_rotated_and_permuted_mnist_show_the_same_digits_three_times(data: Path) -> None:
    for name in ("rotated-mnist", "permuted-mnist"):
        test = get_benchmark(name).load().test
        assert test.sizes == (10_000,) * 3
        first, second, third = test.inputs.split(test.sizes)
        labels = test.labels.split(test.sizes)
        assert torch.equal(labels[0], labels[1])
        assert not torch.equal(first, second)
        assert not torch.equal(second, third)
        if name == "permuted-mnist":
            for other in (second, third):
                sums = (t.flatten(1).long().sum(1) for t in (first, other))
                assert torch.equal(*sums)


def two_tasks(data: TaskData, method: str, **settings: float) -> ContinualTraining:
    """The authors' settings on the first two tasks, first-task accuracy after every iteration."""
    benchmark = get_benchmark("split-mnist")
    run = ContinualTraining(
        data.train.joined(data.validation),
        Evaluator(data.test.prepared(benchmark.prepare)),
        benchmark.build_model,
        partial(get_method(method).build, **settings),
        seed=42,
        batch_size=benchmark.batch_size,
        iterations_per_task=benchmark.iterations_per_task,
        prepare=benchmark.prepare,
    )
    run.train_task()
    run.train_task()
    return run


def test_momentum_forgets_everything_for_a_moment(split_mnist: TaskData) -> None:
    run = two_tasks(split_mnist, "momentum-sgd", lr=0.01)
    assert run.records[0].accuracy[-1, 0].item() == pytest.approx(0.9993, abs=0.003)
    assert run.records[1].accuracy[:, 0].min().item() < 0.05
    assert run.records[1].accuracy[-1, 0].item() == pytest.approx(0.9919, abs=0.006)


def test_the_gain_of_ngm_sgd_is_that_of_the_authors(split_mnist: TaskData) -> None:
    run = two_tasks(split_mnist, "ngm-sgd", lr=0.01, gain_sensitivity=0.4, entropy_smoothing=0.9)
    gains = [record.steps[:, 2] for record in run.records]
    assert torch.cat(gains).max().item() == pytest.approx(3.09, abs=0.3)
    assert gains[0][-1].item() == pytest.approx(1.31, abs=0.1)
    assert gains[1][-1].item() == pytest.approx(1.68, abs=0.1)
    first = [record.accuracy[:, 0] for record in run.records]
    assert first[0][-1].item() == pytest.approx(0.9988, abs=0.006)
    assert first[1][-1].item() == pytest.approx(0.9922, abs=0.006)
    assert 1.0 - first[1].min().item() / first[0][-1].item() < 0.1
