"""Cutting datasets into tasks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ngm_tune.benchmarks import TaskSplit, get_benchmark, mnist
from ngm_tune.benchmarks.decoding import Images
from ngm_tune.benchmarks.tasks import split_by_class, split_off_validation, stack_domains

PROTOCOL = {
    "split-mnist": ("class-incremental", 5, 10, 128, 200, False),
    "permuted-mnist": ("domain-incremental", 3, 10, 128, 200, False),
    "rotated-mnist": ("domain-incremental", 3, 10, 128, 400, False),
    "split-cifar10": ("class-incremental", 5, 10, 256, 400, True),
    "domain-cifar100": ("domain-incremental", 3, 20, 256, 400, True),
    "split-mini-imagenet": ("class-incremental", 5, 50, 256, 800, True),
}
"""Kind, tasks, classes, batch, iterations per task, augmentation (arXiv 2507.14056, section 3)."""


@pytest.mark.parametrize("name", PROTOCOL)
def test_benchmarks_follow_the_protocol_of_the_paper(name: str) -> None:
    b = get_benchmark(name)
    augmented = b.augment is not None
    protocol = (b.kind, b.tasks, b.classes, b.batch_size, b.iterations_per_task, augmented)
    assert protocol == PROTOCOL[name]


def test_rotation_angles_are_those_of_the_paper() -> None:
    assert mnist.ANGLES == (0.0, 80.0, 160.0)


def images(count: int = 40, classes: int = 10) -> Images:
    """Return images whose pixels equal their index."""
    pixels = np.arange(count, dtype=np.uint8).reshape(-1, 1, 1, 1).repeat(4, axis=3)
    return Images(pixels, np.arange(count) * 7 % classes, "here")


def test_by_class_takes_classes_in_order_and_keeps_every_example() -> None:
    split = split_by_class(images(), tasks=5)
    assert split.sizes == (8, 8, 8, 8, 8)
    for task, labels in enumerate(split.labels.split(split.sizes)):
        assert set(labels.tolist()) == {2 * task, 2 * task + 1}
    assert sorted(split.inputs[:, 0, 0, 0].tolist()) == list(range(40))
    numbers = split.inputs[:, 0, 0, 0].long()
    assert torch.equal(split.labels, numbers * 7 % 10)


def test_by_class_leaves_out_remaining_classes() -> None:
    split = split_by_class(images(), tasks=3)
    assert set(split.labels.tolist()) == set(range(9))
    assert split.sizes == (12, 12, 12)


def test_in_tasks_concatenates_the_domains() -> None:
    original = images(4)
    split = stack_domains([original.pixels, 255 - original.pixels], original.labels)
    assert split.sizes == (4, 4)
    assert split.inputs[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 255, 254, 253, 252]
    assert split.labels.tolist() == [*original.labels, *original.labels]


def test_validation_is_a_stratified_tenth_and_always_the_same() -> None:
    train, validation = split_off_validation(images(200))
    assert len(validation.labels) == 20
    assert np.bincount(validation.labels).tolist() == [2] * 10
    assert not set(train.pixels[:, 0, 0, 0]) & set(validation.pixels[:, 0, 0, 0])
    again = split_off_validation(images(200))[1]
    assert np.array_equal(again.pixels, validation.pixels)


def test_joined_splits_stay_ordered_by_task() -> None:
    a = TaskSplit(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0, 0, 1]), (2, 1))
    b = TaskSplit(torch.tensor([4.0, 5.0]), torch.tensor([0, 1]), (1, 1))
    both = a.joined(b)
    assert both.inputs.tolist() == [1.0, 2.0, 4.0, 3.0, 5.0]
    assert both.labels.tolist() == [0, 0, 0, 1, 1]
    assert both.sizes == (3, 2)


def test_prepare_normalises_pixels_and_returns_floats_unchanged() -> None:
    mnist, digits = get_benchmark("split-mnist"), get_benchmark("split-digits")
    white = torch.full((2, 1, 28, 28), 255, dtype=torch.uint8)
    torch.testing.assert_close(
        mnist.prepare(white), torch.full((2, 1, 28, 28), (1 - 0.1307) / 0.3081)
    )
    floats = torch.randn(2, 1, 8, 8)
    assert digits.prepare(floats) is floats
    split = TaskSplit(white, torch.tensor([0, 1]), (1, 1))
    assert torch.equal(split.prepared(mnist.prepare).inputs, mnist.prepare(white))


def test_a_split_from_arrays_shares_their_memory() -> None:
    split = split_by_class(images(), tasks=5)
    arrays = split.arrays()
    arrays[0].flags.writeable = False
    again = TaskSplit.from_arrays(arrays)
    assert torch.equal(again.inputs, split.inputs)
    assert again.inputs.data_ptr() == split.inputs.data_ptr()


def test_the_checksum_of_data_covers_all_examples_and_their_order() -> None:
    data = get_benchmark("split-digits").load()
    checksum = data.checksum()
    assert get_benchmark("split-digits").load().checksum() == checksum
    swapped = torch.arange(len(data.test.labels))
    swapped[:2] = torch.tensor([1, 0])
    others = [
        TaskSplit(data.test.inputs[swapped], data.test.labels[swapped], data.test.sizes),
        TaskSplit(data.test.inputs, data.test.labels.flip(0), data.test.sizes),
        TaskSplit(data.test.inputs, data.test.labels, data.test.sizes[::-1]),
        TaskSplit(data.test.inputs + 1e-6, data.test.labels, data.test.sizes),
    ]
    assert len({checksum, *(replace(data, test=other).checksum() for other in others)}) == 5


def test_capped_limits_the_examples_of_each_task() -> None:
    labels = torch.tensor([0] * 10 + [1] * 10 + [2] * 3)
    split = TaskSplit(torch.arange(23).unsqueeze(1), labels, (20, 3))
    capped = split.capped(4)
    assert capped.sizes == (4, 3)
    assert capped.inputs_of(torch.arange(7)).flatten().tolist() == [0, 5, 10, 15, 20, 21, 22]
    assert capped.labels.tolist() == [0, 0, 1, 1, 2, 2, 2]  # spread over the classes
    assert split.capped(100).inputs_of(torch.arange(23)).flatten().tolist() == list(range(23))
