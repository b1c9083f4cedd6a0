"""Decoding of images into arrays, with a cache of memory-mapped files.

The cache is the folder ``decoded`` in the user's cache folder, on Linux
``~/.cache/ngm-tune/decoded``. The name of a cache entry changes if the image files change.
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

from ngm_tune.benchmarks.encoded import CHUNK_SIZE, Encoded, EncodedImage
from ngm_tune.errors import UserError
from ngm_tune.paths import cache_folder

_FORMATS_OF_16_BITS = ("PNG", "PPM")
"""Formats with 16 bits per pixel that Pillow may open with 32 bits."""

_VERSION = 4
"""Version of the decoding; a change that affects pixels or accepted images increases it."""

_ABANDONED = 24 * 3600.0
"""Age in seconds at which an unfinished cache entry is deleted: its process was killed."""


class Images(NamedTuple):
    """A set of labelled images.

    Attributes:
        pixels: Shape (N, channels, height, width), uint8; may be a read-only memory map.
        labels: Class indices, shape (N,), int64.
        origin: The folder or file of the images, for messages.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    origin: str

    def checksum(self) -> str:
        """Return the SHA-256 checksum of the images in hexadecimal, independent of their order."""
        labelled = zip(self.pixels, self.labels.astype("<i8"), strict=True)
        each = [hashlib.sha256(image.tobytes() + label.tobytes()) for image, label in labelled]
        return hashlib.sha256(b"".join(sorted(one.digest() for one in each))).hexdigest()


def decode_images(encoded: Encoded, shape: tuple[int, int, int], *, exact: bool = False) -> Images:
    """Decode images, or map the result of an earlier call into memory.

    Several processes may decode the same images at once; the first one to finish fills the cache.
    Damaged cache entries are decoded again.

    Args:
        encoded: Images of any size and mode.
        shape: Channels (1 or 3), height and width of the result. Images are scaled to cover it and
            cropped at the centre.
        exact: Whether to reject images of another height or width.

    Raises:
        UserError: An image cannot be decoded, or the cache cannot be written.
    """
    key = f"{_VERSION} {shape} {exact} {encoded.fingerprint}"
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    entry = cache_folder() / "decoded" / f"{Path(encoded.origin).name}-{digest}"
    images = _load_cached(entry, encoded, shape)
    if images is not None:
        return images
    draft, damaged = (entry.with_name(f"{entry.name}.{uuid4().hex}") for _ in range(2))
    try:
        with suppress(FileNotFoundError):
            entry.rename(damaged)
        draft.mkdir(parents=True)
        _decode_into(draft, encoded, shape, exact=exact)
        draft.rename(entry)
    except OSError as error:
        if not entry.is_dir():  # otherwise another process finished first
            raise UserError(
                f"{entry}: cannot be written: {error}; set XDG_CACHE_HOME to another folder"
            ) from error
    finally:
        _remove_folders(draft, damaged, *_find_abandoned(entry))
    images = _load_cached(entry, encoded, shape)
    if images is None:
        raise UserError(f"{entry}: the decoded images cannot be read back")
    return images


def _load_cached(entry: Path, encoded: Encoded, shape: tuple[int, int, int]) -> Images | None:
    """Return cached images; None if they are missing or damaged."""
    try:
        pixels = np.load(entry / "pixels.npy", mmap_mode="r")
        labels = np.load(entry / "labels.npy")
    except (OSError, ValueError, EOFError):
        return None
    complete = pixels.shape == (encoded.total, *shape) and labels.shape == (encoded.total,)
    return Images(pixels, labels, encoded.origin) if complete else None


def _find_abandoned(entry: Path) -> Iterator[Path]:
    """Yield unfinished cache entries of killed processes."""
    for draft in entry.parent.glob(f"{entry.name}.*"):
        with suppress(FileNotFoundError):
            if time.time() - draft.stat().st_mtime > _ABANDONED:
                yield draft


def _remove_folders(*folders: Path) -> None:
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
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # PIL releases the GIL
        while chunk := list(islice(images, CHUNK_SIZE)):
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
        pil_image: Image.Image = Image.open(io.BytesIO(image.content))
        if exact and pil_image.size != (width, height):
            raise ValueError(f"its size is {pil_image.size}, expected {(width, height)}")
        pil_image.draft("RGB", (2 * width, 2 * height))  # scales large JPEGs during decoding
        ImageOps.exif_transpose(pil_image, in_place=True)  # cameras store how they were held
        if pil_image.mode == "F" or (
            pil_image.mode == "I" and pil_image.format not in _FORMATS_OF_16_BITS
        ):
            raise ValueError("the range of its pixels is unknown; store 8 or 16 bits per pixel")
        if pil_image.mode.startswith("I"):  # 16 bits: a conversion would clip at 255
            pil_image = Image.fromarray(
                (np.asarray(pil_image).astype(np.uint16) >> 8).astype(np.uint8)
            )
        if pil_image.has_transparency_data:  # composited on white
            pil_image = pil_image.convert("RGBA")
            white = Image.new("RGBA", pil_image.size, (255, 255, 255, 255))
            pil_image = Image.alpha_composite(white, pil_image)
        converted = pil_image.convert("L" if channels == 1 else "RGB")
        fitted = (
            converted
            if converted.size == (width, height)
            else ImageOps.fit(converted, (width, height))
        )
    except UnidentifiedImageError as error:
        raise UserError(
            f"{image.name} cannot be decoded as an image: its format is unknown"
        ) from error
    except Exception as error:  # formats differ in the exceptions for damaged files
        raise UserError(f"{image.name} cannot be decoded as an image: {error}") from error
    return np.asarray(fitted).reshape(height, width, channels).transpose(2, 0, 1)
