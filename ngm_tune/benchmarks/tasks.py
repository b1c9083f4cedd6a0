"""The data of a benchmark: a dataset cut into a sequence of tasks."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ngm_tune.benchmarks.decoding import Images
from ngm_tune.benchmarks.sources import Source, load_images
from ngm_tune.errors import UserError

_VALIDATION_SHARE = 0.1
_VALIDATION_SEED = 0


@dataclass(frozen=True)
class TaskSplit:
    """Examples of a sequence of tasks, ordered by task, so that the tasks seen are a prefix.

    Attributes:
        inputs: Shape (N, ...): float32 as the network takes them, or uint8 pixels that
            the benchmark's ``prepare`` turns into that.
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

    def prepared(self, prepare: Callable[[Tensor], Tensor]) -> TaskSplit:
        """The same with inputs as the network takes them."""
        return TaskSplit(prepare(self.inputs), self.labels, self.sizes)

    def joined(self, other: TaskSplit) -> TaskSplit:
        """The examples of both, task by task."""

        def both(mine: Tensor, theirs: Tensor) -> Tensor:
            tasks = zip(
                torch.split(mine, list(self.sizes)),
                torch.split(theirs, list(other.sizes)),
                strict=True,
            )
            return torch.cat([part for parts in tasks for part in parts])

        return TaskSplit(
            both(self.inputs, other.inputs),
            both(self.labels, other.labels),
            tuple(a + b for a, b in zip(self.sizes, other.sizes, strict=True)),
        )

    def capped(self, count: int) -> TaskSplit:
        """At most ``count`` examples of each task, spread evenly over it."""
        starts = [self.seen(task) for task in range(len(self.sizes))]
        chosen = [
            start + torch.arange(min(count, size)) * size // min(count, size)
            for start, size in zip(starts, self.sizes, strict=True)
        ]
        rows = torch.cat(chosen)
        return TaskSplit(self.inputs[rows], self.labels[rows], tuple(map(len, chosen)))

    def arrays(self) -> tuple[NDArray[Any], NDArray[np.int64], tuple[int, ...]]:
        """The same as numpy arrays, which Ray shares between processes without a copy."""
        return self.inputs.numpy(), self.labels.numpy(), self.sizes

    @staticmethod
    def from_arrays(
        arrays: tuple[NDArray[Any], NDArray[np.int64], tuple[int, ...]],
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

    def checksum(self) -> str:
        """SHA-256 of all examples in their order, by which a seed fixes batches; in hexadecimal."""
        digest = hashlib.sha256()
        for split in (self.train, self.validation, self.test):
            inputs, labels, sizes = split.arrays()
            digest.update(f"{inputs.dtype} {inputs.shape} {sizes}".encode())
            digest.update(np.ascontiguousarray(inputs).data)
            digest.update(np.ascontiguousarray(labels).data)
        return digest.hexdigest()


def by_class(images: Images, tasks: int) -> TaskSplit:
    """Class-incremental tasks: as many classes each, in order; a rest of classes is left out."""
    classes = (int(images.labels.max()) + 1) // tasks
    return in_groups(images, [range(k * classes, (k + 1) * classes) for k in range(tasks)])


def in_groups(images: Images, groups: Sequence[Sequence[int]]) -> TaskSplit:
    """Class-incremental tasks: task k has the classes of the k-th group, and no class is in two.

    Classes are numbered in the order of the groups; those of no group are left out.
    """
    flat = [c for group in groups for c in group]
    classes = max(int(images.labels.max()), *flat) + 1
    task_of, label_of = np.full(classes, len(groups)), np.full(classes, -1)
    label_of[flat] = np.arange(len(flat))
    for task, group in enumerate(groups):
        task_of[list(group)] = task
    tasks = task_of[images.labels]
    order = np.argsort(tasks, kind="stable")
    order = order[tasks[order] < len(groups)]
    return TaskSplit(
        torch.from_numpy(images.pixels[order]),
        torch.from_numpy(label_of[images.labels[order]]),
        tuple(np.bincount(tasks[order], minlength=len(groups)).tolist()),
    )


def in_tasks(guises: Sequence[NDArray[np.uint8]], labels: NDArray[np.int64]) -> TaskSplit:
    """Domain-incremental tasks: the same examples in one guise after another."""
    return TaskSplit(
        torch.from_numpy(np.concatenate(guises)),
        torch.from_numpy(np.tile(labels, len(guises))),
        (len(labels),) * len(guises),
    )


def train_and_validation(images: Images, share: float = _VALIDATION_SHARE) -> tuple[Images, Images]:
    """Set a share of the images aside, stratified by class and always the same.

    Raises:
        UserError: There are too few images of a class for that.
    """
    # Slow to import, and not needed by workers, which get their data from the driver.
    from sklearn.model_selection import train_test_split

    if not len(images.labels):
        raise UserError(f"{images.origin}: no image to train on is of a class of the tasks")
    try:
        parts = train_test_split(
            np.arange(len(images.labels)),
            test_size=share,
            stratify=images.labels,
            random_state=_VALIDATION_SEED,
        )
    except ValueError as error:
        _, counts = np.unique(images.labels, return_counts=True)
        raise UserError(
            f"{images.origin}: too few images to set {100 * share:g}% of every class aside: "
            f"there are {', '.join(map(str, counts[:50]))} of the {len(counts)} classes"
        ) from error
    train, validation = (
        Images(images.pixels[part], images.labels[part], images.origin)
        for part in map(np.sort, parts)
    )
    return train, validation


def _shared_tensor(array: NDArray[Any]) -> Tensor:
    """A tensor on the memory of ``array``, which may be read-only: splits are never written to."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array)


def three_splits(source: Source) -> tuple[Images, Images, Images]:
    """The training, validation and test images of a source."""
    return (*train_and_validation(load_images(source, "train")), load_images(source, "test"))
