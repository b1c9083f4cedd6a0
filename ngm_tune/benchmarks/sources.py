"""Where images come from: files that are there already, or torchvision's downloads.

Data is looked for in the folder that ``NGM_TUNE_DATA`` names, which the command line's ``--data``
sets (without it ``~/.cache/ngm-tune/data``), in two layouts:

- torchvision's own: ``MNIST/raw/``, ``FashionMNIST/raw/``, ``cifar-10-batches-py/``,
  ``cifar-100-python/``, the first two perhaps gzipped;
- Parquet as the Hugging Face hub serves it: ``<folder>/train-*.parquet``, or the same in a folder
  within, such as ``data/`` or ``plain_text/``, with a column of images (a struct of ``bytes`` and
  ``path``) and one of labels.

If neither is there, torchvision downloads what it knows. Counts, shapes, classes and the checksums
that are known are verified whenever a dataset is loaded. The order of the images is that of the
files, which may differ between the two layouts: the same seed then draws other batches.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from ngm_tune.benchmarks.decoding import Images, cache_folder, decoded, parquet_images
from ngm_tune.errors import UserError

Split = Literal["train", "validation", "test"]

_UNREADABLE = (AssertionError, KeyError, IndexError, TypeError, ValueError, RuntimeError, OSError)
"""What torchvision raises of a file that it cannot read."""


@dataclass(frozen=True)
class Layout:
    """A dataset as torchvision lays it out.

    Attributes:
        read: Reads a split below a folder, downloading it first if told to; fails with
            ``RuntimeError`` or ``FileNotFoundError`` where there is nothing to read.
        files: The files that reading takes, as seen from the folder; some may be gzipped.
    """

    read: Callable[[Path, Split, bool], Images]
    files: Callable[[], list[str]]

    def absent(self, folder: Path) -> list[str]:
        """The files that are not there."""
        return [
            name
            for name in self.files()
            if not (folder / name).exists() and not (folder / f"{name}.gz").exists()
        ]


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
        torchvision: The other layout; None where torchvision does not know the dataset.
        command: What a person can run to get the data where downloading is not possible.
        same_size: Whether all images have that size; else they are brought to it.
        balanced: Whether all classes have as many images.
        checksums: Those of the splits (:meth:`Images.checksum`), as far as they are known.
    """

    name: str
    folders: tuple[str, ...]
    label: str
    counts: dict[Split, int]
    shape: tuple[int, int, int]
    classes: int
    torchvision: Layout | None
    command: str
    same_size: bool = True
    balanced: bool = True
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
    places = (parquet_files(folder / name, split) for name in source.folders)
    files = next(filter(None, places), None)
    if files:
        images = decoded(parquet_images(files, source.label), source.shape, exact=source.same_size)
    elif source.torchvision is not None:
        images = _from_torchvision(source, source.torchvision, folder, split)
    else:
        raise UserError(_missing(source, folder, split, []))
    _verify(source, split, images)
    return images


def _missing(
    source: Source, folder: Path, split: Split, absent: Sequence[str], why: str = ""
) -> str:
    """What is not there of a split.

    Args:
        source: The dataset.
        folder: Where it was looked for.
        split: Which.
        absent: Files of torchvision's layout.
        why: Downloading them failed; empty if nothing was tried.
    """
    parquet = " or ".join(f"{name}/{split}-*.parquet" for name in source.folders)
    others = f", nor {', '.join(absent)}" if absent else ""
    tried = f", and downloading failed: {why}" if why else ""
    return (
        f"{source.name}: there is no {parquet} in {folder}{others}{tried}; get it by "
        f"`{source.command}`, and name the folder that holds it with --data or NGM_TUNE_DATA"
    )


def _damaged(source: Source, folder: Path, error: Exception) -> str:
    reason = " ".join(str(error).split()) or "its files are not of its format"
    return f"{source.name} in {folder} is damaged: {reason}"


def _from_torchvision(source: Source, layout: Layout, folder: Path, split: Split) -> Images:
    absent = layout.absent(folder)
    try:
        return layout.read(folder, split, False)
    except (RuntimeError, FileNotFoundError) as error:
        if isinstance(error, RuntimeError) and "not found" not in str(error):
            raise UserError(_damaged(source, folder, error)) from error
        # Else it is not there, or not whole, and is to be fetched.
    except (AssertionError, KeyError, IndexError, ValueError, OSError, EOFError) as error:
        raise UserError(_damaged(source, folder, error)) from error
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return layout.read(folder, split, True)
    except (RuntimeError, OSError, ValueError, EOFError) as error:
        why = " ".join(str(error).split())
        raise UserError(_missing(source, folder, split, absent, why)) from error


def parquet_files(folder: Path, split: Split) -> list[Path]:
    """The Parquet files of a split in a folder, or in one within; none if there are none.

    Raises:
        UserError: Several folders within have some, which may be of different datasets.
    """
    name = f"{split}-*.parquet"
    if here := sorted(folder.glob(name)):
        return here
    places = sorted({file.parent for file in folder.glob(f"*/{name}")})
    if len(places) > 1:
        raise UserError(
            f"{folder}: {name} is in {', '.join(place.name for place in places)}; keep or name one "
            "of them"
        )
    return sorted(places[0].glob(name)) if places else []


def _verify(source: Source, split: Split, images: Images) -> None:
    expected = (source.counts[split], *source.shape)
    if images.pixels.shape != expected:
        raise UserError(
            f"{source.name} in {images.origin} is not whole: its {split} images have shape "
            f"{images.pixels.shape}, expected {expected}"
        )
    found, numbers = np.unique(images.labels, return_counts=True)
    if not np.array_equal(found, np.arange(source.classes)):
        raise UserError(
            f"{source.name} in {images.origin}: its {split} labels have {len(found)} classes from "
            f"{found.min()} to {found.max()}, expected {source.classes} from 0"
        )
    if source.balanced and numbers.min() != numbers.max():
        raise UserError(
            f"{source.name} in {images.origin}: its {split} images are {numbers.min()} to "
            f"{numbers.max()} of each class, expected {len(images.labels) // source.classes}"
        )
    checksum = source.checksums.get(split)
    if checksum is not None and images.checksum() != checksum:
        raise UserError(
            f"{source.name} in {images.origin} is damaged: the checksum of its {split} images and "
            f"labels is {images.checksum()}, expected {checksum}"
        )


def _require_whole(folder: Path, sums: Mapping[str, str]) -> None:
    """Raise ``ValueError`` if a file that is there has another MD5 sum than it should."""
    from torchvision.datasets.utils import check_integrity

    for name, md5 in sums.items():
        file = folder / name
        if file.exists() and not check_integrity(file, md5):
            raise ValueError(f"the MD5 sum of {file} is not {md5}")


def mnist_layout(dataset: str) -> Layout:
    """Torchvision's MNIST or FashionMNIST.

    Archives that lie beside the files are held against torchvision's MD5 sums.
    """

    def read(folder: Path, split: Split, download: bool) -> Images:
        from torchvision import datasets

        of = getattr(datasets, dataset)
        if not download:  # which would replace what is damaged
            _require_whole(folder / dataset / "raw", dict(of.resources))
        try:
            data = of(folder, train=split == "train", download=download)
        except _UNREADABLE as error:
            damaged = _first_damaged(folder, files())
            if damaged is None:
                raise
            raise ValueError(f"{damaged} is cut off or in another format") from error
        pixels = data.data.unsqueeze(1).numpy()
        return Images(pixels, data.targets.numpy(), str(folder / dataset))

    def files() -> list[str]:
        from torchvision import datasets

        archives = [name for name, _ in getattr(datasets, dataset).resources]
        return [f"{dataset}/raw/{name.removesuffix('.gz')}" for name in archives]

    return Layout(read, files)


def _first_damaged(folder: Path, files: Sequence[str]) -> Path | None:
    """The first of torchvision's MNIST files that is there and cannot be read."""
    from torchvision.datasets.mnist import read_image_file, read_label_file

    for file in map(folder.joinpath, files):
        try:
            if file.exists():
                (read_image_file if "images" in file.name else read_label_file)(str(file))
        except _UNREADABLE:
            return file
    return None


def cifar_layout(dataset: str) -> Layout:
    """Torchvision's CIFAR10 or CIFAR100 (fine labels), whose files it holds against MD5 sums."""

    def read(folder: Path, split: Split, download: bool) -> Images:
        from torchvision import datasets

        of = getattr(datasets, dataset)
        try:
            data = of(folder, train=split == "train", download=download)
        except RuntimeError:  # which does not say of which file, nor whether it is there
            sums = {**dict(of.train_list + of.test_list), of.meta["filename"]: of.meta["md5"]}
            _require_whole(folder / of.base_folder, sums)
            raise
        pixels = np.ascontiguousarray(data.data.transpose(0, 3, 1, 2))
        labels = np.asarray(data.targets, dtype=np.int64)
        return Images(pixels, labels, str(folder / data.base_folder))

    def files() -> list[str]:
        from torchvision import datasets

        of = getattr(datasets, dataset)
        names = [name for name, _ in of.train_list + of.test_list] + [of.meta["filename"]]
        return [f"{of.base_folder}/{name}" for name in names]

    return Layout(read, files)
