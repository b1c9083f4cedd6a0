"""A benchmark of one's own: a folder of images or Parquet files, cut into tasks by a study file."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from torch import nn

from ngm_tune.benchmarks.cifar import RESNET_SETTINGS
from ngm_tune.benchmarks.decoding import (
    Images,
    decoded,
    folder_classes,
    folder_images,
    has_images,
    parquet_class_names,
    parquet_images,
)
from ngm_tune.benchmarks.models import MLP, SlimResNet18
from ngm_tune.benchmarks.sources import data_folder, parquet_files
from ngm_tune.benchmarks.tasks import (
    Benchmark,
    Normalisation,
    TaskData,
    crop_and_flip,
    in_groups,
    train_and_validation,
)
from ngm_tune.errors import UserError

NAME = "custom"
_WIDTH = 400
"""Hidden units of the MLP, as in the paper's."""

_MLPS_UP_TO = 1 * 32 * 32
"""Values per image up to which the network is by default an MLP."""

_MOST_LISTED = 50
"""Classes that a message lists."""

_RESNET_STRIDE = 8
"""Pixels of an image to one of the last features of the slim ResNet-18."""


class Custom(BaseModel):
    """The table ``[custom]`` of a study: where images are, and how they are cut into tasks."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    path: Annotated[str, Field(min_length=1)]
    """Absolute, or relative to the data folder: a folder of images, ``<class>/*.png`` or
    ``train/<class>/*.png`` and perhaps ``test/<class>/*.png``; a folder of Parquet files, or with
    one in it, ``train-*.parquet`` and perhaps ``test-*.parquet``; or one Parquet file. What is
    transparent is white."""
    tasks: (
        Annotated[int, Field(ge=2, le=100_000)]
        | Annotated[list[Annotated[list[str], Field(min_length=1)]], Field(min_length=2)]
    )
    """How many tasks to cut the classes into, evenly and in order; or the classes of each task."""
    title: str = "Custom"
    label: str = "label"
    """The column of class indices in Parquet files."""
    size: Annotated[int, Field(ge=4, le=512)] = 32
    """Height and width that images are brought to, in pixels."""
    channels: Literal[1, 3] = 3
    """Grey or colour."""
    test_share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    """Share of the images that are set aside as test data, where there are none of their own."""
    model: Literal["mlp", "slim-resnet18"] | None = None
    """By default an MLP for grey images of up to 32 x 32 pixels, else a slim ResNet-18."""
    augment: bool = False
    """Whether training images are cropped and flipped at random."""
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = 128
    iterations_per_task: Annotated[int, Field(ge=1, le=1_000_000)] = 200
    normalisation: Normalisation | None = None
    """Mean and standard deviation per channel; found from the training images, where not given."""

    @field_validator("normalisation", mode="before")
    @classmethod
    def _tuples(cls, value: object) -> object:
        if isinstance(value, list):  # as TOML has it
            return tuple(tuple(part) if isinstance(part, list) else part for part in value)
        return value

    @field_validator("normalisation")
    @classmethod
    def _one_pair_per_channel(
        cls, value: Normalisation | None, info: ValidationInfo
    ) -> Normalisation | None:
        channels = info.data.get("channels")
        if value is not None and any(len(part) != channels for part in value):
            raise ValueError(f"must be two lists of {channels} numbers, one for each channel")
        if value is not None and not all(map(math.isfinite, value[0] + value[1])):
            raise ValueError("must be finite numbers")
        if value is not None and min(value[1]) <= 0.0:
            raise ValueError("a standard deviation must be positive")
        return value

    @field_validator("tasks")
    @classmethod
    def _no_class_twice(cls, tasks: int | list[list[str]]) -> int | list[list[str]]:
        names = [name for task in tasks for name in task] if isinstance(tasks, list) else []
        if len(set(names)) != len(names):
            raise ValueError("a class is listed twice")
        return tasks

    @model_validator(mode="after")
    def _no_single_value_to_normalise(self) -> Custom:
        if self._network != "mlp" and self.batch_size == 1 and self.size <= _RESNET_STRIDE:
            raise ValueError(
                f"batch_size = 1 and size = {self.size}: a ResNet normalises its features over "
                f"batch and space, and needs two images or more than {_RESNET_STRIDE} pixels"
            )
        return self

    @property
    def _network(self) -> Literal["mlp", "slim-resnet18"]:
        small = self.channels * self.size**2 <= _MLPS_UP_TO
        return self.model or ("mlp" if small else "slim-resnet18")

    def resolved(self) -> Custom:
        """The same with everything that is found from the data written out.

        Raises:
            UserError: The data is not there, is damaged, or lacks a class.
        """
        train, _, names = _read(self)
        training = train_and_validation(train)[0]
        groups = _groups(self, names)
        return self.model_copy(
            update={
                "tasks": [[names[c] for c in group] for group in groups],
                "normalisation": self.normalisation or _statistics(training),
            }
        )

    def outline(self) -> Custom:
        """The same with one class for each task, as long as the classes are not known."""
        if not isinstance(self.tasks, int):
            return self
        return self.model_copy(update={"tasks": [[str(k)] for k in range(self.tasks)]})

    def benchmark(self) -> Benchmark:
        """The benchmark that this describes; of a :meth:`resolved` table only."""
        if isinstance(self.tasks, int):
            raise ValueError("the classes of the tasks are not resolved")
        classes = sum(map(len, self.tasks))
        kind = self._network
        return Benchmark(
            name=NAME,
            title=self.title,
            kind="class-incremental",
            tasks=len(self.tasks),
            classes=classes,
            batch_size=self.batch_size,
            iterations_per_task=self.iterations_per_task,
            load=partial(_load, self),
            build_model=partial(_build, kind, self, classes),
            normalisation=self.normalisation,
            augment=crop_and_flip if self.augment else None,
            settings={} if kind == "mlp" else RESNET_SETTINGS,
        )


def _build(kind: str, custom: Custom, classes: int) -> nn.Module:
    if kind == "mlp":
        inputs = custom.channels * custom.size**2
        return MLP((inputs, _WIDTH, _WIDTH, classes), hidden_std=0.01, output_std=0.05)
    return SlimResNet18(classes, channels=custom.channels)


def _load(custom: Custom) -> TaskData:
    everything, test, names = _read(custom)
    groups = _groups(custom, names)
    splits = dict(zip(("train", "validation"), train_and_validation(everything), strict=True))
    splits["test"] = test
    for split, images in splits.items():
        there = set(np.unique(images.labels).tolist())
        for missing in (names[c] for group in groups for c in group if c not in there):
            raise UserError(f"{images.origin}: the class {missing} has no images for {split}")
    return TaskData(*(in_groups(images, groups) for images in splits.values()))


def _read(custom: Custom) -> tuple[Images, Images, list[str]]:
    """Images to train on and to test on, and the names of the classes."""
    train, test, names = _find(custom)
    for name, count in Counter(names).items():
        if count > 1:
            raise UserError(f"custom.path = {custom.path!r}: two classes are called {name}")
    used = [c for group in _groups(custom, names) for c in group]
    train = _only(train, used)  # of others there may be too few to be set aside
    if test is None:
        train, test = train_and_validation(train, custom.test_share)
    return train, _only(test, used), names


def _only(images: Images, classes: Sequence[int]) -> Images:
    """The images of some classes."""
    chosen = np.isin(images.labels, classes)
    if chosen.all():
        return images
    return Images(images.pixels[chosen], images.labels[chosen], images.origin)


def _find(custom: Custom) -> tuple[Images, Images | None, list[str]]:
    """Images, test images if there are any of their own, and the names of the classes."""
    path = data_folder() / custom.path  # which is custom.path alone, if that is absolute
    shape = (custom.channels, custom.size, custom.size)
    if path.is_file():
        return _read_parquet(custom, [path], [])
    if not path.is_dir():
        raise UserError(
            f"custom.path = {custom.path!r}: there is no {path}; give the folder of images or "
            "Parquet files, absolute or relative to the folder that --data names"
        )
    if train := parquet_files(path, "train"):
        beside = parquet_files(train[0].parent, "test")
        return _read_parquet(custom, train, beside or parquet_files(path, "test"))
    parts = _parts(path)
    classes = folder_classes(path / parts[0])
    for name in folder_classes(path / parts[-1]):
        if name not in classes:
            raise UserError(f"{path / parts[-1]}: the class {name} has no folder in train/")
    if not classes:
        raise UserError(
            f"custom.path = {custom.path!r}: {path} has neither train-*.parquet nor folders of "
            "images, one for each class"
        )
    images = [decoded(folder_images((path / part).resolve(), classes), shape) for part in parts]
    return images[0], (images[1] if len(images) > 1 else None), classes


def _parts(path: Path) -> list[str]:
    """The folders of a folder of images that have a folder for each class: itself, or its parts."""
    folders = folder_classes(path)
    if "train" not in folders or ("test" not in folders and has_images(path / "train")):
        return ["."]  # if there is a train, it is a class of trains
    if "test" in folders:
        return ["train", "test"]
    if folders != ["train"]:
        others = ", ".join(name for name in folders if name != "train")
        raise UserError(f"{path}: beside train/ there is {others}, but only test/ is read with it")
    return ["train"]


def _read_parquet(
    custom: Custom, train: Sequence[Path], test: Sequence[Path]
) -> tuple[Images, Images | None, list[str]]:
    shape = (custom.channels, custom.size, custom.size)
    images = [decoded(parquet_images(f, custom.label), shape) for f in (train, test) if f]
    largest = max(int(found.labels.max()) for found in images)
    named = {file: parquet_class_names(file, custom.label) for file in (*train, *test)}
    first, names = next(
        ((file, own) for file, own in named.items() if own),
        (train[0], [str(c) for c in range(largest + 1)]),
    )
    for file, own in named.items():
        if own and own != names:
            raise UserError(f"{file}: its classes are called otherwise than those of {first}")
    if largest >= len(names):
        raise UserError(
            f"{first}: it names {len(names)} classes, and there are images with {custom.label} = "
            f"{largest}"
        )
    return images[0], (images[1] if test else None), names


def _groups(custom: Custom, names: Sequence[str]) -> list[list[int]]:
    """The class indices of each task."""
    if isinstance(custom.tasks, int):
        each, rest = divmod(len(names), custom.tasks)
        if not each or rest:
            raise UserError(
                f"custom.tasks = {custom.tasks}: {len(names)} classes cannot be cut into so many "
                f"tasks evenly; list the classes of each task, out of {_some(names)}"
            )
        return [list(range(k * each, (k + 1) * each)) for k in range(custom.tasks)]
    index = {name: c for c, name in enumerate(names)}
    for task in custom.tasks:
        for name in task:
            if name not in index:
                raise UserError(
                    f"custom.tasks has {name!r}, which is no class of {custom.path}; those are "
                    f"{_some(names)}"
                )
    return [[index[name] for name in task] for task in custom.tasks]


def _some(names: Sequence[str]) -> str:
    """Names for a message: all of them, or the first of many."""
    more = len(names) - _MOST_LISTED
    return ", ".join(names[:_MOST_LISTED]) + (f" and {more} more" if more > 0 else "")


def _statistics(images: Images) -> Normalisation:
    """Mean and standard deviation of every channel, of pixels in [0, 1]."""
    pixels = images.pixels
    means, deviations = [], []
    for channel in range(pixels.shape[1]):
        counts = np.bincount(pixels[:, channel].ravel(), minlength=256)
        values = np.arange(256) / 255.0
        mean = float(np.average(values, weights=counts))
        means.append(mean)
        spread = float(np.sqrt(np.average((values - mean) ** 2, weights=counts)))
        blank = np.count_nonzero(counts) == 1
        deviations.append(1.0 if blank else spread)
    return tuple(means), tuple(deviations)
