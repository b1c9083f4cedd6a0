"""Reading of the images of custom benchmarks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from unicodedata import normalize

import numpy as np

from ngm_tune.benchmarks.benchmark import Normalisation
from ngm_tune.benchmarks.custom import Custom
from ngm_tune.benchmarks.decoding import Images, decode_images
from ngm_tune.benchmarks.encoded import (
    folder_classes,
    has_images,
    list_folder_images,
    list_parquet_images,
    parquet_class_names,
)
from ngm_tune.benchmarks.folders import data_folder
from ngm_tune.benchmarks.sources import parquet_files
from ngm_tune.benchmarks.tasks import TaskData, split_by_groups, split_off_validation
from ngm_tune.errors import UserError

_MAX_LISTED = 50
"""Largest number of classes in a message."""


def resolve(custom: Custom) -> Custom:
    """Return a copy with the classes of each task and the normalisation, read from the data.

    Raises:
        UserError: The data is missing or damaged, or lacks a class.
    """
    train, _, names = _read(custom)
    training = split_off_validation(train)[0]
    tasks = [[names[c] for c in group] for group in _group_classes(custom, names)]
    normalisation = custom.normalisation or _compute_statistics(training)
    return custom.model_copy(update={"tasks": tasks, "normalisation": normalisation})


def load(custom: Custom) -> TaskData:
    """Read the data of a resolved table and cut it into tasks.

    Raises:
        UserError: The data is missing or damaged, or a class has no images in a split.
    """
    trainable, test, names = _read(custom)
    groups = _group_classes(custom, names)
    splits = dict(zip(("train", "validation"), split_off_validation(trainable), strict=True))
    splits["test"] = test
    for split, images in splits.items():
        present = set(np.unique(images.labels).tolist())
        for missing in (names[c] for group in groups for c in group if c not in present):
            raise UserError(f"{images.origin}: the class {missing} has no images for {split}")
    return TaskData(*(split_by_groups(images, groups) for images in splits.values()))


def _read(custom: Custom) -> tuple[Images, Images, list[str]]:
    """Return training images, test images and the class names."""
    train, test, names = _read_images(custom)
    for name, count in Counter(names).items():
        if count > 1:
            raise UserError(f"custom.path = {custom.path!r}: two classes have the name {name}")
    used = [c for group in _group_classes(custom, names) for c in group]
    train = _select_classes(train, used)  # other classes may be too small for a stratified split
    if test is None:
        train, test = split_off_validation(train, custom.test_share)
    return train, _select_classes(test, used), names


def _select_classes(images: Images, classes: Sequence[int]) -> Images:
    """Return the images of some classes."""
    chosen = np.isin(images.labels, classes)
    if chosen.all():
        return images
    return Images(images.pixels[chosen], images.labels[chosen], images.origin)


def _read_images(custom: Custom) -> tuple[Images, Images | None, list[str]]:
    """Return images, separate test images if they exist, and the class names."""
    path = data_folder() / custom.path  # an absolute path replaces the data folder
    shape = (custom.channels, custom.size, custom.size)
    if path.is_file():
        return _read_parquet(custom, [path], [])
    if not path.is_dir():
        raise UserError(
            f"custom.path = {custom.path!r}: {path} does not exist; name a folder of images or "
            "Parquet files, absolute or relative to the folder of --data"
        )
    if train := parquet_files(path, "train"):
        test = parquet_files(train[0].parent, "test") or parquet_files(path, "test")
        return _read_parquet(custom, train, test)
    parts = _find_split_folders(path)
    classes = [*folder_classes(path / parts[0])]
    for name in folder_classes(path / parts[-1]):
        if name not in classes:
            raise UserError(f"{path / parts[-1]}: the class {name} has no folder in train/")
    if not classes:
        raise UserError(
            f"custom.path = {custom.path!r}: {path} has neither train-*.parquet nor one folder of "
            "images per class"
        )
    images = [
        decode_images(list_folder_images((path / part).resolve(), classes), shape) for part in parts
    ]
    return images[0], (images[1] if len(images) > 1 else None), classes


def _find_split_folders(path: Path) -> list[str]:
    """Return the subfolders with the classes of each split; ``.`` if the folder is not split."""
    folders = [*folder_classes(path)]
    if "train" not in folders or ("test" not in folders and has_images(path / "train")):
        return ["."]  # a folder ``train`` is then a class
    if "test" in folders:
        return ["train", "test"]
    if folders != ["train"]:
        others = ", ".join(name for name in folders if name != "train")
        raise UserError(f"{path}: has {others} besides train/, but only test/ is supported")
    return ["train"]


def _read_parquet(
    custom: Custom, train: Sequence[Path], test: Sequence[Path]
) -> tuple[Images, Images | None, list[str]]:
    shape = (custom.channels, custom.size, custom.size)
    images = [
        decode_images(list_parquet_images(f, custom.label), shape) for f in (train, test) if f
    ]
    largest = max(int(part.labels.max()) for part in images)
    names_of = {file: parquet_class_names(file, custom.label) for file in (*train, *test)}
    first, names = next(
        ((file, names) for file, names in names_of.items() if names),
        (train[0], [str(c) for c in range(largest + 1)]),
    )
    for file, others in names_of.items():
        if others and others != names:
            raise UserError(f"{file}: its class names differ from those of {first}")
    if largest >= len(names):
        raise UserError(
            f"{first}: it names {len(names)} classes and has images with {custom.label} = {largest}"
        )
    return images[0], (images[1] if test else None), names


def _group_classes(custom: Custom, names: Sequence[str]) -> list[list[int]]:
    """Return the class indices of each task."""
    if isinstance(custom.tasks, int):
        each, rest = divmod(len(names), custom.tasks)
        if not each or rest:
            raise UserError(
                f"custom.tasks = {custom.tasks}: must divide the number of classes, {len(names)}; "
                f"or list the classes of each task, out of {_list_names(names)}"
            )
        return [list(range(k * each, (k + 1) * each)) for k in range(custom.tasks)]
    index = {name: c for c, name in enumerate(names)}
    for task in custom.tasks:
        for name in task:
            if normalize("NFC", name) not in index:
                raise UserError(
                    f"custom.tasks has {name!r}, which is not a class of {custom.path}; its "
                    f"classes are {_list_names(names)}"
                )
    return [[index[normalize("NFC", name)] for name in task] for task in custom.tasks]


def _list_names(names: Sequence[str]) -> str:
    """List names in a message, at most ``_MAX_LISTED`` of them."""
    more = len(names) - _MAX_LISTED
    return ", ".join(names[:_MAX_LISTED]) + (f" and {more} more" if more > 0 else "")


def _compute_statistics(images: Images) -> Normalisation:
    """Compute mean and standard deviation of each channel, for pixels in [0, 1].

    A channel with a single value has standard deviation 1.
    """
    pixels = images.pixels
    means, deviations = [], []
    for channel in range(pixels.shape[1]):
        counts = np.bincount(pixels[:, channel].ravel(), minlength=256)
        values = np.arange(256) / 255.0
        mean = float(np.average(values, weights=counts))
        means.append(mean)
        spread = float(np.sqrt(np.average((values - mean) ** 2, weights=counts)))
        is_constant = np.count_nonzero(counts) == 1
        deviations.append(1.0 if is_constant else spread)
    return tuple(means), tuple(deviations)
