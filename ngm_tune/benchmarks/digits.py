"""Benchmarks on the 1,797 handwritten digits (8 x 8 pixels) of scikit-learn; no download needed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ngm_tune.benchmarks.benchmark import Benchmark
from ngm_tune.benchmarks.networks import build_mlp

if TYPE_CHECKING:
    from torch import Tensor

    from ngm_tune.benchmarks.tasks import TaskData, TaskSplit

_MEAN, _STD = 0.3039, 0.3752  # of the training split, with pixels in [0, 1]
_SPLIT_SEED = 0
ANGLES = (0.0, 80.0, 160.0)


def _load_splits() -> list[tuple[Tensor, Tensor]]:
    """Split the digits into 50 % training, 25 % validation and 25 % test images.

    The split is stratified by class and always the same.

    Returns:
        Images of shape (N, 1, 8, 8) in [0, 1], and labels of shape (N,), for each split.
    """
    # Slow to import, and workers receive the data from the driver.
    import numpy as np
    import torch
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16.0
    labels = torch.tensor(digits.target, dtype=torch.int64)
    everything = np.arange(len(labels))
    train, rest = train_test_split(
        everything, test_size=0.5, stratify=labels, random_state=_SPLIT_SEED
    )
    validation, test = train_test_split(
        rest, test_size=0.5, stratify=labels[rest], random_state=_SPLIT_SEED
    )
    return [(images[part], labels[part]) for part in map(np.sort, (train, validation, test))]


def _join_tasks(tasks: list[tuple[Tensor, Tensor]]) -> TaskSplit:
    import torch

    from ngm_tune.benchmarks.tasks import TaskSplit

    inputs = torch.cat([images for images, _ in tasks])
    labels = torch.cat([labels for _, labels in tasks])
    return TaskSplit((inputs - _MEAN) / _STD, labels, tuple(len(labels) for _, labels in tasks))


def _load_split_digits() -> TaskData:
    from ngm_tune.benchmarks.tasks import TaskData

    def split_digits(images: Tensor, labels: Tensor) -> TaskSplit:
        pairs = [labels // 2 == task for task in range(5)]
        return _join_tasks([(images[mask], labels[mask]) for mask in pairs])

    return TaskData(*(split_digits(*split) for split in _load_splits()))


def _load_rotated_digits() -> TaskData:
    from torchvision.transforms.functional import InterpolationMode, rotate

    from ngm_tune.benchmarks.tasks import TaskData

    def rotate_digits(images: Tensor, labels: Tensor) -> TaskSplit:
        turn = partial(rotate, images, interpolation=InterpolationMode.BILINEAR)
        return _join_tasks([(turn(angle), labels) for angle in ANGLES])

    return TaskData(*(rotate_digits(*split) for split in _load_splits()))


_mlp = partial(build_mlp, (64, 100, 100, 10), hidden_std=0.03, output_std=0.1)
"""The paper's MLP, scaled to the digits: 64-100-100-10.

The initial weights have the same ratio to the fan-in as in the 784-400-400-10 network: hidden
layers have 0.2 times Kaiming's standard deviation, the output layer has 1/sqrt(fan-in).
"""

SPLIT_DIGITS = Benchmark(
    name="split-digits",
    title="Split-Digits",
    kind="class-incremental",
    tasks=5,
    classes=10,
    batch_size=32,
    iterations_per_task=200,
    load=_load_split_digits,
    build_model=_mlp,
)

ROTATED_DIGITS = Benchmark(
    name="rotated-digits",
    title="Rotated-Digits",
    kind="domain-incremental",
    tasks=3,
    classes=10,
    batch_size=32,
    iterations_per_task=400,
    load=_load_rotated_digits,
    build_model=_mlp,
)
