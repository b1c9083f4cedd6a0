"""Encoded images in Parquet files of the Hugging Face hub, or in one folder per class."""

from __future__ import annotations

import hashlib
import json
import mimetypes
import os
import re
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from ngm_tune.errors import UserError

IMAGE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".webp", ".avif", ".bmp", ".gif"),
    *(".tif", ".tiff", ".pgm", ".ppm", ".pbm"),
)
_MOST_CLASSES = 100_000
CHUNK_SIZE = 256
"""Number of encoded images in memory at once."""


class EncodedImage(NamedTuple):
    """An encoded image.

    Attributes:
        name: Name in messages.
        content: Bytes of an image file.
        label: Class index.
    """

    name: str
    content: bytes
    label: int


class Encoded(NamedTuple):
    """A set of encoded images.

    Attributes:
        origin: The folder or file of the images.
        total: Number of images.
        fingerprint: A digest that changes with the files.
        read: Iterates over the images.
    """

    origin: str
    total: int
    fingerprint: str
    read: Callable[[], Iterator[EncodedImage]]


def list_parquet_images(files: Sequence[Path], label: str) -> Encoded:
    """List the images of Parquet files, which are read lazily.

    Args:
        files: Files with a column ``img`` or ``image``, a struct of ``bytes`` and ``path``.
        label: The column of class indices.

    Raises:
        UserError: A file cannot be read, lacks a column, or all files are empty.
    """
    readers = []
    for path in files:
        try:
            readers.append(pq.ParquetFile(path))
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{path}: not readable as Parquet: {error}") from error
    columns = [
        _image_column(path, reader.schema_arrow, label)
        for path, reader in zip(files, readers, strict=True)
    ]

    def read() -> Iterator[EncodedImage]:
        for path, column in zip(files, columns, strict=True):
            try:
                number = 0
                for batch in pq.ParquetFile(path).iter_batches(CHUNK_SIZE, columns=[column, label]):
                    contents = batch[column].field("bytes").to_pylist()
                    classes = batch[label].to_pylist()
                    for content, of_class in zip(contents, classes, strict=True):
                        name = f"{path}: image {number}"
                        if content is None or of_class is None:
                            raise UserError(f"{name} has no bytes or no {label}")
                        if not 0 <= of_class < _MOST_CLASSES:
                            raise UserError(
                                f"{name}: {label} = {of_class}; must be a class index from 0 to "
                                f"{_MOST_CLASSES - 1}"
                            )
                        yield EncodedImage(name, content, of_class)
                        number += 1
            except (pa.ArrowException, OSError) as error:
                raise UserError(f"{path}: not readable as Parquet: {error}") from error

    total = sum(reader.metadata.num_rows for reader in readers)
    if not total:
        raise UserError(f"{files[0]}: no rows")
    origin = str(files[0].parent / files[0].name.partition("-")[0])
    return Encoded(origin, total, f"{label} {_fingerprint(files)}", read)


def _image_column(path: Path, schema: pa.Schema, label: str) -> str:
    if label not in schema.names or not pa.types.is_integer(schema.field(label).type):
        raise UserError(
            f"{path}: no column {label} of integers; its columns are {', '.join(schema.names)}"
        )
    for name in ("img", "image"):
        kind = schema.field(name).type if name in schema.names else pa.null()
        if pa.types.is_struct(kind) and any(field.name == "bytes" for field in kind):
            return name
    raise UserError(f"{path}: no column of images (img or image: a struct of bytes and path)")


def parquet_class_names(path: Path, label: str) -> list[str]:
    """Return the class names in the Hugging Face metadata of a Parquet file.

    Returns:
        Names in the order of the class indices; empty if the file has no such metadata.

    Raises:
        UserError: The file cannot be read as Parquet.
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


def folder_classes(folder: Path) -> dict[str, Path]:
    """Return the classes of a folder of images: its subfolders by name, in natural order.

    Names are in Unicode's composed form (NFC), as they are typed; file systems may decompose them.
    Hidden folders and the ``__MACOSX`` of archives are no classes.

    Raises:
        UserError: A name is not valid text, or two names differ in their Unicode form only.
    """
    classes: dict[str, Path] = {}
    for entry in sorted(folder.iterdir(), key=lambda entry: _natural(entry.name)):
        if not entry.is_dir() or entry.name.startswith(".") or entry.name == "__MACOSX":
            continue
        try:
            entry.name.encode()
        except UnicodeEncodeError as error:
            raise UserError(
                f"{folder}: the name of the folder {entry.name!r} is not valid text"
            ) from error
        name = unicodedata.normalize("NFC", entry.name)
        if name in classes:
            raise UserError(f"{folder}: two classes have the name {name}")
        classes[name] = entry
    return classes


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Return a key that sorts numbers by value: class2 before class10."""
    parts = re.split(r"(\d+)", name, flags=re.ASCII)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts if part]


def _images_in(folder: Path) -> tuple[list[Path], Counter[str]]:
    """Return the images in a folder and its subfolders, and the suffixes of unsupported ones."""
    images, unsupported = [], Counter[str]()
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_dir() or any(part.startswith(".") or part == "__MACOSX" for part in parts):
            continue
        suffix = path.suffix.lower()
        if suffix in IMAGE_SUFFIXES:
            images.append(path)
        elif (mimetypes.guess_type(f"x{suffix}")[0] or "").startswith("image/"):
            unsupported[suffix] += 1
    return images, unsupported


def has_images(folder: Path) -> bool:
    """Whether a folder directly contains images."""
    return any(
        path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
        for path in folder.glob("*")
    )


def list_folder_images(folder: Path, classes: Sequence[str]) -> Encoded:
    """List the images of one folder per class, which are read lazily, by class and path.

    A warning counts images in formats that are not supported.

    Args:
        folder: The folder of the classes.
        classes: Names of classes, as of :func:`folder_classes`.

    Raises:
        UserError: A class has no images.
    """
    folders = folder_classes(folder)
    labelled: list[tuple[Path, int]] = []
    unsupported = Counter[str]()
    for label, name in enumerate(classes):
        files, others = _images_in(folders.get(name, folder / name))
        if not files:
            raise UserError(
                f"{folder / name}: no images; supported are {', '.join(IMAGE_SUFFIXES)}"
            )
        labelled += [(path, label) for path in files]
        unsupported += others
    if unsupported:
        counts = ", ".join(f"{count} {suffix}" for suffix, count in sorted(unsupported.items()))
        warnings.warn(f"{folder}: images in other formats are left out: {counts}", stacklevel=2)

    def read() -> Iterator[EncodedImage]:
        for path, label in labelled:
            try:
                yield EncodedImage(str(path), path.read_bytes(), label)
            except OSError as error:
                raise UserError(f"{path}: cannot be read: {error}") from error

    files = [path for path, _ in labelled]
    return Encoded(str(folder), len(labelled), _fingerprint(files), read)


def _fingerprint(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        status = path.stat()
        digest.update(os.fsencode(path.resolve()))
        digest.update(f" {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
