"""Encoded images to arrays: decoded once, and kept as memory-mapped files.

Images are read from Parquet as the Hugging Face hub serves it, or from folders with one folder per
class. What was decoded is kept in ``~/.cache/ngm-tune/decoded`` (below ``XDG_CACHE_HOME``, where
that is set) under a name that changes with the files it came from.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from ngm_tune.errors import UserError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".pgm", ".ppm")
_MOST_CLASSES = 100_000
_AT_ONCE = 256
"""Encoded images held in memory."""

_OF_16_BITS = ("PNG", "PPM")
"""Formats that Pillow may open with 32 bits per pixel though they have 16."""

_VERSION = 3
"""Of the decoding: another one gives other pixels, or refuses others."""

_ABANDONED = 24 * 3600.0
"""Seconds after which what a process was decoding is that of one that was killed."""


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

    def checksum(self) -> str:
        """SHA-256 of the pixels and labels, in hexadecimal; the same in whatever order they lie."""
        labelled = zip(self.pixels, self.labels.astype("<i8"), strict=True)
        each = [hashlib.sha256(image.tobytes() + label.tobytes()) for image, label in labelled]
        return hashlib.sha256(b"".join(sorted(one.digest() for one in each))).hexdigest()


class EncodedImage(NamedTuple):
    """An image as it lies in a file: what messages call it, its file format's bytes, its class."""

    name: str
    content: bytes
    label: int


class Encoded(NamedTuple):
    """A set of encoded images.

    Attributes:
        origin: Where they are.
        total: How many.
        fingerprint: Changes whenever the files do.
        read: Goes through them.
    """

    origin: str
    total: int
    fingerprint: str
    read: Callable[[], Iterator[EncodedImage]]


def cache_folder() -> Path:
    """Where ngm-tune keeps what can be made again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ngm-tune"


def decoded(encoded: Encoded, shape: tuple[int, int, int], *, exact: bool = False) -> Images:
    """Decode images, or map into memory what an earlier call left.

    Several processes may do so at once: whichever is done first is taken. What was left and is
    damaged is decoded again.

    Args:
        encoded: The images, of any size and mode.
        shape: Channels (1 or 3), height and width that they are brought to: scaled to cover it, and
            cut evenly on both sides.
        exact: Refuse images of another height or width.

    Raises:
        UserError: An image cannot be decoded, or what was decoded cannot be kept.
    """
    key = f"{_VERSION} {shape} {exact} {encoded.fingerprint}"
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    place = cache_folder() / "decoded" / f"{Path(encoded.origin).name}-{digest}"
    found = _kept(place, encoded, shape)
    if found is not None:
        return found
    draft, damaged = (place.with_name(f"{place.name}.{uuid4().hex}") for _ in range(2))
    try:
        with suppress(FileNotFoundError):
            place.rename(damaged)
        draft.mkdir(parents=True)
        _decode_into(draft, encoded, shape, exact=exact)
        draft.rename(place)
    except OSError as error:
        if not place.is_dir():  # else another process was faster
            raise UserError(
                f"{place}: cannot be written: {error}; XDG_CACHE_HOME can name another folder"
            ) from error
    finally:
        _clear(draft, damaged, *_abandoned(place))
    found = _kept(place, encoded, shape)
    if found is None:
        raise UserError(f"{place}: what was decoded there cannot be read again")
    return found


def _kept(place: Path, encoded: Encoded, shape: tuple[int, int, int]) -> Images | None:
    """What was decoded before; None if it is not there, or damaged."""
    try:
        pixels = np.load(place / "pixels.npy", mmap_mode="r")
        labels = np.load(place / "labels.npy")
    except (OSError, ValueError, EOFError):
        return None
    whole = pixels.shape == (encoded.total, *shape) and labels.shape == (encoded.total,)
    return Images(pixels, labels, encoded.origin) if whole else None


def _abandoned(place: Path) -> Iterator[Path]:
    """What processes left that were killed while they decoded the same images."""
    for draft in place.parent.glob(f"{place.name}.*"):
        with suppress(FileNotFoundError):
            if time.time() - draft.stat().st_mtime > _ABANDONED:
                yield draft


def _clear(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _decode_into(
    folder: Path, encoded: Encoded, shape: tuple[int, int, int], *, exact: bool
) -> None:
    pixels = np.lib.format.open_memmap(
        folder / "pixels.npy", mode="w+", dtype=np.uint8, shape=(encoded.total, *shape)
    )
    labels = np.empty(encoded.total, dtype=np.int64)
    images = encoded.read()
    done = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # PIL decodes outside the interpreter's lock
        while chunk := list(islice(images, _AT_ONCE)):
            for image, array in zip(
                chunk, pool.map(lambda i: _decode(i, shape, exact=exact), chunk), strict=True
            ):
                pixels[done] = array
                labels[done] = image.label
                done += 1
    pixels.flush()
    np.save(folder / "labels.npy", labels)


def _decode(image: EncodedImage, shape: tuple[int, int, int], *, exact: bool) -> NDArray[np.uint8]:
    channels, height, width = shape
    try:
        opened: Image.Image = Image.open(io.BytesIO(image.content))
        if exact and opened.size != (width, height):
            raise ValueError(f"its size is {opened.size}, expected {(width, height)}")
        opened.draft("RGB", (2 * width, 2 * height))  # large JPEGs: decode no more than is needed
        if opened.mode == "F" or (opened.mode == "I" and opened.format not in _OF_16_BITS):
            raise ValueError("its pixels are numbers of an unknown range; store 8 or 16 bits")
        if opened.mode.startswith("I"):  # of 16 bits, which a conversion would cut off at 8
            opened = Image.fromarray((np.asarray(opened).astype(np.uint16) >> 8).astype(np.uint8))
        if opened.has_transparency_data:  # upon white, as it is mostly shown
            opened = opened.convert("RGBA")
            white = Image.new("RGBA", opened.size, (255, 255, 255, 255))
            opened = Image.alpha_composite(white, opened)
        whole = opened.convert("L" if channels == 1 else "RGB")
        fitted = whole if whole.size == (width, height) else ImageOps.fit(whole, (width, height))
    except UnidentifiedImageError as error:
        raise UserError(
            f"{image.name} cannot be decoded as an image: it is in no format that is known"
        ) from error
    except Exception as error:  # damaged files of many formats fail in many ways
        raise UserError(f"{image.name} cannot be decoded as an image: {error}") from error
    return np.asarray(fitted).reshape(height, width, channels).transpose(2, 0, 1)


def parquet_images(files: Sequence[Path], label: str) -> Encoded:
    """The images of some Parquet files.

    Args:
        files: Each with a column ``img`` or ``image``, a struct of ``bytes`` and ``path``.
        label: The column of class indices.

    Raises:
        UserError: A file is not readable, or lacks a column.
    """
    opened = []
    for path in files:
        try:
            opened.append(pq.ParquetFile(path))
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{path}: not readable as Parquet: {error}") from error
    columns = [
        _image_column(path, file.schema_arrow, label)
        for path, file in zip(files, opened, strict=True)
    ]

    def read() -> Iterator[EncodedImage]:
        for path, column in zip(files, columns, strict=True):
            try:
                number = 0
                for batch in pq.ParquetFile(path).iter_batches(_AT_ONCE, columns=[column, label]):
                    contents = batch[column].field("bytes").to_pylist()
                    classes = batch[label].to_pylist()
                    for content, of_class in zip(contents, classes, strict=True):
                        name = f"{path}: image {number}"
                        if content is None or of_class is None:
                            raise UserError(f"{name} has no bytes or no {label}")
                        if not 0 <= of_class < _MOST_CLASSES:
                            raise UserError(
                                f"{name}: {label} = {of_class}; class indices count from 0 and "
                                f"stay below {_MOST_CLASSES}"
                            )
                        yield EncodedImage(name, content, of_class)
                        number += 1
            except (pa.ArrowException, OSError) as error:
                raise UserError(f"{path}: not readable as Parquet: {error}") from error

    total = sum(file.metadata.num_rows for file in opened)
    if not total:
        raise UserError(f"{files[0]}: no rows")
    origin = str(files[0].parent / files[0].name.partition("-")[0])
    return Encoded(origin, total, f"{label} {_fingerprint(files)}", read)


def _image_column(path: Path, schema: pa.Schema, label: str) -> str:
    if label not in schema.names or not pa.types.is_integer(schema.field(label).type):
        raise UserError(
            f"{path}: no column {label} of whole numbers; there are {', '.join(schema.names)}"
        )
    for name in ("img", "image"):
        kind = schema.field(name).type if name in schema.names else pa.null()
        if pa.types.is_struct(kind) and any(field.name == "bytes" for field in kind):
            return name
    raise UserError(f"{path}: no column of images (img or image: a struct of bytes and path)")


def parquet_class_names(path: Path, label: str) -> list[str]:
    """Names of the classes, from the metadata that the Hugging Face hub writes; else none.

    Raises:
        UserError: The file is not readable as Parquet.
    """
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not readable as Parquet: {error}") from error
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        return [str(name) for name in features[label]["names"]]
    except (KeyError, TypeError, ValueError, RecursionError):
        return []


def folder_classes(folder: Path) -> list[str]:
    """The classes that a folder of images has: the names of the folders in it, sorted.

    Raises:
        UserError: One of them is no text.
    """
    names = sorted(
        entry.name
        for entry in folder.iterdir()
        if entry.is_dir() and not entry.name.startswith(".")
    )
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise UserError(f"{folder}: the folder {name!r} has a name that is no text") from error
    return names


def has_images(folder: Path) -> bool:
    """Whether there are images in a folder itself."""
    return any(path.suffix.lower() in IMAGE_SUFFIXES for path in folder.glob("*"))


def folder_images(folder: Path, classes: Sequence[str]) -> Encoded:
    """The images of ``folder/<class>/``, in the order of the classes and of their names.

    Raises:
        UserError: A class has no images.
    """
    found: list[tuple[Path, int]] = []
    for label, name in enumerate(classes):
        files = sorted(
            path for path in (folder / name).glob("*") if path.suffix.lower() in IMAGE_SUFFIXES
        )
        if not files:
            raise UserError(
                f"{folder / name}: no images there; read are {', '.join(IMAGE_SUFFIXES)}"
            )
        found += [(path, label) for path in files]

    def read() -> Iterator[EncodedImage]:
        for path, label in found:
            try:
                yield EncodedImage(str(path), path.read_bytes(), label)
            except OSError as error:
                raise UserError(f"{path}: cannot be read: {error}") from error

    files = [path for path, _ in found]
    return Encoded(str(folder), len(found), _fingerprint(files), read)


def _fingerprint(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        found = path.stat()
        digest.update(os.fsencode(path.resolve()))
        digest.update(f" {found.st_size} {found.st_mtime_ns}\n".encode())
    return digest.hexdigest()
