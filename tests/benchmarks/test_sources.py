"""Reading, downloading, decoding and verifying datasets, with small generated files."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import multiprocessing
import os
import pickle
import struct
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from torchvision import datasets

from ngm_tune.benchmarks import decoding
from ngm_tune.benchmarks.cifar import CIFAR10
from ngm_tune.benchmarks.mnist import FASHION_MNIST, MNIST
from ngm_tune.benchmarks.sources import Source, load_images
from ngm_tune.errors import UserError

COUNTS = {"train": 30, "test": 20}
SMALL_MNIST = replace(MNIST, counts=COUNTS, checksums={})
COLOURED = Source(
    name="Tiny",
    folders=("tiny",),
    label="label",
    counts=COUNTS,
    shape=(3, 8, 8),
    classes=5,
    torchvision=None,
    command="fetch-tiny",
    same_size=False,
    balanced=False,
)


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("NGM_TUNE_DATA", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def pixels(count: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)


def write_idx(path: Path, array: np.ndarray) -> None:
    """Write the file format of MNIST: magic number, dimensions, bytes."""
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def write_mnist(folder: Path) -> None:
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for split, prefix in (("train", "train"), ("test", "t10k")):
        count = COUNTS[split]
        write_idx(raw / f"{prefix}-images-idx3-ubyte", pixels(count, (28, 28)))
        write_idx(raw / f"{prefix}-labels-idx1-ubyte", np.arange(count) % 10)


def encoded(image: np.ndarray, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(
        stream, format=kind, **({"lossless": True} if kind == "WEBP" else {})
    )
    return stream.getvalue()


def write_parquet(folder: Path, split: str, kind: str = "PNG", column: str = "img") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    images = [
        {"bytes": encoded(image, kind), "path": None} for image in pixels(COUNTS[split], (8, 8, 3))
    ]
    labels = np.arange(len(images)) % 5
    table = pa.table({column: images, "label": labels}).replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": {}}})}
    )
    half = len(images) // 2
    for part, rows in enumerate((table[:half], table[half:])):
        pq.write_table(rows, folder / f"{split}-0000{part}-of-00002.parquet", row_group_size=4)


def test_torchvision_layout(data: Path) -> None:
    write_mnist(data)
    images = load_images(SMALL_MNIST, "train")
    assert images.pixels.shape == (30, 1, 28, 28)
    assert np.array_equal(images.pixels[:, 0], pixels(30, (28, 28)))
    assert images.labels.tolist() == [n % 10 for n in range(30)]


@pytest.fixture
def cifar(data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small copy of torchvision's CIFAR-10: pickled flat images with MD5 sums."""
    folder = data / "cifar-10-batches-py"
    folder.mkdir()

    def written(name: str, content: dict[str, object]) -> tuple[str, str]:
        (folder / name).write_bytes(pickle.dumps(content))
        return name, hashlib.md5((folder / name).read_bytes()).hexdigest()

    def part(rows: slice, count: int) -> dict[str, object]:
        images = pixels(count, (3, 32, 32))[rows]
        return {"data": images.reshape(len(images), -1), "labels": [*np.arange(count)[rows] % 10]}

    train = [written(f"data_batch_{n + 1}", part(slice(6 * n, 6 * n + 6), 30)) for n in range(5)]
    name, md5 = written("batches.meta", {"label_names": [*"abcdefghij"]})
    monkeypatch.setattr(datasets.CIFAR10, "train_list", train)
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [written("test_batch", part(slice(20), 20))])
    meta = {"filename": name, "key": "label_names", "md5": md5}
    monkeypatch.setattr(datasets.CIFAR10, "meta", meta)
    monkeypatch.setattr(datasets.CIFAR10, "url", "http://127.0.0.1:9/")
    return folder


SMALL_CIFAR10 = replace(CIFAR10, counts=COUNTS)


@pytest.mark.usefixtures("cifar")
def test_torchvision_layout_of_cifar() -> None:
    for split, count in COUNTS.items():
        images = load_images(SMALL_CIFAR10, split)  # type: ignore[arg-type]
        assert np.array_equal(images.pixels, pixels(count, (3, 32, 32)))
        assert images.labels.tolist() == [n % 10 for n in range(count)]


def test_a_damaged_file_of_cifar_is_named(cifar: Path) -> None:
    damaged = cifar / "data_batch_3"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(UserError, match=rf"is damaged: the MD5 sum of {damaged} is not"):
        load_images(SMALL_CIFAR10, "train")


def test_a_missing_file_of_cifar_is_named(cifar: Path) -> None:
    (cifar / "data_batch_3").unlink()
    with pytest.raises(
        UserError, match=r", and no cifar-10-batches-py/data_batch_3, and the download"
    ):
        load_images(SMALL_CIFAR10, "train")


def test_torchvision_layout_of_fashion_mnist(data: Path) -> None:
    write_mnist(data)
    (data / "MNIST").rename(data / "FashionMNIST")
    images = load_images(replace(FASHION_MNIST, counts=COUNTS), "test")
    assert np.array_equal(images.pixels[:, 0], pixels(20, (28, 28)))


def test_the_checksum_of_images_does_not_depend_on_their_order(data: Path) -> None:
    write_mnist(data)
    images = load_images(SMALL_MNIST, "train")
    order = np.random.default_rng(1).permutation(30)
    shuffled = images._replace(pixels=images.pixels[order], labels=images.labels[order])
    assert shuffled.checksum() == images.checksum()
    swapped = images._replace(labels=images.labels[order])
    assert swapped.checksum() != images.checksum()
    referenced = replace(SMALL_MNIST, checksums={"train": images.checksum()})
    assert load_images(referenced, "train").labels.tolist() == images.labels.tolist()
    with pytest.raises(UserError, match="is damaged: the checksum of its train images and labels"):
        load_images(replace(SMALL_MNIST, checksums={"train": swapped.checksum()}), "train")


@pytest.mark.parametrize("place", ["tiny", "tiny/data", "tiny/plain_text"])
@pytest.mark.parametrize(("kind", "column"), [("PNG", "img"), ("WEBP", "image")])
def test_parquet_layout(data: Path, place: str, kind: str, column: str) -> None:
    write_parquet(data / place, "test", kind, column)
    images = load_images(COLOURED, "test")
    assert np.array_equal(images.pixels.transpose(0, 2, 3, 1), pixels(20, (8, 8, 3)))
    assert images.labels.tolist() == [n % 5 for n in range(20)]
    assert images.pixels.dtype == np.uint8


@pytest.mark.parametrize(
    "content",
    [
        b"<html>not here</html>",
        b"abc",
        b"\0\0\x08\x03\0\0\0\x1e",  # truncated
        b"\0\0\x08\x03" + b"\0\0\0\x02" * 3 + b"\0" * 7,
        b"\0\0\x0d\x01\0\0\0\x01" + b"\0" * 4,  # float values
    ],
)
def test_files_in_another_format_are_damaged(data: Path, content: bytes) -> None:
    write_mnist(data)
    damaged = data / "MNIST" / "raw" / "train-images-idx3-ubyte"
    damaged.write_bytes(content)
    with pytest.raises(UserError, match=rf"MNIST in .* is damaged: {damaged} is truncated"):
        load_images(SMALL_MNIST, "train")


def test_images_are_decoded_once(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_parquet(data / "tiny", "train")
    first = load_images(COLOURED, "train")
    monkeypatch.setattr(decoding, "_decode", lambda *_: pytest.fail("decoded again"))
    second = load_images(COLOURED, "train")
    assert isinstance(second.pixels, np.memmap)
    assert np.array_equal(first.pixels, second.pixels)


def test_changed_files_are_decoded_again(data: Path) -> None:
    write_parquet(data / "tiny", "train", "PNG")
    before = load_images(COLOURED, "train").pixels.copy()
    for path in sorted((data / "tiny").iterdir()):
        pq.write_table(pq.read_table(path)[::-1], path)
    half = len(before) // 2
    reversed_halves = np.concatenate([before[:half][::-1], before[half:][::-1]])
    assert np.array_equal(load_images(COLOURED, "train").pixels, reversed_halves)
    for path in (data / "tiny").iterdir():
        path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match="not readable as Parquet"):
        load_images(COLOURED, "train")


@pytest.mark.parametrize("harm", ["truncated", "gone", "of another shape"])
def test_damaged_cache_entries_are_decoded_again(data: Path, tmp_path: Path, harm: str) -> None:
    write_parquet(data / "tiny", "train")
    before = load_images(COLOURED, "train").pixels.copy()
    (place,) = (tmp_path / "cache" / "ngm-tune" / "decoded").iterdir()
    path = place / "pixels.npy"
    if harm == "truncated":
        path.write_bytes(path.read_bytes()[:-30])
    elif harm == "gone":
        path.unlink()
    else:
        np.save(path, before[:-1])
    abandoned, young = (place.with_name(f"{place.name}.{n * 32}") for n in "01")
    abandoned.mkdir()
    young.mkdir()
    os.utime(abandoned, (0, 0))
    assert np.array_equal(load_images(COLOURED, "train").pixels, before)
    assert set(place.parent.iterdir()) == {place, young}


def test_uniform_sizes_and_balanced_classes_are_verified(data: Path) -> None:
    uniform = replace(COLOURED, same_size=True, balanced=True)
    write_parquet(data / "tiny", "train")
    assert load_images(uniform, "train").pixels.shape == (30, 3, 8, 8)
    with pytest.raises(UserError, match=r"its size is \(8, 8\), expected \(4, 4\)"):
        load_images(replace(uniform, shape=(3, 4, 4)), "train")
    for path in (data / "tiny").iterdir():
        rows = pq.read_table(path)
        labels = pa.array([max(label, 1) for label in rows["label"].to_pylist()[:-1]] + [0])
        pq.write_table(rows.set_column(1, "label", labels), path)
    with pytest.raises(UserError, match=r"train classes have 2 to 12 images, expected 6 each"):
        load_images(uniform, "train")


def _load(_: int) -> int:
    return int(load_images(COLOURED, "train").pixels.sum())


@pytest.mark.slow
def test_several_processes_can_decode_the_same_images(data: Path, tmp_path: Path) -> None:
    write_parquet(data / "tiny", "train")
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        sums = pool.map(_load, range(8))
    assert set(sums) == {int(pixels(30, (8, 8, 3)).sum())}
    assert len(list((tmp_path / "cache" / "ngm-tune" / "decoded").iterdir())) == 1


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A local web server and the folder that it serves."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    handler.func.log_message = lambda *_: None  # type: ignore[attr-defined]
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", folder
        server.shutdown()


def test_torchvision_downloads_missing_files(
    data: Path, mirror: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test runs torchvision's download code against a local server."""
    url, folder = mirror
    write_mnist(folder)
    resources = []
    for path in sorted((folder / "MNIST" / "raw").iterdir()):
        packed = folder / f"{path.name}.gz"
        packed.write_bytes(gzip.compress(path.read_bytes()))
        resources.append((packed.name, hashlib.md5(packed.read_bytes()).hexdigest()))
    monkeypatch.setattr(datasets.MNIST, "mirrors", [url])
    monkeypatch.setattr(datasets.MNIST, "resources", resources)
    assert np.array_equal(load_images(SMALL_MNIST, "test").pixels[:, 0], pixels(20, (28, 28)))
    assert (data / "MNIST" / "raw" / "t10k-images-idx3-ubyte").is_file()


def test_a_failed_download_names_the_command(
    mirror: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.MNIST, "mirrors", [mirror[0]])
    with pytest.raises(UserError, match=r"the download failed: .*MNIST\('DIR', download=True"):
        load_images(SMALL_MNIST, "test")


def test_only_missing_files_are_named(
    data: Path, mirror: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.MNIST, "mirrors", [mirror[0]])
    write_mnist(data)
    (data / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(UserError) as error:
        load_images(SMALL_MNIST, "test")
    before, _, _ = str(error.value).partition(", and the download failed")
    assert before == (
        f"MNIST: {data} has no mnist/test-*.parquet or MNIST/test-*.parquet, and no "
        "MNIST/raw/t10k-labels-idx1-ubyte"
    )
    write_parquet(data / "tiny", "train")
    with pytest.raises(UserError, match=r"Tiny: .* has no tiny/test-\*\.parquet"):
        load_images(COLOURED, "test")


@pytest.mark.parametrize(("split", "change"), [("train", "count"), ("test", "labels")])
def test_incomplete_data_is_a_user_error(data: Path, split: str, change: str) -> None:
    write_parquet(data / "tiny", split)
    odd = (
        replace(COLOURED, counts={"train": 31, "test": 20})
        if change == "count"
        else replace(COLOURED, classes=6)
    )
    with pytest.raises(UserError, match=r"Tiny in .* expected"):
        load_images(odd, split)  # type: ignore[arg-type]


def test_missing_data_names_folder_command_and_option(data: Path) -> None:
    with pytest.raises(UserError) as error:
        load_images(COLOURED, "train")
    for part in ("Tiny", str(data), "tiny", "fetch-tiny", "--data", "NGM_TUNE_DATA"):
        assert part in str(error.value)


def test_columns_and_images_of_parquet_files_are_verified(data: Path) -> None:
    (data / "tiny").mkdir()
    path = data / "tiny" / "train-0.parquet"
    pq.write_table(pa.table({"label": [1]}), path)
    with pytest.raises(UserError, match=r"train-0\.parquet: no column of images"):
        load_images(COLOURED, "train")
    pq.write_table(pa.table({"img": [{"bytes": b"x", "path": None}]}), path)
    with pytest.raises(
        UserError, match=r"train-0\.parquet: no column label of integers; its columns are img"
    ):
        load_images(COLOURED, "train")
    pq.write_table(pa.table({"img": [{"bytes": b"x", "path": None}], "label": [0]}), path)
    with pytest.raises(UserError, match=r"train-0\.parquet: image 0 cannot be decoded"):
        load_images(COLOURED, "train")
