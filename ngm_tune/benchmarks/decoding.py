"""Encoded images to arrays: decoded once, and kept as memory-mapped files.

Images are read from Parquet as the Hugging Face hub serves it, or from folders with one folder per
class. What was decoded is kept in ``~/.cache/ngm-tune/decoded`` (below ``XDG_CACHE_HOME``, where
that is set) under a name that changes with the files it came from.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from ngm_tune.benchmarks.encoded import Encoded, EncodedImage
from ngm_tune.benchmarks.sources import cache_folder
from ngm_tune.errors import UserError

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
