"""The conformance suite of benchmarks."""

from __future__ import annotations

import hashlib

import pytest
import torch
from torch import Tensor, nn

from ngm_tune.benchmarks import Benchmark, TaskData, TaskSplit
from ngm_tune.training.seeding import seeded

_MOST_SHARED = 0.01
"""Share of test examples that may also be in the training data: datasets hold some duplicates."""

_SAMPLE = 2000
"""Number of examples on which statistics are computed."""


class BenchmarkTestCase:
    """Checks that a :class:`~ngm_tune.benchmarks.Benchmark` can be trained and evaluated on.

    The suite loads the data twice and runs the network on a few examples.

    Attributes:
        benchmark: The benchmark under test.

    Example:
        >>> from ngm_tune.benchmarks import get_benchmark
        >>> from ngm_tune.testing import BenchmarkTestCase
        >>> class TestSplitDigits(BenchmarkTestCase):
        ...     benchmark = get_benchmark("split-digits")
    """

    benchmark: Benchmark
    _data: TaskData | None = None

    @pytest.fixture
    def data(self) -> TaskData:
        """The data of the benchmark, loaded once for all checks."""
        cls = type(self)
        cls._data = cls._data or self.benchmark.load()
        return cls._data

    @classmethod
    def teardown_class(cls) -> None:
        """Release the data."""
        cls._data = None

    def test_is_described(self) -> None:
        """Name and title are set; tasks, classes, batch size and iterations are in range."""
        benchmark = self.benchmark
        assert benchmark.name, "name is empty"
        assert benchmark.title, "title is empty"
        assert benchmark.kind in ("class-incremental", "domain-incremental")
        assert benchmark.tasks >= 2, f"tasks = {benchmark.tasks}: a transition needs two tasks"
        assert benchmark.classes >= 2, f"classes = {benchmark.classes}: must be at least 2"
        assert benchmark.batch_size >= 1
        assert benchmark.iterations_per_task >= 1

    def test_splits_have_the_sizes_they_declare(self, data: TaskData) -> None:
        """Every split has non-empty tasks in the declared number, and one label per example."""
        for name, split in _splits(data):
            assert len(split.sizes) == self.benchmark.tasks, (
                f"{name} has {len(split.sizes)} tasks, expected {self.benchmark.tasks}"
            )
            assert min(split.sizes) > 0, f"{name} has an empty task: its sizes are {split.sizes}"
            assert sum(split.sizes) == len(split.inputs) == len(split.labels), (
                f"{name} has sizes {split.sizes}, {len(split.inputs)} inputs and "
                f"{len(split.labels)} labels"
            )

    def test_labels_are_class_indices(self, data: TaskData) -> None:
        """Labels are int64; every split has examples of every class, and of no other."""
        for name, split in _splits(data):
            assert split.labels.dtype == torch.int64, f"{name} labels are {split.labels.dtype}"
            classes = set(split.labels.tolist())
            assert classes == set(range(self.benchmark.classes)), (
                f"{name} has labels from {min(classes)} to {max(classes)}, {len(classes)} of them; "
                f"expected 0 to {self.benchmark.classes - 1}"
            )

    def test_tasks_have_the_classes_of_their_kind(self, data: TaskData) -> None:
        """Class-incremental tasks share no class; domain-incremental tasks have the same classes.

        A task has the same classes in every split.
        """
        expected = _find_classes_of_tasks(data.train)
        for name, split in _splits(data):
            classes = _find_classes_of_tasks(split)
            assert classes == expected, f"tasks have other classes in {name} than in train"
        if self.benchmark.kind == "class-incremental":
            assert sum(map(len, expected)) == len(set().union(*expected)), (
                "class-incremental tasks share classes"
            )
        else:
            assert all(classes == expected[0] for classes in expected), (
                "domain-incremental tasks have different classes"
            )

    def test_splits_share_no_examples(self, data: TaskData) -> None:
        """Validation and test examples are not in the training data.

        Up to 1 % may be, as public datasets hold some duplicates.
        """
        train = _digests(data.train.inputs)
        for name, split in _splits(data)[1:]:
            digests = _digests(split.inputs)
            share = len(digests & train) / len(digests)
            assert share <= _MOST_SHARED, f"{share:.1%} of the {name} examples are in train"

    def test_loading_twice_gives_the_same_data(self, data: TaskData) -> None:
        """A second load has the same checksum: the same examples in the same order."""
        assert self.benchmark.load().checksum() == data.checksum(), (
            "a second load gives different data; random draws need a fixed seed"
        )

    def test_prepared_inputs_are_normalised(self, data: TaskData) -> None:
        """Prepared inputs are finite float32 with a mean near 0 and a standard deviation near 1."""
        for name, split in _splits(data):
            inputs = split.inputs[:: max(1, len(split.inputs) // _SAMPLE)]
            assert inputs.dtype in (torch.float32, torch.uint8), f"{name} inputs are {inputs.dtype}"
            prepared = self.benchmark.prepare(inputs)
            assert prepared.dtype == torch.float32, f"prepared {name} inputs are {prepared.dtype}"
            assert prepared.shape == inputs.shape, f"prepare changes the shape of {name} inputs"
            assert prepared.isfinite().all(), f"prepared {name} inputs are not finite"
            mean, deviation = float(prepared.mean()), float(prepared.std())
            assert abs(mean) < 0.3, f"prepared {name} inputs have mean {mean:.2f}"
            assert 0.5 < deviation < 2.0, (
                f"prepared {name} inputs have standard deviation {deviation:.2f}"
            )

    def test_the_network_fits_the_data(self, data: TaskData) -> None:
        """The network maps a batch to one logit per class, and all of its gradients are finite."""
        with seeded(0):
            model = self.benchmark.build_model()
        inputs = self.benchmark.prepare(data.train.inputs[:4])
        logits = model(inputs)
        assert logits.shape == (len(inputs), self.benchmark.classes), (
            f"the network returns shape {tuple(logits.shape)} for {len(inputs)} examples, expected "
            f"({len(inputs)}, {self.benchmark.classes})"
        )
        loss = nn.functional.cross_entropy(logits, data.train.labels[:4])
        loss.backward()  # type: ignore[no-untyped-call]
        for name, parameter in model.named_parameters():
            assert parameter.grad is None or parameter.grad.isfinite().all(), (
                f"the gradient of {name} is not finite"
            )

    def test_the_seed_determines_the_initial_weights(self) -> None:
        """Networks start equal with one seed of torch, and different with another."""

        def weights(seed: int) -> Tensor:
            with seeded(seed):
                model = self.benchmark.build_model()
            return torch.cat([p.detach().flatten() for p in model.parameters()])

        assert torch.equal(weights(0), weights(0)), "two networks with the same seed differ"
        assert not torch.equal(weights(0), weights(1)), "two networks with different seeds agree"

    def test_augmentation_keeps_shape_and_follows_its_generator(self, data: TaskData) -> None:
        """Augmented examples have the shape and type of stored ones; the generator fixes them."""
        augment = self.benchmark.augment
        if augment is None:
            pytest.skip("the benchmark has no augmentation")
        inputs = data.train.inputs[:16]
        first, second = (augment(inputs, torch.Generator().manual_seed(3)) for _ in range(2))
        assert (first.shape, first.dtype) == (inputs.shape, inputs.dtype)
        assert torch.equal(first, second), "augmentation uses randomness besides its generator"

    def test_can_be_pickled(self) -> None:
        """The benchmark survives Ray's cloudpickle, which sends objects to workers."""
        from ray import cloudpickle

        copy: Benchmark = cloudpickle.loads(cloudpickle.dumps(self.benchmark))
        assert copy.name == self.benchmark.name


def _splits(data: TaskData) -> list[tuple[str, TaskSplit]]:
    return [("train", data.train), ("validation", data.validation), ("test", data.test)]


def _find_classes_of_tasks(split: TaskSplit) -> list[set[int]]:
    return [set(labels.tolist()) for labels in torch.split(split.labels, list(split.sizes))]


def _digests(inputs: Tensor) -> set[bytes]:
    """Return the hashes of the examples."""
    return {hashlib.sha256(example.tobytes()).digest() for example in inputs.numpy()}
