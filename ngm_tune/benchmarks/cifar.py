"""Benchmarks on CIFAR-10 and CIFAR-100 (arXiv 2507.14056, section 3)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ngm_tune.benchmarks.augmentation import crop_and_flip
from ngm_tune.benchmarks.benchmark import Benchmark
from ngm_tune.benchmarks.networks import RESNET_SETTINGS, build_slim_resnet18
from ngm_tune.benchmarks.sources import Source
from ngm_tune.benchmarks.torchvision_files import cifar_layout

if TYPE_CHECKING:
    from ngm_tune.benchmarks.decoding import Images
    from ngm_tune.benchmarks.tasks import TaskData, TaskSplit

CIFAR10 = Source(
    name="CIFAR-10",
    folders=("cifar10",),
    label="label",
    counts={"train": 50_000, "test": 10_000},
    shape=(3, 32, 32),
    classes=10,
    torchvision=cifar_layout("CIFAR10"),
    command="python -c \"from torchvision.datasets import CIFAR10; CIFAR10('DIR', download=True)\"",
)

CIFAR100 = Source(
    name="CIFAR-100",
    folders=("cifar100",),
    label="fine_label",
    counts={"train": 50_000, "test": 10_000},
    shape=(3, 32, 32),
    classes=100,
    torchvision=cifar_layout("CIFAR100"),
    command=(
        "python -c \"from torchvision.datasets import CIFAR100; CIFAR100('DIR', download=True)\""
    ),
)

SUPERCLASSES = (
    (4, 30, 55, 72, 95),  # aquatic mammals
    (1, 32, 67, 73, 91),  # fish
    (54, 62, 70, 82, 92),  # flowers
    (9, 10, 16, 28, 61),  # food containers
    (0, 51, 53, 57, 83),  # fruit and vegetables
    (22, 39, 40, 86, 87),  # household electrical devices
    (5, 20, 25, 84, 94),  # household furniture
    (6, 7, 14, 18, 24),  # insects
    (3, 42, 43, 88, 97),  # large carnivores
    (12, 17, 37, 68, 76),  # large man-made outdoor things
    (23, 33, 49, 60, 71),  # large natural outdoor scenes
    (15, 19, 21, 31, 38),  # large omnivores and herbivores
    (34, 63, 64, 66, 75),  # medium-sized mammals
    (26, 45, 77, 79, 99),  # non-insect invertebrates
    (2, 11, 35, 46, 98),  # people
    (27, 29, 44, 78, 93),  # reptiles
    (36, 50, 65, 74, 80),  # small mammals
    (47, 52, 56, 59, 96),  # trees
    (8, 13, 48, 58, 90),  # vehicles 1
    (41, 69, 81, 85, 89),  # vehicles 2
)
"""Fine classes of each superclass of CIFAR-100 (Krizhevsky 2009)."""

_DOMAIN_TASKS = 3


def _split(source: Source, tasks: int) -> TaskData:
    from ngm_tune.benchmarks.tasks import TaskData, load_splits, split_by_class

    return TaskData(*(split_by_class(images, tasks) for images in load_splits(source)))


def _domain() -> TaskData:
    from ngm_tune.benchmarks.tasks import TaskData, load_splits

    return TaskData(*(split_by_domain(images) for images in load_splits(CIFAR100)))


def split_by_domain(images: Images) -> TaskSplit:
    """Cut CIFAR-100 into tasks: task k has the k-th fine class of each superclass.

    Labels are superclasses.
    """
    import numpy as np
    import torch

    from ngm_tune.benchmarks.tasks import TaskSplit

    parts = []
    for task in range(_DOMAIN_TASKS):
        fine = [classes[task] for classes in SUPERCLASSES]
        parts.append(np.flatnonzero(np.isin(images.labels, fine)))
    superclass = np.empty(100, dtype=np.int64)
    for number, classes in enumerate(SUPERCLASSES):
        superclass[list(classes)] = number
    order = np.concatenate(parts)
    return TaskSplit(
        torch.from_numpy(images.pixels[order]),
        torch.from_numpy(superclass[images.labels[order]]),
        tuple(map(len, parts)),
    )


_cifar10 = partial(
    Benchmark,
    batch_size=256,
    iterations_per_task=400,
    normalisation=((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    augment=crop_and_flip,
    settings=RESNET_SETTINGS,
)

_cifar100 = partial(
    _cifar10,
    source=CIFAR100,
    normalisation=((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
)

SPLIT_CIFAR10 = _cifar10(
    name="split-cifar10",
    source=CIFAR10,
    title="Split-CIFAR-10",
    kind="class-incremental",
    tasks=5,
    classes=10,
    load=partial(_split, CIFAR10, tasks=5),
    build_model=partial(build_slim_resnet18, classes=10),
)

SPLIT_CIFAR100_10 = _cifar100(
    name="split-cifar100-10",
    title="Split-CIFAR-100, 10 tasks",
    kind="class-incremental",
    tasks=10,
    classes=100,
    load=partial(_split, CIFAR100, tasks=10),
    build_model=partial(build_slim_resnet18, classes=100),
)

SPLIT_CIFAR100_20 = _cifar100(
    name="split-cifar100-20",
    title="Split-CIFAR-100, 20 tasks",
    kind="class-incremental",
    tasks=20,
    classes=100,
    load=partial(_split, CIFAR100, tasks=20),
    build_model=partial(build_slim_resnet18, classes=100),
)

DOMAIN_CIFAR100 = _cifar100(
    name="domain-cifar100",
    title="Domain-CIFAR-100",
    kind="domain-incremental",
    tasks=_DOMAIN_TASKS,
    classes=20,
    load=_domain,
    build_model=partial(build_slim_resnet18, classes=20),
)
