"""The MNIST benchmarks on real data, compared with the published runs of the paper."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest
import torch

from ngm_tune.benchmarks import TaskData, get_benchmark
from ngm_tune.benchmarks.mnist import MNIST
from ngm_tune.benchmarks.sources import load_images
from ngm_tune.methods import get_method
from ngm_tune.metrics.functional import stability_gaps
from ngm_tune.training.evaluation import Evaluator
from ngm_tune.training.loop import ContinualTraining
from ngm_tune.training.options import EvaluationSchedule, StreamOptions


@pytest.fixture(scope="module", autouse=True)
def data() -> Path:
    folder = os.environ.get("NGM_TUNE_DATA")
    if folder is None or not (Path(folder) / "MNIST" / "raw").is_dir():
        pytest.skip("NGM_TUNE_DATA names no folder with MNIST/raw")
    return Path(folder)


@pytest.fixture(scope="module")
def split_mnist(data: Path) -> TaskData:
    return get_benchmark("split-mnist").load()


def test_split_mnist_has_two_digits_per_task_and_all_images(split_mnist: TaskData) -> None:
    everything = split_mnist.train.joined(split_mnist.validation)
    assert everything.sizes == (12665, 12089, 11263, 12183, 11800)
    assert split_mnist.test.sizes == (2115, 2042, 1874, 1986, 1983)
    for task, labels in enumerate(split_mnist.test.labels.split(split_mnist.test.sizes)):
        assert set(labels.tolist()) == {2 * task, 2 * task + 1}
    pixels = everything.inputs.double() / 255
    assert pixels.mean().item() == pytest.approx(0.1307, abs=1e-4)
    assert pixels.std().item() == pytest.approx(0.3081, abs=1e-4)


@pytest.mark.slow
def test_rotated_and_permuted_mnist_have_the_same_digits_in_three_tasks(data: Path) -> None:
    for name in ("rotated-mnist", "permuted-mnist"):
        test = get_benchmark(name).load().test
        assert test.sizes == (10_000,) * 3
        first, second, third = test.inputs.split(test.sizes)
        labels = test.labels.split(test.sizes)
        assert torch.equal(labels[0], labels[1])
        assert not torch.equal(first, second)
        assert not torch.equal(second, third)
        if name == "permuted-mnist":
            pixels = torch.from_numpy(load_images(MNIST, "test").pixels)
            assert torch.equal(first, pixels)  # unchanged
            for other in (second, third):
                sums = (t.flatten(1).long().sum(1) for t in (first, other))
                assert torch.equal(*sums)


TASK_ENDS = {
    "ngm-sgd": (0.9988, 0.9922, 0.9909, 0.9871, 0.9818),
    "momentum-sgd": (0.9993, 0.9919, 0.9900, 0.9889, 0.9841),
    "sgd": (0.9982, 0.9853, 0.9805, 0.9769, 0.9741),
}
"""Published accuracy on the first task at the end of each task."""
GAPS = {"ngm-sgd": 0.028, "momentum-sgd": 0.274, "sgd": 0.010}
"""Published stability gap on the first task: the mean over transitions, per seed."""
GAINS = (1.31, 1.68, 1.89, 1.94, 2.11)


@pytest.mark.slow
@pytest.mark.parametrize("method", TASK_ENDS)
def test_a_run_agrees_with_the_published_runs(split_mnist: TaskData, method: str) -> None:
    """The run has the authors' settings and one of their seeds. Adam's seeds vary too much."""
    benchmark = get_benchmark("split-mnist")
    gain = {"gain_sensitivity": 0.4, "entropy_smoothing": 0.9} if method == "ngm-sgd" else {}
    run = ContinualTraining(
        split_mnist.train.joined(split_mnist.validation),
        Evaluator(split_mnist.test.prepared(benchmark.prepare)),
        benchmark.build_model,
        partial(get_method(method).build, lr=0.01, **gain),
        seed=42,
        iterations_per_task=benchmark.iterations_per_task,
        stream=StreamOptions(benchmark.batch_size),
        evaluation=EvaluationSchedule(every=4, dense=40, tasks="first-and-previous"),
        prepare=benchmark.prepare,
    )
    while not run.finished:
        run.train_task()
    ends = run.curves().at_task_ends()[:, 0]
    assert ends == pytest.approx(TASK_ENDS[method], abs=0.006)
    gaps = stability_gaps(run.curves(), "first")
    assert gaps.mean() == pytest.approx(GAPS[method], abs=0.01)
    if method == "momentum-sgd":
        assert gaps[0] >= 0.95  # accuracy drops to zero temporarily
    if method == "ngm-sgd":
        gains_of_tasks = [record.steps[:, 2] for record in run.records]
        assert [float(gains[-1]) for gains in gains_of_tasks] == pytest.approx(GAINS, abs=0.1)
        assert float(torch.cat(gains_of_tasks).max()) == pytest.approx(3.09, abs=0.3)
