"""What a benchmark is: a dataset cut into a sequence of tasks."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ngm_tune.benchmarks.decoding import Images
from ngm_tune.benchmarks.sources import Source, load_images
from ngm_tune.errors import UserError

_VALIDATION_SHARE = 0.1
_VALIDATION_SEED = 0

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation per channel, of pixels in [0, 1]."""


Augmentation = Callable[[Tensor, torch.Generator], Tensor]
"""From a batch of stored examples and a source of randomness on their device to a batch like it."""


@dataclass(frozen=True)
class TaskSplit:
    """Examples of a sequence of tasks, ordered by task, so that the tasks seen are a prefix.

    Attributes:
        inputs: Shape (N, ...): float32 as the network takes them, or uint8 pixels that
            :meth:`Benchmark.prepare` turns into that.
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


@dataclass(frozen=True, kw_only=True)
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
        normalisation: For uint8 images; None where the data is float32 already.
        augment: Changes a batch of stored training examples at random; None to leave them.
        settings: Hyper-parameters that methods which have them take on this network, unless a
            study says otherwise.
        source: The dataset it is made of, where that is one that is looked for and verified.
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
    normalisation: Normalisation | None = None
    augment: Augmentation | None = field(default=None, repr=False)
    settings: Mapping[str, str | float] = field(default_factory=dict)
    source: Source | None = field(default=None, repr=False)

    @property
    def chance(self) -> float:
        """Accuracy of guessing."""
        return 1.0 / self.classes

    def prepare(self, inputs: Tensor) -> Tensor:
        """What the network takes: uint8 pixels of shape (B, channels, H, W) normalised, as float32.

        Inputs that are float32 already are returned as they are.
        """
        if self.normalisation is None:
            return inputs
        mean, std = (
            torch.tensor(values, device=inputs.device).view(-1, 1, 1)
            for values in self.normalisation
        )
        return (inputs.float() / 255.0 - mean) / std


def crop_and_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Random crops after padding by 4 pixels of zero, and horizontal flips, image by image.

    Args:
        images: Shape (B, channels, H, W).
        generator: Of the device of ``images``.

    Returns:
        The same shape and type.
    """
    batch, _, height, width = images.shape

    def draw(high: int) -> Tensor:
        return torch.randint(high, (batch, 1), generator=generator, device=images.device)

    rows = draw(9) + torch.arange(height, device=images.device)
    columns = draw(9) + torch.arange(width, device=images.device)
    columns = torch.where(draw(2) == 1, columns.flip(1), columns)
    padded = nn.functional.pad(images, (4, 4, 4, 4))
    image = torch.arange(batch, device=images.device)[:, None, None]
    cropped = padded[image, :, rows[:, :, None], columns[:, None, :]]
    return cropped.permute(0, 3, 1, 2)


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
