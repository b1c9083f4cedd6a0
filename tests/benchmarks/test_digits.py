"""The digits benchmarks, whose data is part of scikit-learn."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.optim import Adam

from ngm_tune.benchmarks import TaskData, get_benchmark
from ngm_tune.benchmarks.models import MLP
from ngm_tune.training.evaluation import Evaluator
from ngm_tune.training.loop import ContinualTraining
from ngm_tune.training.options import EvaluationSchedule, StreamOptions

DIGITS = ("split-digits", "rotated-digits")
SPLIT, ROTATED = get_benchmark("split-digits"), get_benchmark("rotated-digits")


def images(data: TaskData) -> list[torch.Tensor]:
    return [split.inputs[: split.sizes[0]] for split in (data.train, data.validation, data.test)]


def test_splits_are_stratified_and_contain_all_1797_digits_once() -> None:
    data = SPLIT.load()
    splits = (data.train, data.validation, data.test)
    assert [len(s.labels) for s in splits] == [898, 449, 450]
    for split in splits:
        shares = torch.bincount(split.labels).double() / len(split.labels)
        assert (shares - 0.1).abs().max() < 0.01
    everything = torch.cat([s.inputs.flatten(1) for s in splits])
    assert len(torch.unique(everything, dim=0)) == 1797


def test_split_digits_has_two_new_classes_per_task() -> None:
    for split in (SPLIT.load().train, SPLIT.load().test):
        for task, labels in enumerate(split.labels.split(split.sizes)):
            assert set(labels.tolist()) == {2 * task, 2 * task + 1}


def test_rotated_digits_are_rotations_of_the_same_images() -> None:
    train = ROTATED.load().train
    upright, turned, upside = train.inputs.split(train.sizes)
    labels = train.labels.split(train.sizes)
    assert torch.equal(labels[0], labels[1])
    assert torch.equal(labels[0], labels[2])
    background = upright.min()
    # 80 degrees is nearly a quarter turn, 160 nearly a half turn.
    quarter = torch.rot90(upright, 1, dims=(2, 3))
    half = torch.rot90(upright, 2, dims=(2, 3))
    for rotated, near, far in ((turned, quarter, upright), (upside, half, upright)):
        assert (rotated - near).abs().mean() < 0.8 * (rotated - far).abs().mean()
    assert turned.min() >= background - 1e-5


def test_training_pixels_are_normalised() -> None:
    (train, _, _) = images(ROTATED.load())
    assert train.mean().item() == pytest.approx(0.0, abs=1e-3)
    assert train.std().item() == pytest.approx(1.0, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", DIGITS)
def test_accuracy_has_levelled_off_at_each_tasks_end(name: str) -> None:
    """Mean accuracy on seen tasks changes by less than two points in the last quarter of a task."""
    benchmark = get_benchmark(name)
    data = benchmark.load()
    change = torch.zeros(benchmark.tasks)
    for seed in range(3):
        run = ContinualTraining(
            data.train,
            Evaluator(data.validation),
            benchmark.build_model,
            lambda model: Adam(model.parameters(), lr=1e-3),
            seed=seed,
            iterations_per_task=benchmark.iterations_per_task,
            stream=StreamOptions(benchmark.batch_size),
            evaluation=EvaluationSchedule(every=5),
        )
        for task in range(benchmark.tasks):
            mean = run.train_task().accuracy[:, : task + 1].mean(dim=1)
            quarter = len(mean) // 8
            before = mean[-3 * quarter : -2 * quarter].mean()
            change[task] += (mean[-quarter:].mean() - before) / 3
    assert change.abs().max() < 0.02


def test_unknown_benchmark() -> None:
    with pytest.raises(ValueError, match="no benchmark 'mnist'; the benchmarks are split-digits"):
        get_benchmark("mnist")


def test_mlp_has_the_given_initial_weights_and_no_bias() -> None:
    torch.manual_seed(0)
    model = MLP((64, 100, 100, 10), hidden_std=0.03, output_std=0.1)
    weights = list(model.parameters())
    assert [tuple(w.shape) for w in weights] == [(100, 64), (100, 100), (10, 100)]
    stds = [w.std().item() for w in weights]
    assert stds == pytest.approx([0.03, 0.03, 0.1], rel=0.05)
    build = partial(MLP, (64, 100, 100, 10), hidden_std=0.03, output_std=0.1)
    assert build()(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
