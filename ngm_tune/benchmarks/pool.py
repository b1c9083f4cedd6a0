"""The data of a benchmark, and the splits that an arrangement makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ngm_tune.benchmarks.arrangement import Arrangement
from ngm_tune.benchmarks.tasks import TaskData, TaskSplit


@dataclass(frozen=True)
class DataPool:
    """The data of a benchmark, which every arrangement shares.

    Attributes:
        train: Training and validation examples of each task. In each task, those of the benchmark's
            own training split come first.
        train_sizes: Number of examples of the benchmark's own training split in each task.
        test: Test examples.
        permutes_pixels: Whether the tasks differ in the order of the pixels only, and the first
            task has the original images.
    """

    train: TaskSplit
    train_sizes: tuple[int, ...]
    test: TaskSplit
    permutes_pixels: bool = False

    @classmethod
    def of(cls, data: TaskData, *, permutes_pixels: bool = False) -> DataPool:
        """Return the pool of a benchmark's data."""
        train = data.train.joined(data.validation)
        return cls(train, data.train.sizes, data.test, permutes_pixels)

    def arrays(self) -> dict[str, Any]:
        """Return the pool as arrays and plain values; Ray shares arrays between processes."""
        return {
            "train": self.train.arrays(),
            "train_sizes": self.train_sizes,
            "test": self.test.arrays(),
            "permutes_pixels": self.permutes_pixels,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any], device: torch.device | str = "cpu") -> DataPool:
        """Return a pool on a device; on the CPU it shares the memory of the arrays."""
        splits = {
            name: TaskSplit.from_arrays(arrays[name]).to(device) for name in ("train", "test")
        }
        return cls(**{**arrays, **splits})

    def search_splits(self, arrangement: Arrangement) -> tuple[TaskSplit, TaskSplit]:
        """Return the training and the validation split of an arrangement."""
        held_out = self._held_out(arrangement.split_seed)
        return (
            self._arrange(self.train, ~held_out, arrangement.order_seed),
            self._arrange(self.train, held_out, arrangement.order_seed),
        )

    def confirm_splits(self, arrangement: Arrangement) -> tuple[TaskSplit, TaskSplit]:
        """Return all training examples, and the test split, in the order of an arrangement."""
        train, test = (
            self._arrange(split, np.ones(len(split.labels), bool), arrangement.order_seed)
            for split in (self.train, self.test)
        )
        return train, test

    @cached_property
    def _classes_per_task(self) -> list[int]:
        return [
            len(set(labels.tolist()))
            for labels in torch.split(self.train.labels, list(self.train.sizes))
        ]

    def _held_out(self, seed: int | None) -> NDArray[np.bool_]:
        """Return a mask of the validation examples in the pool, shape (N,).

        A drawn split has as many examples of each class in each task as that of the benchmark. If
        the labels of two tasks are the same sequence, as in a domain-incremental benchmark, the
        same positions are drawn in both, so that an image is in the same split in every domain.
        """
        masks = []
        for labels, train_size in zip(
            torch.split(self.train.labels, list(self.train.sizes)), self.train_sizes, strict=True
        ):
            mask = np.arange(len(labels)) >= train_size
            if seed is not None:
                random = np.random.default_rng(seed)
                for label in sorted(set(labels.tolist())):
                    members = np.flatnonzero(labels.cpu().numpy() == label)
                    count = int(mask[members].sum())
                    mask[members] = False
                    mask[random.choice(members, count, replace=False)] = True
            masks.append(mask)
        return np.concatenate(masks)

    def _arrange(self, split: TaskSplit, mask: NDArray[np.bool_], seed: int | None) -> TaskSplit:
        """Return the examples of a mask in the order of an arrangement."""
        examples = np.flatnonzero(mask)
        tasks = split.task_of_examples().cpu().numpy()[examples]
        if seed is not None and not self.permutes_pixels:
            return self._in_class_order(split, examples, seed)
        sizes = _count(tasks, len(split.sizes))
        chosen = split.select(_index(examples, split), sizes) if not mask.all() else split
        return chosen if seed is None else self._with_permutations(chosen, split, examples, seed)

    def _in_class_order(
        self, split: TaskSplit, examples: NDArray[np.int64], seed: int
    ) -> TaskSplit:
        """Draw the classes of each task, and number the classes in the order of the tasks."""
        per_task = self._classes_per_task
        order = np.random.default_rng(seed).permutation(sum(per_task))
        labels = np.argsort(order)[split.labels.cpu().numpy()[examples]]
        tasks = np.searchsorted(np.cumsum(per_task), labels, side="right")
        by_task = np.argsort(tasks, kind="stable")
        return TaskSplit(
            split.inputs,
            _index(labels[by_task], split),
            _count(tasks, len(per_task)),
            _index(examples[by_task], split),
        )

    def _with_permutations(
        self, chosen: TaskSplit, split: TaskSplit, examples: NDArray[np.int64], seed: int
    ) -> TaskSplit:
        """Draw the pixel permutation of each task after the first, which has none."""
        random = np.random.default_rng(seed)
        count = split.inputs[0].numel()
        orders = [np.arange(count), *(random.permutation(count) for _ in split.sizes[1:])]
        originals = examples % split.sizes[0]  # every task has the same images in the same order
        return TaskSplit(
            split.inputs,
            chosen.labels,
            chosen.sizes,
            _index(originals, split),
            _index(np.array(orders), split),
        )


def _index(values: NDArray[np.int64], split: TaskSplit) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.int64)).to(split.labels.device)


def _count(tasks: NDArray[np.int64], n_tasks: int) -> tuple[int, ...]:
    return tuple(np.bincount(tasks, minlength=n_tasks).tolist())
