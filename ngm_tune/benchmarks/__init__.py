"""Benchmarks by name."""

from ngm_tune.benchmarks.digits import ROTATED_DIGITS, SPLIT_DIGITS
from ngm_tune.benchmarks.mnist import (
    PERMUTED_MNIST,
    ROTATED_MNIST,
    SPLIT_FASHION_MNIST,
    SPLIT_MNIST,
)
from ngm_tune.benchmarks.tasks import Benchmark, TaskData, TaskSplit

BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        SPLIT_DIGITS,
        ROTATED_DIGITS,
        SPLIT_MNIST,
        ROTATED_MNIST,
        PERMUTED_MNIST,
        SPLIT_FASHION_MNIST,
    )
}

__all__ = ["BENCHMARKS", "Benchmark", "TaskData", "TaskSplit", "get_benchmark"]


def get_benchmark(name: str) -> Benchmark:
    """The benchmark of that name.

    Raises:
        ValueError: There is none.
    """
    if name not in BENCHMARKS:
        raise ValueError(f"no benchmark {name!r}; there are {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]
