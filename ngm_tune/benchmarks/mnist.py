"""Benchmarks on MNIST and Fashion-MNIST (arXiv 2507.14056, section 3)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ngm_tune.benchmarks.benchmark import Benchmark
from ngm_tune.benchmarks.networks import build_mlp
from ngm_tune.benchmarks.sources import Source
from ngm_tune.benchmarks.torchvision_files import mnist_layout

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ngm_tune.benchmarks.decoding import Images
    from ngm_tune.benchmarks.tasks import TaskData

MNIST = Source(
    name="MNIST",
    folders=("mnist", "MNIST"),
    label="label",
    counts={"train": 60_000, "test": 10_000},
    shape=(1, 28, 28),
    classes=10,
    balanced=False,
    torchvision=mnist_layout("MNIST"),
    command="python -c \"from torchvision.datasets import MNIST; MNIST('DIR', download=True)\"",
    checksums={
        "train": "ceb7dae35f33b78023fdd631afb40f55178e62cdc2ffb9a9914d62cf00c16f13",
        "test": "4be5dbf3279c06a13f5ec5886b40e9a0b86af9449a6194a03782ddd01e20fd11",
    },
)

FASHION_MNIST = Source(
    name="Fashion-MNIST",
    folders=("fashion_mnist", "fashion-mnist", "FashionMNIST"),
    label="label",
    counts={"train": 60_000, "test": 10_000},
    shape=(1, 28, 28),
    classes=10,
    torchvision=mnist_layout("FashionMNIST"),
    command=(
        'python -c "from torchvision.datasets import FashionMNIST; '
        "FashionMNIST('DIR', download=True)\""
    ),
)

ANGLES = (0.0, 80.0, 160.0)
_PERMUTATIONS = 2
_PERMUTATION_SEED = 0


def _split(source: Source) -> TaskData:
    from ngm_tune.benchmarks.tasks import TaskData, load_splits, split_by_class

    return TaskData(*(split_by_class(images, tasks=5) for images in load_splits(source)))


def _rotated(source: Source) -> TaskData:
    from ngm_tune.benchmarks.tasks import TaskData, load_splits, stack_domains

    def rotated(images: Images) -> list[NDArray[np.uint8]]:
        return [_rotate(images.pixels, angle) for angle in ANGLES]

    return TaskData(
        *(stack_domains(rotated(images), images.labels) for images in load_splits(source))
    )


def _permuted(source: Source) -> TaskData:
    """Cut into tasks: the original images, then fixed random permutations of their pixels."""
    import numpy as np

    from ngm_tune.benchmarks.tasks import TaskData, load_splits, stack_domains

    random = np.random.default_rng(_PERMUTATION_SEED)
    orders = [np.arange(784), *(random.permutation(784) for _ in range(_PERMUTATIONS))]

    def permuted(images: Images) -> list[NDArray[np.uint8]]:
        shape = images.pixels.shape
        return [images.pixels.reshape(-1, 784)[:, order].reshape(shape) for order in orders]

    return TaskData(
        *(stack_domains(permuted(images), images.labels) for images in load_splits(source))
    )


def _rotate(pixels: NDArray[np.uint8], angle: float) -> NDArray[np.uint8]:
    """Rotate images counter-clockwise by ``angle`` degrees with bilinear interpolation."""
    import numpy as np
    import torch
    from torchvision.transforms.functional import InterpolationMode, rotate

    if angle == 0.0:
        return pixels
    images = torch.from_numpy(np.array(pixels))
    rotated = rotate(images, angle, interpolation=InterpolationMode.BILINEAR)
    return np.asarray(rotated.numpy())


_mnist = partial(
    Benchmark,
    classes=10,
    batch_size=128,
    normalisation=((0.1307,), (0.3081,)),
    build_model=partial(build_mlp, (784, 400, 400, 10), hidden_std=0.01, output_std=0.05),
    source=MNIST,
)

SPLIT_MNIST = _mnist(
    name="split-mnist",
    title="Split-MNIST",
    kind="class-incremental",
    tasks=5,
    iterations_per_task=200,
    load=partial(_split, MNIST),
)

ROTATED_MNIST = _mnist(
    name="rotated-mnist",
    title="Rotated-MNIST",
    kind="domain-incremental",
    tasks=len(ANGLES),
    iterations_per_task=400,
    load=partial(_rotated, MNIST),
)

PERMUTED_MNIST = _mnist(
    name="permuted-mnist",
    title="Permuted-MNIST",
    kind="domain-incremental",
    tasks=1 + _PERMUTATIONS,
    iterations_per_task=200,
    permutes_pixels=True,
    load=partial(_permuted, MNIST),
)

SPLIT_FASHION_MNIST = _mnist(
    name="split-fashion-mnist",
    title="Split-Fashion-MNIST",
    kind="class-incremental",
    tasks=5,
    iterations_per_task=200,
    normalisation=((0.2860,), (0.3530,)),
    load=partial(_split, FASHION_MNIST),
    source=FASHION_MNIST,
)
