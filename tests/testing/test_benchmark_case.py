"""The conformance suite of benchmarks rejects benchmarks that break its rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ngm_tune.benchmarks import Benchmark, TaskData, TaskSplit, get_benchmark
from ngm_tune.testing import BenchmarkTestCase

DIGITS = get_benchmark("split-digits")
DATA = DIGITS.load()


def changed(**changes: TaskSplit) -> Benchmark:
    """Split-Digits with other splits."""
    return replace(DIGITS, load=lambda: replace(DATA, **changes))


def with_labels(change: Callable[[Tensor], Tensor]) -> Benchmark:
    test = DATA.test
    return changed(test=TaskSplit(test.inputs, change(test.labels), test.sizes))


def with_inputs(change: Callable[[Tensor], Tensor]) -> Benchmark:
    test = DATA.test
    return changed(test=TaskSplit(change(test.inputs), test.labels, test.sizes))


def noisy() -> TaskData:
    test = DATA.test
    return replace(DATA, test=TaskSplit(torch.rand_like(test.inputs), test.labels, test.sizes))


def constant_network() -> nn.Module:
    network = nn.Linear(64, 10, bias=False)
    nn.init.ones_(network.weight)
    return network


def draws_by_itself(images: Tensor, generator: torch.Generator) -> Tensor:
    return images + torch.rand(images.shape)


@pytest.mark.parametrize(
    ("benchmark", "check", "message"),
    [
        (replace(DIGITS, tasks=4), "test_splits_have_the_sizes_they_declare", "has 5 tasks, exp"),
        (
            changed(test=TaskSplit(DATA.test.inputs, DATA.test.labels, (450, 0, 0, 0, 0))),
            "test_splits_have_the_sizes_they_declare",
            "test has an empty task",
        ),
        (
            changed(test=TaskSplit(DATA.test.inputs, DATA.test.labels[:-1], DATA.test.sizes)),
            "test_splits_have_the_sizes_they_declare",
            "450 inputs and 449 labels",
        ),
        (with_labels(lambda y: y + 1), "test_labels_are_class_indices", "from 1 to 10, 10 of them"),
        (with_labels(lambda y: y.int()), "test_labels_are_class_indices", "labels are torch.int32"),
        (
            with_labels(lambda y: y.flip(0)),
            "test_tasks_have_the_classes_of",
            "other classes in test",
        ),
        (
            replace(DIGITS, kind="domain-incremental"),
            "test_tasks_have_the_classes_of",
            "domain-incremental tasks have different classes",
        ),
        (
            replace(get_benchmark("rotated-digits"), kind="class-incremental"),
            "test_tasks_have_the_classes_of",
            "class-incremental tasks share classes",
        ),
        (changed(test=DATA.train), "test_splits_share_no_examples", "100.0% of the test examples"),
        (replace(DIGITS, load=noisy), "test_loading_twice_gives_the_same", "gives different data"),
        (with_inputs(lambda x: x + 3), "test_prepared_inputs_are_normalised", "have mean 3"),
        (with_inputs(lambda x: x * 9), "test_prepared_inputs_are_normalised", "deviation 9"),
        (with_inputs(lambda x: x.double()), "test_prepared_inputs_are_normalised", "torch.float64"),
        (
            replace(DIGITS, classes=20),
            "test_the_network_fits_the_data",
            r"returns shape \(4, 10\) for 4 examples, expected \(4, 20\)",
        ),
        (
            replace(DIGITS, build_model=constant_network),
            "test_the_seed_determines_the_initial_weights",
            "two networks with different seeds agree",
        ),
        (
            replace(DIGITS, augment=draws_by_itself),
            "test_augmentation_keeps_shape_and_follows",
            "randomness besides its generator",
        ),
        (replace(DIGITS, tasks=1), "test_is_described", "a transition needs two tasks"),
    ],
)
def test_a_broken_benchmark_fails(benchmark: Benchmark, check: str, message: str) -> None:
    class Case(BenchmarkTestCase):
        pass

    Case.benchmark = benchmark
    (name,) = (name for name in dir(Case) if name.startswith(check))
    arguments: list[Any] = [] if name in _WITHOUT_DATA else [benchmark.load()]
    with pytest.raises(AssertionError, match=message):
        getattr(Case(), name)(*arguments)


_WITHOUT_DATA = ("test_is_described", "test_the_seed_determines_the_initial_weights")
