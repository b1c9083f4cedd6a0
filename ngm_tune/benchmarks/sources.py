"""Where images come from: files that are there already, or torchvision's downloads.

Data is looked for in the folder that ``NGM_TUNE_DATA`` names, which the command line's ``--data``
sets (without it ``~/.cache/ngm-tune/data``), in two layouts:

- torchvision's own: ``MNIST/raw/``, ``FashionMNIST/raw/``, ``cifar-10-batches-py/``,
  ``cifar-100-python/``, the first two perhaps gzipped;
- Parquet as the Hugging Face hub serves it: ``<folder>/train-*.parquet``, or the same in a folder
  within, such as ``data/`` or ``plain_text/``, with a column of images (a struct of ``bytes`` and
  ``path``) and one of labels.

If neither is there, torchvision downloads what it knows. Counts, shapes, classes and the checksums
that are known are verified whenever a dataset is loaded.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from ngm_tune.benchmarks.decoding import Images, cache_folder, decoded, parquet_images
from ngm_tune.errors import UserError

Split = Literal["train", "validation", "test"]

Reader = Callable[[Path, Split, bool], Images]
"""Reads a split in torchvision's layout below a folder, downloading it first if told to; fails with
``RuntimeError`` or ``FileNotFoundError`` where there is nothing to read."""


@dataclass(frozen=True)
class Source:
    """A dataset and the ways to get it.

    Attributes:
        name: How people call it.
        folders: Names that its Parquet folder may have.
        label: Its column of labels there.
        counts: Images per split, to be verified.
        shape: Channels, height, width.
        classes: Number of classes.
        torchvision: Reads torchvision's layout; None where torchvision does not know the dataset.
        command: What a person can run to get the data where downloading is not possible.
        checksums: SHA-256 of the splits' pixels and labels, for those of which it is known.
    """

    name: str
    folders: tuple[str, ...]
    label: str
    counts: dict[Split, int]
    shape: tuple[int, int, int]
    classes: int
    torchvision: Reader | None
    command: str
    checksums: Mapping[Split, str] = field(default_factory=dict)


def data_folder() -> Path:
    """The folder that data is looked for in and downloaded to."""
    given = os.environ.get("NGM_TUNE_DATA")
    return Path(given) if given else cache_folder() / "data"


def load_images(source: Source, split: Split) -> Images:
    """Find, decode and verify one split of a dataset.

    Raises:
        UserError: It is neither there nor can be downloaded, or what is there is damaged.
    """
    folder = data_folder()
    files = _parquet_files(source, folder, split)
    if files:
        images = decoded(parquet_images(files, source.label), source.shape)
    elif source.torchvision is not None:
        images = _from_torchvision(source, source.torchvision, folder, split)
    else:
        raise UserError(_missing(source, folder, "no Parquet files there"))
    _verify(source, split, images)
    return images


def _missing(source: Source, folder: Path, reason: str) -> str:
    return (
        f"{source.name} is neither in {folder} (as {' or '.join(source.folders)}) nor could be "
        f"downloaded: {reason}; get it by `{source.command}`, and name the folder that holds it "
        "with --data or NGM_TUNE_DATA"
    )


def _damaged(source: Source, folder: Path, error: Exception) -> str:
    reason = " ".join(str(error).split()) or "its files are not of its format"
    return f"{source.name} in {folder} is damaged: {reason}"


def _from_torchvision(source: Source, read: Reader, folder: Path, split: Split) -> Images:
    try:
        return read(folder, split, False)
    except (RuntimeError, FileNotFoundError) as error:
        if isinstance(error, RuntimeError) and "not found" not in str(error):
            raise UserError(_damaged(source, folder, error)) from error
        # Else it is not there, or not whole, and is to be fetched.
    except (AssertionError, KeyError, IndexError, ValueError, OSError, EOFError) as error:
        raise UserError(_damaged(source, folder, error)) from error
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return read(folder, split, True)
    except (RuntimeError, OSError, ValueError, EOFError) as error:
        raise UserError(_missing(source, folder, " ".join(str(error).split()))) from error


def _parquet_files(source: Source, folder: Path, split: Split) -> list[Path]:
    for name in source.folders:
        within = sorted(entry for entry in (folder / name).glob("*") if entry.is_dir())
        for place in (folder / name, *within):
            files = sorted(place.glob(f"{split}-*.parquet"))
            if files:
                return files
    return []


def _verify(source: Source, split: Split, images: Images) -> None:
    expected = (source.counts[split], *source.shape)
    if images.pixels.shape != expected:
        raise UserError(
            f"{source.name} in {images.origin} is not whole: its {split} images have shape "
            f"{images.pixels.shape}, expected {expected}"
        )
    found = np.unique(images.labels)
    if not np.array_equal(found, np.arange(source.classes)):
        raise UserError(
            f"{source.name} in {images.origin}: its {split} labels have {len(found)} classes from "
            f"{found.min()} to {found.max()}, expected {source.classes} from 0"
        )
    checksum = source.checksums.get(split)
    if checksum is not None and images.checksum() != checksum:
        raise UserError(
            f"{source.name} in {images.origin} is damaged: the SHA-256 of its {split} images and "
            f"labels is {images.checksum()}, expected {checksum}"
        )


def mnist_reader(dataset: str) -> Reader:
    """A reader of torchvision's MNIST or FashionMNIST.

    Archives that lie beside the files are held against torchvision's MD5 sums.
    """

    def read(folder: Path, split: Split, download: bool) -> Images:
        from torchvision import datasets
        from torchvision.datasets.utils import check_integrity

        for name, md5 in getattr(datasets, dataset).resources:
            archive = folder / dataset / "raw" / name
            if archive.exists() and not check_integrity(archive, md5) and not download:
                raise ValueError(f"the MD5 sum of {archive} is not {md5}")
        data = getattr(datasets, dataset)(folder, train=split == "train", download=download)
        pixels = data.data.unsqueeze(1).numpy()
        return Images(pixels, data.targets.numpy(), str(folder / dataset))

    return read


def cifar_reader(dataset: str) -> Reader:
    """A reader of torchvision's CIFAR10 or CIFAR100 (fine labels)."""

    def read(folder: Path, split: Split, download: bool) -> Images:
        from torchvision import datasets

        data = getattr(datasets, dataset)(folder, train=split == "train", download=download)
        pixels = np.ascontiguousarray(data.data.transpose(0, 3, 1, 2))
        labels = np.asarray(data.targets, dtype=np.int64)
        return Images(pixels, labels, str(folder / data.base_folder))

    return read
