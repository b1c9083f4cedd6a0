"""The benchmark that a table ``[custom]`` describes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from ngm_tune.benchmarks.augmentation import crop_and_flip
from ngm_tune.benchmarks.benchmark import Benchmark
from ngm_tune.benchmarks.custom import NAME, Custom
from ngm_tune.benchmarks.networks import RESNET_SETTINGS, build_mlp, build_slim_resnet18

if TYPE_CHECKING:
    from torch import nn

    from ngm_tune.benchmarks.tasks import TaskData

_WIDTH = 400
"""Hidden units of the MLP, as in the paper."""


def with_placeholder_classes(custom: Custom) -> Custom:
    """Return a copy with one placeholder class per task, for use before the data is read."""
    if not isinstance(custom.tasks, int):
        return custom
    return custom.model_copy(update={"tasks": [[str(k)] for k in range(custom.tasks)]})


def custom_benchmark(custom: Custom) -> Benchmark:
    """Return the benchmark of a table.

    Raises:
        ValueError: The classes of its tasks are not resolved
            (:func:`ngm_tune.benchmarks.custom_images.resolve`).
    """
    if isinstance(custom.tasks, int):
        raise ValueError("the classes of the tasks are not resolved")
    classes = sum(map(len, custom.tasks))
    return Benchmark(
        name=NAME,
        title=custom.title,
        kind="class-incremental",
        tasks=len(custom.tasks),
        classes=classes,
        batch_size=custom.batch_size,
        iterations_per_task=custom.iterations_per_task,
        load=partial(_load, custom),
        build_model=_build_model(custom, classes),
        normalisation=custom.normalisation,
        augment=crop_and_flip if custom.augment else None,
        settings={} if custom.network == "mlp" else RESNET_SETTINGS,
    )


def _build_model(custom: Custom, classes: int) -> Callable[[], nn.Module]:
    if custom.network == "mlp":
        widths = (custom.channels * custom.size**2, _WIDTH, _WIDTH, classes)
        return partial(build_mlp, widths, hidden_std=0.01, output_std=0.05)
    return partial(build_slim_resnet18, classes, channels=custom.channels)


def _load(custom: Custom) -> TaskData:
    from ngm_tune.benchmarks.custom_images import load

    return load(custom)
