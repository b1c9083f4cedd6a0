"""Arrangements of the data: drawn validation splits, class orders and pixel permutations."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from ngm_tune.benchmarks import TaskData, TaskSplit, get_benchmark
from ngm_tune.benchmarks.arrangement import Arrangement
from ngm_tune.benchmarks.pool import DataPool

SPLIT, ROTATED = (get_benchmark(name).load() for name in ("split-digits", "rotated-digits"))
DRAWN = Arrangement(split_seed=1, order_seed=2)


def images(split: TaskSplit) -> list[bytes]:
    """Return the bytes of each example's inputs, in order."""
    return [image.numpy().tobytes() for image in split.materialized().inputs]


def original_labels(split: TaskSplit) -> list[int]:
    """Return the label that each example of an arranged Split-Digits has in the benchmark."""
    everything = [*zip(images(SPLIT.train), SPLIT.train.labels.tolist(), strict=True)]
    for part in (SPLIT.validation, SPLIT.test):
        everything += zip(images(part), part.labels.tolist(), strict=True)
    label_of = dict(everything)
    return [label_of[image] for image in images(split)]


@pytest.mark.parametrize("data", [SPLIT, ROTATED])
def test_the_default_arrangement_is_that_of_the_benchmark(data: TaskData) -> None:
    pool = DataPool.of(data)
    train, validation = pool.search_splits(Arrangement())
    for arranged, own in ((train, data.train), (validation, data.validation)):
        assert images(arranged) == images(own)
        assert torch.equal(arranged.labels, own.labels)
        assert arranged.sizes == own.sizes
    everything, test = pool.confirm_splits(Arrangement())
    assert torch.equal(everything.inputs, data.train.joined(data.validation).inputs)
    assert everything.rows is None  # batches are drawn without an index
    assert test is pool.test


def test_a_drawn_split_has_other_images_and_as_many_of_each_class() -> None:
    pool = DataPool.of(SPLIT)
    train, validation = pool.search_splits(Arrangement(split_seed=1))
    assert sorted(images(train) + images(validation)) == sorted(images(pool.train))
    assert set(images(validation)) != set(images(SPLIT.validation))
    assert Counter(validation.labels.tolist()) == Counter(SPLIT.validation.labels.tolist())
    assert validation.sizes == SPLIT.validation.sizes
    again = pool.search_splits(Arrangement(split_seed=1))[1]
    other = pool.search_splits(Arrangement(split_seed=2))[1]
    assert images(again) == images(validation) != images(other)


def test_an_image_is_in_the_same_split_in_every_domain() -> None:
    pool = DataPool.of(ROTATED)
    validation = pool.search_splits(Arrangement(split_seed=1))[1]
    assert validation.rows is not None
    n_images = pool.train.sizes[0]
    by_task = [rows % n_images for rows in validation.rows.split(validation.sizes)]
    assert all(torch.equal(rows, by_task[0]) for rows in by_task)


def test_a_drawn_class_order_moves_whole_classes_between_tasks() -> None:
    train, validation = DataPool.of(SPLIT).search_splits(DRAWN)
    test = DataPool.of(SPLIT).confirm_splits(DRAWN)[1]
    classes = {}
    for split in (train, validation, test):
        assert sum(split.sizes) == len(split.labels)
        pairs = set(zip(split.labels.tolist(), original_labels(split), strict=True))
        assert len(pairs) == 10  # each new label stands for one class
        classes[len(split.labels)] = sorted(pairs)
        assert torch.equal(split.labels // 2, split.task_of_examples())
    first = next(iter(classes.values()))
    assert all(pairs == first for pairs in classes.values())  # the same order in every split
    assert [original for _, original in first] != list(range(10))


def test_training_and_test_images_are_never_exchanged() -> None:
    pool = DataPool.of(SPLIT)
    train, validation = pool.search_splits(DRAWN)
    everything, test = pool.confirm_splits(DRAWN)
    assert sorted(images(everything)) == sorted(images(train) + images(validation))
    assert sorted(images(test)) == sorted(images(SPLIT.test))
    assert not set(images(train)) & set(images(validation))
    assert not set(images(everything)) & set(images(test))


def test_pixel_permutations_are_drawn_for_all_tasks_but_the_first() -> None:
    originals = ROTATED.train.inputs[: ROTATED.train.sizes[0]]
    order = torch.from_numpy(np.random.default_rng(7).permutation(64))
    tasks = [originals, originals.flatten(1)[:, order].view(originals.shape)]
    labels = ROTATED.train.labels[: len(originals)].repeat(2)
    split = TaskSplit(torch.cat(tasks), labels, (len(originals),) * 2)
    pool = DataPool.of(TaskData(split, split, split), permutes_pixels=True)
    own = pool.search_splits(Arrangement())[0]
    assert images(own) == images(split)
    drawn = Arrangement(order_seed=2)
    first, second = pool.search_splits(drawn)[0].materialized().inputs.split(split.sizes)
    assert torch.equal(first, originals)
    assert not torch.equal(second, tasks[1])
    assert torch.equal(second.flatten(1).sort().values, originals.flatten(1).sort().values)
    moved = (second.flatten(1)[0] != first.flatten(1)[0]).nonzero()
    assert len(moved)
    test = pool.confirm_splits(drawn)[1].materialized().inputs
    assert torch.equal(test[len(originals) :], second)  # the same permutation in every split


def test_arrangements_share_the_images_of_the_pool() -> None:
    pool = DataPool.from_arrays(DataPool.of(SPLIT).arrays())
    for splits in (pool.search_splits(DRAWN), pool.confirm_splits(DRAWN)):
        for split in splits:
            own = {pool.train.inputs.data_ptr(), pool.test.inputs.data_ptr()}
            assert split.inputs.data_ptr() in own


def test_a_capped_split_keeps_its_arrangement() -> None:
    validation = DataPool.of(SPLIT).search_splits(DRAWN)[1]
    capped = validation.capped(3)
    assert capped.sizes == (3,) * 5
    assert set(images(capped)) < set(images(validation))
    assert torch.equal(capped.labels // 2, capped.task_of_examples())


def test_training_examples_are_the_inputs_of_their_rows() -> None:
    train = DataPool.of(SPLIT).search_splits(DRAWN)[0]
    batch = torch.tensor([0, 5, len(train.labels) - 1])
    expected = train.materialized().inputs[batch]
    assert torch.equal(train.inputs_of(batch), expected)
    without = replace(train, rows=None)
    assert not torch.equal(without.inputs_of(batch), expected)
