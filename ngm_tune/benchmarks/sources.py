"""Where images come from: files that are there already, or torchvision's downloads.

Data is looked for in the folder that ``NGM_TUNE_DATA`` names, which the command line's ``--data``
sets (without it ``~/.cache/ngm-tune/data``), in two layouts:

- torchvision's own: ``MNIST/raw/``, ``FashionMNIST/raw/``, ``cifar-10-batches-py/``,
  ``cifar-100-python/``, the first two perhaps gzipped;
- Parquet as the Hugging Face hub serves it: ``<folder>/train-*.parquet``, or the same in
  ``<folder>/data/``, with a column of images (a struct of ``bytes`` and ``path``) and one of
  labels.

If neither is there, torchvision downloads what it knows. Images that must be decoded are decoded
once and kept as memory-mapped arrays in ``~/.cache/ngm-tune/decoded``.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ngm_tune.errors import UserError

Split = Literal["train", "test"]


class Images(NamedTuple):
    """A labelled set of images.

    Attributes:
        pixels: Shape (N, channels, height, width), uint8; may be a read-only memory map.
        labels: Class indices, shape (N,), int64.
        origin: Where they were found.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    origin: str


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
    """

    name: str
    folders: tuple[str, ...]
    label: str
    counts: dict[Split, int]
    shape: tuple[int, int, int]
    classes: int
    torchvision: Reader | None
    command: str


def data_folder() -> Path:
    """The folder that data is looked for in and downloaded to."""
    given = os.environ.get("NGM_TUNE_DATA")
    return Path(given) if given else _cache() / "data"


def load_images(source: Source, split: Split) -> Images:
    """Find, decode and verify one split of a dataset.

    Raises:
        UserError: It is neither there nor can be downloaded, or what is there is damaged.
    """
    folder = data_folder()
    files = _parquet_files(source, folder, split)
    if files:
        images = _from_parquet(source, files)
    elif source.torchvision is not None:
        images = _from_torchvision(source, source.torchvision, folder, split)
    else:
        raise UserError(_missing(source, folder, "no Parquet files there"))
    _verify(source, split, images)
    return images


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ngm-tune"


def _missing(source: Source, folder: Path, reason: str) -> str:
    return (
        f"{source.name} is neither in {folder} (as {' or '.join(source.folders)}) nor could be "
        f"downloaded: {reason}; get it by `{source.command}`, and name the folder that holds it "
        "with --data or NGM_TUNE_DATA"
    )


def _from_torchvision(source: Source, read: Reader, folder: Path, split: Split) -> Images:
    try:
        return read(folder, split, False)
    except (RuntimeError, FileNotFoundError):
        pass  # not there, or not whole: to be fetched
    except (ValueError, OSError, EOFError) as error:
        raise UserError(f"{source.name} in {folder} is damaged: {error}") from error
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return read(folder, split, True)
    except (RuntimeError, OSError, ValueError, EOFError) as error:
        raise UserError(_missing(source, folder, " ".join(str(error).split()))) from error


def _parquet_files(source: Source, folder: Path, split: Split) -> list[Path]:
    for name in source.folders:
        for place in (folder / name, folder / name / "data"):
            files = sorted(place.glob(f"{split}-*.parquet"))
            if files:
                return files
    return []


def _from_parquet(source: Source, files: list[Path]) -> Images:
    origin = str(files[0].parent)
    key = [f"{f.resolve()} {f.stat().st_size} {f.stat().st_mtime_ns}" for f in files]
    digest = hashlib.sha256("\n".join([repr(source), *key]).encode()).hexdigest()[:16]
    kept = _cache() / "decoded" / f"{files[0].name.partition('-')[0]}-{digest}"
    if not kept.is_dir():
        pixels, labels = _decode(source, files)
        _keep(kept, {"pixels": pixels, "labels": labels})
    pixels = np.load(kept / "pixels.npy", mmap_mode="r")
    return Images(pixels, np.load(kept / "labels.npy"), origin)


def _decode(source: Source, files: list[Path]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Decode every image of some Parquet files, a row group at a time."""
    pixels: list[NDArray[np.uint8]] = []
    labels: list[NDArray[np.int64]] = []
    for path in files:
        try:
            parquet = pq.ParquetFile(path)
            column = _image_column(path, parquet.schema_arrow)
            if source.label not in parquet.schema_arrow.names:
                raise UserError(
                    f"{path}: no column {source.label}; "
                    f"there are {', '.join(parquet.schema_arrow.names)}"
                )
            for group in range(parquet.num_row_groups):
                table = parquet.read_row_group(group, [column, source.label])
                encoded = table[column].combine_chunks().field("bytes")
                pixels.append(_decode_images(source, path, encoded))
                labels.append(table[source.label].to_numpy().astype(np.int64))
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{path}: not readable as Parquet: {error}") from error
    return np.concatenate(pixels), np.concatenate(labels)


def _image_column(path: Path, schema: pa.Schema) -> str:
    for name in ("img", "image"):
        if name in schema.names and pa.types.is_struct(schema.field(name).type):
            return name
    raise UserError(f"{path}: no column of images (img or image: a struct of bytes and path)")


def _decode_images(source: Source, path: Path, encoded: pa.Array) -> NDArray[np.uint8]:
    channels, height, width = source.shape
    images = np.empty((len(encoded), channels, height, width), dtype=np.uint8)
    for i, content in enumerate(encoded):
        try:
            image = Image.open(io.BytesIO(content.as_py()))
            fitted = ImageOps.fit(image.convert("L" if channels == 1 else "RGB"), (width, height))
        except (OSError, TypeError, ValueError) as error:
            raise UserError(f"{path}: image {i} cannot be decoded: {error}") from error
        images[i] = np.asarray(fitted).reshape(height, width, channels).transpose(2, 0, 1)
    return images


def _keep(place: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Put arrays into the cache, whole or not at all, even if several processes do so at once."""
    draft = place.with_name(f"{place.name}.{uuid4().hex}")
    draft.mkdir(parents=True)
    for name, array in arrays.items():
        np.save(draft / f"{name}.npy", array)
    try:
        draft.rename(place)
    except OSError:  # another process was faster
        for file in draft.iterdir():
            file.unlink()
        draft.rmdir()


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


def mnist_reader(dataset: str) -> Reader:
    """A reader of torchvision's MNIST or FashionMNIST."""

    def read(folder: Path, split: Split, download: bool) -> Images:
        from torchvision import datasets

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
