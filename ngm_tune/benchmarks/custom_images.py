"""The images of a custom benchmark, read from folders or Parquet files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ngm_tune.benchmarks.benchmark import Normalisation
from ngm_tune.benchmarks.custom import Custom
from ngm_tune.benchmarks.decoding import Images, decoded
from ngm_tune.benchmarks.encoded import (
    folder_classes,
    folder_images,
    has_images,
    parquet_class_names,
    parquet_images,
)
from ngm_tune.benchmarks.sources import data_folder, parquet_files
from ngm_tune.benchmarks.tasks import TaskData, in_groups, train_and_validation
from ngm_tune.errors import UserError

_MOST_LISTED = 50
"""Classes that a message lists."""


def resolve(custom: Custom) -> tuple[list[list[str]], Normalisation]:
    """The classes of each task, and the normalisation, found from the data where not given.

    Raises:
        UserError: The data is not there, is damaged, or lacks a class.
    """
    train, _, names = _read(custom)
    training = train_and_validation(train)[0]
    tasks = [[names[c] for c in group] for group in _groups(custom, names)]
    return tasks, custom.normalisation or _statistics(training)


def load(custom: Custom) -> TaskData:
    """Read the data of a resolved table and cut it into tasks.

    Raises:
        UserError: The data is missing or damaged, or a class has no images in a split.
    """
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
