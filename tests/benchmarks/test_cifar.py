"""The CIFAR benchmarks: tasks, augmentation, and the real data if it is present."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from ngm_tune.benchmarks import get_benchmark
from ngm_tune.benchmarks.augmentation import crop_and_flip
from ngm_tune.benchmarks.cifar import SUPERCLASSES, split_by_domain
from ngm_tune.benchmarks.decoding import Images


def test_superclasses_contain_every_fine_class_once() -> None:
    assert len(SUPERCLASSES) == 20
    assert sorted(np.ravel(SUPERCLASSES)) == list(range(100))


def test_superclasses_match_the_real_data() -> None:
    folder = os.environ.get("NGM_TUNE_DATA")
    files = sorted(Path(folder).glob("cifar100/test-*.parquet")) if folder else []
    if not files:
        pytest.skip("NGM_TUNE_DATA names no folder with the Parquet files of cifar100")
    labels = pq.read_table(files[0], columns=["fine_label", "coarse_label"])
    pairs = set(zip(*(labels[name].to_pylist() for name in labels.column_names), strict=True))
    assert pairs == {(c, n) for n, classes in enumerate(SUPERCLASSES) for c in classes}


def test_a_domain_task_has_one_fine_class_of_every_superclass() -> None:
    labels = np.arange(200) % 100
    pixels = labels.astype(np.uint8).reshape(-1, 1, 1, 1)
    split = split_by_domain(Images(pixels, labels, "here"))
    assert split.sizes == (40, 40, 40)
    fine = split.inputs.flatten().long().split(split.sizes)
    for task, (classes, superclasses) in enumerate(
        zip(fine, split.labels.split(split.sizes), strict=True)
    ):
        assert sorted(set(superclasses.tolist())) == list(range(20))
        for number, superclass in zip(classes.tolist(), superclasses.tolist(), strict=True):
            assert number == SUPERCLASSES[superclass][task]


def test_each_image_has_its_own_crop_and_flip() -> None:
    generator = torch.Generator().manual_seed(0)
    height, width = 8, 6
    base = torch.arange(1, height * width + 1, dtype=torch.uint8).view(1, 1, height, width)
    images = base.repeat(300, 2, 1, 1)
    changed = crop_and_flip(images, generator)
    assert changed.shape == images.shape
    assert changed.dtype == torch.uint8
    padded = torch.nn.functional.pad(images[0], (4, 4, 4, 4))
    windows = {
        (top, left, flip): (window.flip(2) if flip else window)
        for top in range(9)
        for left in range(9)
        for flip in (False, True)
        for window in [padded[:, top : top + height, left : left + width]]
    }
    used = set()
    for image in changed:
        match = [place for place, window in windows.items() if torch.equal(window, image)]
        assert match
        used.add(match[0])
    # Of 162 equally likely outcomes, 300 draws hit 162 (1 - (161/162)^300) = 137 on average.
    assert len(used) > 110


def test_the_same_generator_gives_the_same_batch() -> None:
    images = torch.randint(256, (16, 3, 32, 32), dtype=torch.uint8)
    twice = [crop_and_flip(images, torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*twice)


@pytest.mark.parametrize(
    ("name", "tasks", "per_task"),
    [
        ("split-cifar10", 5, 10_000),
        ("split-cifar100-10", 10, 5_000),
        ("split-cifar100-20", 20, 2_500),
        ("domain-cifar100", 3, 10_000),
    ],
)
def test_real_cifar(
    name: str, tasks: int, per_task: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = os.environ.get("NGM_TUNE_DATA")
    if folder is None or not (Path(folder) / name.split("-")[1]).is_dir():
        pytest.skip("NGM_TUNE_DATA names no folder with cifar10 and cifar100")
    benchmark = get_benchmark(name)
    data = benchmark.load()
    assert data.train.joined(data.validation).sizes == (per_task,) * tasks
    assert data.test.sizes == (per_task // 5,) * tasks
    pixels = benchmark.prepare(data.train.inputs[::50])
    assert pixels.mean().abs().item() < 0.1
    assert abs(pixels.std().item() - 1.0) < 0.1
    for labels in data.test.labels.split(data.test.sizes):
        expected = 20 if benchmark.kind == "domain-incremental" else benchmark.classes // tasks
        assert len(set(labels.tolist())) == expected
