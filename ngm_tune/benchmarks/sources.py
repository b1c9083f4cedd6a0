"""Datasets: local files in two layouts, or downloads with torchvision.

The data folder is the environment variable ``NGM_TUNE_DATA``, which the option ``--data`` sets. The
default is ``data`` in the user's cache folder, on Linux ``~/.cache/ngm-tune/data``. Two layouts of
files are supported:

- torchvision's: ``MNIST/raw/``, ``FashionMNIST/raw/``, ``cifar-10-batches-py/`` and
  ``cifar-100-python/``; files of the first two may be gzipped;
- Parquet files of the Hugging Face hub: ``<folder>/train-*.parquet``, or the same in a subfolder
  such as ``data/`` or ``plain_text/``, with a column of images (a struct of ``bytes`` and ``path``)
  and a column of labels.

If no files exist, torchvision downloads the datasets that it supports. Every load verifies counts,
shapes, classes and, if a reference exists, checksums. Images keep the order of the files. The order
can differ between the two layouts, and the same seed then draws different batches.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ngm_tune.benchmarks.folders import data_folder
from ngm_tune.errors import UserError

if TYPE_CHECKING:
    from ngm_tune.benchmarks.decoding import Images

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Layout:
    """The files of a dataset in torchvision's layout.

    Attributes:
        read: Reads a split from a folder, after a download if the last argument is true. Raises
            ``RuntimeError`` or ``FileNotFoundError`` if the files are missing.
        files: Returns the paths of the files, relative to the folder. Files may also be gzipped.
    """

    read: Callable[[Path, Split, bool], Images]
    files: Callable[[], list[str]]

    def missing_files(self, folder: Path) -> list[str]:
        """Return the files that are missing in a folder."""
        return [
            name
            for name in self.files()
            if not (folder / name).exists() and not (folder / f"{name}.gz").exists()
        ]


@dataclass(frozen=True)
class Source:
    """A dataset and its possible sources.

    Attributes:
        name: Name in messages.
        folders: Possible names of the folder with Parquet files.
        label: Column of labels in the Parquet files.
        counts: Expected number of images in each split.
        shape: Channels, height and width.
        classes: Number of classes.
        torchvision: Torchvision's layout; None if torchvision does not have the dataset.
        command: Shell command that downloads the data; ``DIR`` stands for the data folder.
        same_size: Whether all images have this size; otherwise they are resized to it.
        balanced: Whether all classes have the same number of images.
        checksums: Reference checksums of splits (:meth:`Images.checksum`); may be incomplete.
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


def load_images(source: Source, split: Split) -> Images:
    """Find, decode and verify a split of a dataset.

    Raises:
        UserError: The split is missing and cannot be downloaded, or its files are damaged.
    """
    from ngm_tune.benchmarks.decoding import decode_images
    from ngm_tune.benchmarks.encoded import list_parquet_images

    folder = data_folder()
    candidates = (parquet_files(folder / name, split) for name in source.folders)
    files = next(filter(None, candidates), None)
    if files:
        images = decode_images(
            list_parquet_images(files, source.label), source.shape, exact=source.same_size
        )
    elif source.torchvision is not None:
        images = _from_torchvision(source, source.torchvision, folder, split)
    else:
        raise UserError(_explain_missing(source, folder, split, []))
    _verify(source, split, images)
    return images


def _explain_missing(
    source: Source, folder: Path, split: Split, missing_files: Sequence[str], reason: str = ""
) -> str:
    """Compose the message about a missing split.

    Args:
        source: The dataset.
        folder: The data folder.
        split: The missing split.
        missing_files: Missing files of torchvision's layout.
        reason: Reason of a failed download; empty if no download was tried.
    """
    parquet = " or ".join(f"{name}/{split}-*.parquet" for name in source.folders)
    no_files = f", and no {', '.join(missing_files)}" if missing_files else ""
    failure = f", and the download failed: {reason}" if reason else ""
    return (
        f"{source.name}: {folder} has no {parquet}{no_files}{failure}; download it with "
        f"`{source.command}`, and name its folder with --data or NGM_TUNE_DATA"
    )


def _explain_damaged(source: Source, folder: Path, error: Exception) -> str:
    reason = " ".join(str(error).split()) or "its files have another format"
    return f"{source.name} in {folder} is damaged: {reason}"


def _from_torchvision(source: Source, layout: Layout, folder: Path, split: Split) -> Images:
    missing_files = layout.missing_files(folder)
    try:
        return layout.read(folder, split, False)
    except (RuntimeError, FileNotFoundError) as error:
        if isinstance(error, RuntimeError) and "not found" not in str(error):
            raise UserError(_explain_damaged(source, folder, error)) from error
        # Otherwise files are missing or incomplete: download them.
    except (AssertionError, KeyError, IndexError, ValueError, OSError, EOFError) as error:
        raise UserError(_explain_damaged(source, folder, error)) from error
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return layout.read(folder, split, True)
    except (RuntimeError, OSError, ValueError, EOFError) as error:
        reason = " ".join(str(error).split())
        raise UserError(_explain_missing(source, folder, split, missing_files, reason)) from error


def parquet_files(folder: Path, split: Split) -> list[Path]:
    """Return the Parquet files of a split in a folder or in one of its subfolders.

    The files are named as those of a dataset on the Hugging Face hub, ``train-*.parquet``, or as
    those that the hub converts, ``train/0000.parquet``.

    Returns:
        Sorted paths; empty if the split has no Parquet files.

    Raises:
        UserError: Several subfolders have Parquet files of the split, or some files are missing.
    """
    for name in (f"{split}-*.parquet", f"{split}/[0-9]*.parquet"):
        depth = name.count("/")
        if files := sorted(folder.glob(name)):
            return _require_all(files)
        subfolders = sorted({file.parents[depth] for file in folder.glob(f"*/{name}")})
        if len(subfolders) > 1:
            raise UserError(
                f"{folder}: {name} is in {', '.join(path.name for path in subfolders)}; keep or "
                "name one of these folders"
            )
        if subfolders:
            return _require_all(sorted(subfolders[0].glob(name)))
    return []


def _require_all(files: list[Path]) -> list[Path]:
    """Return Parquet files of which none is missing, by the names of the hub, 00000-of-00003."""
    parts = [re.fullmatch(r".*-(\d+)-of-(\d+)\.parquet", file.name) for file in files]
    expected = {int(part[2]) for part in parts if part}
    if expected and len(files) != (count := max(expected)):
        raise UserError(
            f"{files[0].parent}: {count - len(files)} of {count} files are missing beside "
            f"{files[0].name}"
            if len(files) < count
            else f"{files[0].parent}: {len(files)} files, of which {files[0].name} says that there "
            f"are {count}"
        )
    return files


def _verify(source: Source, split: Split, images: Images) -> None:
    import numpy as np

    expected = (source.counts[split], *source.shape)
    if images.pixels.shape != expected:
        raise UserError(
            f"{source.name} in {images.origin} is incomplete: its {split} images have shape "
            f"{images.pixels.shape}, expected {expected}"
        )
    classes, counts = np.unique(images.labels, return_counts=True)
    if not np.array_equal(classes, np.arange(source.classes)):
        raise UserError(
            f"{source.name} in {images.origin}: its {split} labels have {len(classes)} classes, "
            f"from {classes.min()} to {classes.max()}, expected {source.classes} from 0"
        )
    if source.balanced and counts.min() != counts.max():
        raise UserError(
            f"{source.name} in {images.origin}: its {split} classes have {counts.min()} to "
            f"{counts.max()} images, expected {len(images.labels) // source.classes} each"
        )
    checksum = source.checksums.get(split)
    if checksum is not None and images.checksum() != checksum:
        raise UserError(
            f"{source.name} in {images.origin} is damaged: the checksum of its {split} images and "
            f"labels is {images.checksum()}, expected {checksum}"
        )
