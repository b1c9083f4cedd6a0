"""What a benchmark is: a dataset cut into a sequence of tasks."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


@dataclass(frozen=True)
class TaskSplit:
    """Examples of a sequence of tasks, ordered by task, so that the tasks seen are a prefix.

    Attributes:
        inputs: Normalised inputs, shape (N, ...), float32.
        labels: Class indices, shape (N,), int64.
        sizes: Examples per task; they sum to N.
    """

    inputs: Tensor
    labels: Tensor
    sizes: tuple[int, ...]

    def seen(self, tasks: int) -> int:
        """The number of examples of the first ``tasks`` tasks."""
        return sum(self.sizes[:tasks])

    def to(self, device: torch.device | str) -> TaskSplit:
        """The same on another device."""
        return TaskSplit(self.inputs.to(device), self.labels.to(device), self.sizes)

    def arrays(self) -> tuple[NDArray[np.float32], NDArray[np.int64], tuple[int, ...]]:
        """The same as numpy arrays, which Ray shares between processes without a copy."""
        return self.inputs.numpy(), self.labels.numpy(), self.sizes

    @staticmethod
    def from_arrays(
        arrays: tuple[NDArray[np.float32], NDArray[np.int64], tuple[int, ...]],
    ) -> TaskSplit:
        """What :meth:`arrays` was called on, on the memory of the arrays."""
        inputs, labels, sizes = arrays
        return TaskSplit(_shared_tensor(inputs), _shared_tensor(labels), sizes)


@dataclass(frozen=True)
class TaskData:
    """The three splits of a benchmark: trained on, searched on, and reported on."""

    train: TaskSplit
    validation: TaskSplit
    test: TaskSplit


@dataclass(frozen=True)
class Benchmark:
    """A sequence of tasks with the protocol it is trained under (arXiv 2507.14056, section 3).

    Attributes:
        name: How studies and results call it.
        title: How people call it.
        kind: Whether a new task brings new classes or the same classes in a new guise.
        tasks: Number of tasks K.
        classes: Number of classes C of the one output head.
        batch_size: Examples per training batch.
        iterations_per_task: Training iterations on each task.
        load: Reads the data; the same every time.
        build_model: Makes a freshly initialised network from torch's global random state.
    """

    name: str
    title: str
    kind: Literal["class-incremental", "domain-incremental"]
    tasks: int
    classes: int
    batch_size: int
    iterations_per_task: int
    load: Callable[[], TaskData] = field(repr=False)
    build_model: Callable[[], nn.Module] = field(repr=False)

    @property
    def chance(self) -> float:
        """Accuracy of guessing."""
        return 1.0 / self.classes


def _shared_tensor(array: NDArray[Any]) -> Tensor:
    """A tensor on the memory of ``array``, which may be read-only: splits are never written to."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array)
