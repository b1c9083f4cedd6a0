"""Data of benchmarks: datasets cut into sequences of tasks."""

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
    """Examples of a sequence of tasks, ordered by task. The first k tasks are a prefix.

    Splits can share their inputs: with ``rows``, example i has the inputs ``inputs[rows[i]]``.

    Attributes:
        inputs: Shape (M, ...): float32 inputs of the network, or uint8 pixels that the benchmark's
            ``prepare`` converts. Without ``rows``, M is N.
        labels: Class indices, shape (N,), int64.
        sizes: Examples per task; their sum is N.
        rows: Row of each example in ``inputs``, shape (N,), int64; None if they are in order.
        pixels: Order of the pixels in each task, shape (K, P); None to leave them in place.
    """

    inputs: Tensor
    labels: Tensor
    sizes: tuple[int, ...]
    rows: Tensor | None = None
    pixels: Tensor | None = None

    def seen(self, tasks: int) -> int:
        """Return the number of examples in the first ``tasks`` tasks."""
        return sum(self.sizes[:tasks])

    def task_of_examples(self) -> Tensor:
        """Return the task of each example, shape (N,), int64."""
        sizes = torch.tensor(self.sizes, device=self.labels.device)
        return torch.repeat_interleave(torch.arange(len(sizes), device=sizes.device), sizes)

    def inputs_of(self, examples: Tensor) -> Tensor:
        """Return the inputs of examples, shape (B, ...).

        Args:
            examples: Numbers of the examples, shape (B,), int64.
        """
        rows = examples if self.rows is None else self.rows.index_select(0, examples)
        inputs = self.inputs.index_select(0, rows)  # copies whole rows, unlike inputs[rows]
        if self.pixels is None:
            return inputs
        ends = torch.tensor(self.sizes, device=examples.device).cumsum(0)
        order = self.pixels[torch.bucketize(examples, ends, right=True)]
        return inputs.flatten(1).gather(1, order).view(inputs.shape)

    def to(self, device: torch.device | str) -> TaskSplit:
        """Return a copy on a device."""
        index = [None if index is None else index.to(device) for index in (self.rows, self.pixels)]
        return TaskSplit(self.inputs.to(device), self.labels.to(device), self.sizes, *index)

    def prepared(self, prepare: Callable[[Tensor], Tensor]) -> TaskSplit:
        """Return a split with prepared inputs of its own; see :meth:`Benchmark.prepare`."""
        own = self.materialized()
        return TaskSplit(prepare(own.inputs), self.labels, self.sizes)

    def materialized(self) -> TaskSplit:
        """Return a split with the inputs of its examples in order, without ``rows``."""
        if self.rows is None:
            return self
        examples = torch.arange(len(self.labels), device=self.labels.device)
        return TaskSplit(self.inputs_of(examples), self.labels, self.sizes)

    def select(self, examples: Tensor, sizes: tuple[int, ...]) -> TaskSplit:
        """Return some of the examples, which share the inputs of this split.

        Args:
            examples: Numbers of the examples, ordered by task.
            sizes: How many of them each task has.
        """
        rows = examples if self.rows is None else self.rows[examples]
        return TaskSplit(self.inputs, self.labels[examples], sizes, rows, self.pixels)

    def joined(self, other: TaskSplit) -> TaskSplit:
        """Return a split with the examples of both splits in each task, with inputs of its own."""
        assert self.rows is None
        assert other.rows is None

        def join(mine: Tensor, theirs: Tensor) -> Tensor:
            tasks = zip(
                torch.split(mine, list(self.sizes)),
                torch.split(theirs, list(other.sizes)),
                strict=True,
            )
            return torch.cat([part for parts in tasks for part in parts])

        return TaskSplit(
            join(self.inputs, other.inputs),
            join(self.labels, other.labels),
            tuple(a + b for a, b in zip(self.sizes, other.sizes, strict=True)),
        )

    def capped(self, count: int) -> TaskSplit:
        """Return at most ``count`` examples of each task, evenly spaced within the task."""
        starts = [self.seen(task) for task in range(len(self.sizes))]
        chosen = [
            start + torch.arange(min(count, size)) * size // min(count, size)
            for start, size in zip(starts, self.sizes, strict=True)
        ]
        return self.select(torch.cat(chosen), tuple(map(len, chosen)))

    def arrays(self) -> tuple[NDArray[Any], NDArray[np.int64], tuple[int, ...]]:
        """Return inputs, labels and sizes of a split without ``rows``.

        Ray shares NumPy arrays between processes.
        """
        assert self.rows is None
        return self.inputs.numpy(), self.labels.numpy(), self.sizes

    @staticmethod
    def from_arrays(
        arrays: tuple[NDArray[Any], NDArray[np.int64], tuple[int, ...]],
    ) -> TaskSplit:
        """Return a split that shares the memory of arrays from :meth:`arrays`."""
        inputs, labels, sizes = arrays
        return TaskSplit(_shared_tensor(inputs), _shared_tensor(labels), sizes)


@dataclass(frozen=True)
class TaskData:
    """The splits of a benchmark: training, validation (for the search) and test (for reports)."""

    train: TaskSplit
    validation: TaskSplit
    test: TaskSplit

    def checksum(self) -> str:
        """Return the SHA-256 checksum of all examples in their order, in hexadecimal."""
        digest = hashlib.sha256()
        for split in (self.train, self.validation, self.test):
            inputs, labels, sizes = split.arrays()
            digest.update(f"{inputs.dtype} {inputs.shape} {sizes}".encode())
            digest.update(np.ascontiguousarray(inputs).data)
            digest.update(np.ascontiguousarray(labels).data)
        return digest.hexdigest()


def split_by_class(images: Images, tasks: int) -> TaskSplit:
    """Cut images into class-incremental tasks with equal numbers of consecutive classes.

    If the number of tasks does not divide the number of classes, the last classes are left out.
    """
    classes = (int(images.labels.max()) + 1) // tasks
    return split_by_groups(images, [range(k * classes, (k + 1) * classes) for k in range(tasks)])


def split_by_groups(images: Images, groups: Sequence[Sequence[int]]) -> TaskSplit:
    """Cut images into class-incremental tasks: task k has the classes of the k-th group.

    The groups are disjoint. Classes are renumbered in the order of the groups, and classes outside
    the groups are left out.
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


def stack_domains(domains: Sequence[NDArray[np.uint8]], labels: NDArray[np.int64]) -> TaskSplit:
    """Stack domains into domain-incremental tasks: task k has the images of the k-th domain.

    Args:
        domains: The images of each domain, in the same order.
        labels: Labels of the images, shape (N,).
    """
    return TaskSplit(
        torch.from_numpy(np.concatenate(domains)),
        torch.from_numpy(np.tile(labels, len(domains))),
        (len(labels),) * len(domains),
    )


def split_off_validation(images: Images, share: float = _VALIDATION_SHARE) -> tuple[Images, Images]:
    """Split images into training and validation images.

    The split is stratified by class and always the same.

    Args:
        images: The images.
        share: Fraction of the images for validation.

    Raises:
        UserError: A class has too few images.
    """
    # Slow to import, and workers receive the data from the driver.
    from sklearn.model_selection import train_test_split

    if not len(images.labels):
        raise UserError(f"{images.origin}: no training image has a class of the tasks")
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
            f"{images.origin}: too few images to hold out {100 * share:g}% of every class: the "
            f"{len(counts)} classes have {', '.join(map(str, counts[:50]))} images"
        ) from error
    train, validation = (
        Images(images.pixels[part], images.labels[part], images.origin)
        for part in map(np.sort, parts)
    )
    return train, validation


def _shared_tensor(array: NDArray[Any]) -> Tensor:
    """Return a tensor that shares the memory of a read-only array; splits are never modified."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array)


def load_splits(source: Source) -> tuple[Images, Images, Images]:
    """Return the training, validation and test images of a dataset."""
    return (*split_off_validation(load_images(source, "train")), load_images(source, "test"))
