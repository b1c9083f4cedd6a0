"""Benchmark on mini-ImageNet (arXiv 2507.14056, section 3)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ngm_tune.benchmarks.augmentation import crop_and_flip
from ngm_tune.benchmarks.benchmark import Benchmark
from ngm_tune.benchmarks.networks import RESNET_SETTINGS, build_slim_resnet18
from ngm_tune.benchmarks.sources import Source, load_images

if TYPE_CHECKING:
    from ngm_tune.benchmarks.tasks import TaskData

MINI_IMAGENET = Source(
    name="mini-ImageNet",
    folders=("mini-imagenet", "mini_imagenet"),
    label="label",
    counts={"train": 50_000, "validation": 10_000, "test": 5_000},
    shape=(3, 84, 84),
    classes=100,
    same_size=False,
    torchvision=None,
    command="hf download timm/mini-imagenet --repo-type dataset --local-dir DIR/mini-imagenet",
)
"""100 classes of ImageNet (Vinyals et al. 2016), resized to the usual 84 x 84 pixels.

The version of the Hugging Face hub has 500 training, 100 validation and 50 test images per class. A
search trains on the 500 and is evaluated on the 100. The confirm phase trains on these 600 and is
evaluated on the 50. Continual-learning papers usually split the 600 into 500 and 100."""

_TASKS, _CLASSES_PER_TASK = 5, 10


def _split() -> TaskData:
    from ngm_tune.benchmarks.tasks import TaskData, split_by_groups

    groups = [range(k * _CLASSES_PER_TASK, (k + 1) * _CLASSES_PER_TASK) for k in range(_TASKS)]
    return TaskData(
        *(
            split_by_groups(load_images(MINI_IMAGENET, split), groups)
            for split in ("train", "validation", "test")
        )
    )


SPLIT_MINI_IMAGENET = Benchmark(
    name="split-mini-imagenet",
    title="Split-mini-ImageNet",
    kind="class-incremental",
    tasks=_TASKS,
    classes=_TASKS * _CLASSES_PER_TASK,
    batch_size=256,
    iterations_per_task=800,
    normalisation=((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    augment=crop_and_flip,
    settings=RESNET_SETTINGS,
    source=MINI_IMAGENET,
    load=_split,
    build_model=partial(build_slim_resnet18, classes=_TASKS * _CLASSES_PER_TASK),
)
