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
from typing import TYPE_CHECKING, Literal

from platformdirs import user_cache_path

from ngm_tune.errors import UserError

if TYPE_CHECKING:
    from ngm_tune.benchmarks.decoding import Images

Split = Literal["train", "validation", "test"]


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


def cache_folder() -> Path:
    """Where ngm-tune keeps what can be made again."""
    return user_cache_path("ngm-tune", appauthor=False)


def data_folder() -> Path:
    """The folder that data is looked for in and downloaded to."""
    given = os.environ.get("NGM_TUNE_DATA")
    return Path(given) if given else cache_folder() / "data"


def load_images(source: Source, split: Split) -> Images:
    """Find, decode and verify one split of a dataset.

    Raises:
        UserError: It is neither there nor can be downloaded, or what is there is damaged.
    """
    from ngm_tune.benchmarks.decoding import decoded
    from ngm_tune.benchmarks.encoded import parquet_images

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
    import numpy as np

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
