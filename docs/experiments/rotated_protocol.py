"""Stability gap on Rotated-MNIST for variants of the protocol that the paper may have used.

Set NGM_TUNE_DATA to a folder that holds MNIST. The script takes about half an hour on one core. As
in rotated_mnist.py, the gaps are those of the first task on 2,000 test images, with minima on the
mean curve over three seeds.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from rotated_mnist import BLACK, METHODS, TEST_IMAGES, print_gaps, rotated
from torchvision.transforms.functional import InterpolationMode

from ngm_tune.benchmarks import TaskSplit
from ngm_tune.benchmarks.models import MLP
from ngm_tune.methods import get_method
from ngm_tune.training.evaluation import Evaluator
from ngm_tune.training.loop import ContinualTraining
from ngm_tune.training.options import EvaluationSchedule, StreamOptions

BILINEAR = (InterpolationMode.BILINEAR, 1, BLACK)


class Protocol(NamedTuple):
    """A protocol; the default is that of the benchmark rotated-mnist."""

    iterations: int = 400
    hidden_std: float = 0.01
    output_std: float = 0.05
    disjoint: bool = False
    """Whether each task has a different third of the training images."""


PROTOCOLS = {
    "ours": Protocol(),
    "200 iterations a task": Protocol(iterations=200),
    "800 iterations a task": Protocol(iterations=800),
    "initial weights 0.88 times as large": Protocol(hidden_std=0.0088, output_std=0.044),
    "a third of the training images for each task": Protocol(disjoint=True),
}


def thirds(split: TaskSplit) -> TaskSplit:
    """Every third image of each task; tasks share no image."""
    inputs, labels, start = [], [], 0
    for task, size in enumerate(split.sizes):
        part = slice(start + task, start + size, len(split.sizes))
        inputs.append(split.inputs[part])
        labels.append(split.labels[part])
        start += size
    return TaskSplit(torch.cat(inputs), torch.cat(labels), tuple(map(len, labels)))


def first_task_accuracy(name: str, method: str, seed: int) -> np.ndarray:
    """Accuracy on the first task after every iteration, shape (iterations,)."""
    protocol = PROTOCOLS[name]
    torch.set_num_threads(1)
    train = rotated("train", 60_000, *BILINEAR)
    run = ContinualTraining(
        thirds(train) if protocol.disjoint else train,
        Evaluator(rotated("test", TEST_IMAGES, *BILINEAR), "mixed"),
        lambda: MLP(
            (784, 400, 400, 10), hidden_std=protocol.hidden_std, output_std=protocol.output_std
        ),
        partial(get_method(method).build, **METHODS[method]),
        seed=seed,
        iterations_per_task=protocol.iterations,
        stream=StreamOptions(batch_size=128),
        evaluation=EvaluationSchedule(tasks="first-and-previous"),
    )
    while not run.finished:
        run.train_task()
    return run.curves().accuracy[:, 0]


if __name__ == "__main__":
    print_gaps("protocol", PROTOCOLS, first_task_accuracy)
