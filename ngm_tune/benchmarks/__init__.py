"""Benchmarks by name. Importing this package does not import torch; loading data does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ngm_tune.benchmarks.benchmark import Benchmark
from ngm_tune.benchmarks.cifar import (
    DOMAIN_CIFAR100,
    SPLIT_CIFAR10,
    SPLIT_CIFAR100_10,
    SPLIT_CIFAR100_20,
)
from ngm_tune.benchmarks.custom import NAME as CUSTOM
from ngm_tune.benchmarks.custom import Custom
from ngm_tune.benchmarks.custom_benchmark import custom_benchmark
from ngm_tune.benchmarks.digits import ROTATED_DIGITS, SPLIT_DIGITS
from ngm_tune.benchmarks.imagenet import SPLIT_MINI_IMAGENET
from ngm_tune.benchmarks.mnist import (
    PERMUTED_MNIST,
    ROTATED_MNIST,
    SPLIT_FASHION_MNIST,
    SPLIT_MNIST,
)

if TYPE_CHECKING:
    from ngm_tune.benchmarks.tasks import TaskData, TaskSplit

BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        SPLIT_DIGITS,
        ROTATED_DIGITS,
        SPLIT_MNIST,
        ROTATED_MNIST,
        PERMUTED_MNIST,
        SPLIT_FASHION_MNIST,
        SPLIT_CIFAR10,
        SPLIT_CIFAR100_10,
        SPLIT_CIFAR100_20,
        DOMAIN_CIFAR100,
        SPLIT_MINI_IMAGENET,
    )
}
"""The built-in benchmarks by name."""

__all__ = ["BENCHMARKS", "CUSTOM", "Benchmark", "Custom", "TaskData", "TaskSplit", "get_benchmark"]


def get_benchmark(name: str, custom: Custom | None = None) -> Benchmark:
    """Return a benchmark by name.

    Args:
        name: A key of :data:`BENCHMARKS`, or :data:`CUSTOM`.
        custom: The description of the custom benchmark, with its classes resolved.

    Raises:
        ValueError: No benchmark has this name.
    """
    if name == CUSTOM and custom is not None:
        return custom_benchmark(custom)
    if name not in BENCHMARKS:
        raise ValueError(f"no benchmark {name!r}; the benchmarks are {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]


def __getattr__(name: str) -> Any:
    if name in ("TaskData", "TaskSplit"):
        from ngm_tune.benchmarks import tasks

        return getattr(tasks, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
