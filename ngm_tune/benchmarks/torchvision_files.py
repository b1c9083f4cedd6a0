"""Readers of torchvision's dataset files, which they verify against torchvision's MD5 sums.

torchvision and NumPy are imported when a dataset is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ngm_tune.benchmarks.sources import Layout, Split

if TYPE_CHECKING:
    from ngm_tune.benchmarks.decoding import Images

_UNREADABLE = (AssertionError, KeyError, IndexError, TypeError, ValueError, RuntimeError, OSError)
"""Exceptions that torchvision raises for unreadable files."""


def mnist_layout(dataset: str) -> Layout:
    """Return the layout of torchvision's MNIST or FashionMNIST.

    Gzipped archives next to the files are verified against torchvision's MD5 sums.
    """
    return Layout(partial(_read_mnist, dataset), partial(_mnist_files, dataset))


def cifar_layout(dataset: str) -> Layout:
    """Return the layout of torchvision's CIFAR10 or CIFAR100 (fine labels)."""
    return Layout(partial(_read_cifar, dataset), partial(_cifar_files, dataset))


def _read_mnist(dataset: str, folder: Path, split: Split, download: bool) -> Images:
    from torchvision import datasets

    from ngm_tune.benchmarks.decoding import Images

    cls = getattr(datasets, dataset)
    if not download:  # a download replaces damaged files
        _require_intact(folder / dataset / "raw", dict(cls.resources))
    try:
        data = cls(folder, train=split == "train", download=download)
    except _UNREADABLE as error:
        damaged = _first_damaged(folder, _mnist_files(dataset))
        if damaged is None:
            raise
        raise ValueError(f"{damaged} is truncated or in another format") from error
    pixels = data.data.unsqueeze(1).numpy()
    return Images(pixels, data.targets.numpy(), str(folder / dataset))


def _mnist_files(dataset: str) -> list[str]:
    from torchvision import datasets

    archives = [name for name, _ in getattr(datasets, dataset).resources]
    return [f"{dataset}/raw/{name.removesuffix('.gz')}" for name in archives]


def _read_cifar(dataset: str, folder: Path, split: Split, download: bool) -> Images:
    import numpy as np
    from torchvision import datasets

    from ngm_tune.benchmarks.decoding import Images

    cls = getattr(datasets, dataset)
    try:
        data = cls(folder, train=split == "train", download=download)
    except RuntimeError:  # torchvision does not name the file or say whether it exists
        sums = {**dict(cls.train_list + cls.test_list), cls.meta["filename"]: cls.meta["md5"]}
        _require_intact(folder / cls.base_folder, sums)
        raise
    pixels = np.ascontiguousarray(data.data.transpose(0, 3, 1, 2))
    labels = np.asarray(data.targets, dtype=np.int64)
    return Images(pixels, labels, str(folder / data.base_folder))


def _cifar_files(dataset: str) -> list[str]:
    from torchvision import datasets

    cls = getattr(datasets, dataset)
    names = [name for name, _ in cls.train_list + cls.test_list] + [cls.meta["filename"]]
    return [f"{cls.base_folder}/{name}" for name in names]


def _require_intact(folder: Path, sums: Mapping[str, str]) -> None:
    """Raise ``ValueError`` if the MD5 sum of an existing file is wrong."""
    from torchvision.datasets.utils import check_integrity

    for name, md5 in sums.items():
        file = folder / name
        if file.exists() and not check_integrity(file, md5):
            raise ValueError(f"the MD5 sum of {file} is not {md5}")


def _first_damaged(folder: Path, files: Sequence[str]) -> Path | None:
    """Return the first of torchvision's MNIST files that exists and cannot be read."""
    from torchvision.datasets.mnist import read_image_file, read_label_file

    for file in map(folder.joinpath, files):
        try:
            if file.exists():
                (read_image_file if "images" in file.name else read_label_file)(str(file))
        except _UNREADABLE:
            return file
    return None
