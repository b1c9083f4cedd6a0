"""Stability gap on Rotated-MNIST for four ways to rotate the images.

Set NGM_TUNE_DATA to a folder that holds MNIST. The script takes about ten minutes on two cores. The
gaps are those of the first task on 2,000 test images, with minima on the mean curve over seeds.
"""

from collections.abc import Callable, Collection
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import torch
from tabulate import tabulate
from torchvision.transforms.functional import InterpolationMode, rotate

from ngm_tune.benchmarks import TaskSplit, get_benchmark
from ngm_tune.benchmarks.mnist import ANGLES, MNIST
from ngm_tune.benchmarks.sources import load_images
from ngm_tune.methods import get_method
from ngm_tune.training.evaluation import Evaluator
from ngm_tune.training.loop import ContinualTraining
from ngm_tune.training.options import EvaluationSchedule, StreamOptions

SEEDS, TEST_IMAGES = (42, 43, 44), 2000
BENCHMARK = get_benchmark("rotated-mnist")
METHODS = {
    "ngm-sgd": {"lr": 0.01, "gain_sensitivity": 0.5, "entropy_smoothing": 0.9},
    "momentum-sgd": {"lr": 0.01},
    "adam": {"lr": 0.01},
    "sgd": {"lr": 0.01},
}
BILINEAR, NEAREST = InterpolationMode.BILINEAR, InterpolationMode.NEAREST
BLACK = (0.0 - 0.1307) / 0.3081
"""A black pixel after normalisation."""
ROTATIONS = {
    "bilinear, counter-clockwise": (BILINEAR, 1, BLACK),
    "nearest, counter-clockwise": (NEAREST, 1, BLACK),
    "bilinear, clockwise": (BILINEAR, -1, BLACK),
    "rotated after normalising (mean grey corners)": (BILINEAR, 1, 0.0),
}


def rotated(split: str, count: int, mode: InterpolationMode, sign: int, fill: float) -> TaskSplit:
    """Three tasks of normalised, rotated images."""
    images = load_images(MNIST, split)  # type: ignore[arg-type]
    inputs = BENCHMARK.prepare(torch.from_numpy(images.pixels[:count].copy()))
    tasks = [
        rotate(inputs, sign * angle, interpolation=mode, fill=[fill]) if angle else inputs
        for angle in ANGLES
    ]
    labels = torch.from_numpy(images.labels[:count])
    return TaskSplit(torch.cat(tasks), labels.repeat(len(tasks)), (count,) * len(tasks))


def first_task_accuracy(rotation: str, method: str, seed: int) -> np.ndarray:
    """Accuracy on the first task after every iteration, shape (iterations,)."""
    torch.set_num_threads(1)
    test = rotated("test", TEST_IMAGES, *ROTATIONS[rotation])
    run = ContinualTraining(
        rotated("train", 60_000, *ROTATIONS[rotation]),
        Evaluator(test, "mixed"),
        BENCHMARK.build_model,
        partial(get_method(method).build, **METHODS[method]),
        seed=seed,
        iterations_per_task=BENCHMARK.iterations_per_task,
        stream=StreamOptions(BENCHMARK.batch_size),
        evaluation=EvaluationSchedule(tasks="first-and-previous"),
    )
    while not run.finished:
        run.train_task()
    return run.curves().accuracy[:, 0]


def average_gap(curve: np.ndarray) -> float:
    """Mean relative drop over the transitions."""
    tasks = curve.reshape(len(ANGLES), -1)
    before = tasks[:-1, -1]
    return float(((before - tasks[1:].min(axis=1)) / before).mean())


def print_gaps(
    kind: str, variations: Collection[str], accuracy: Callable[[str, str, int], np.ndarray]
) -> None:
    """Print the gap of each method and variation; ``accuracy`` returns the curve of a seed."""
    with ProcessPoolExecutor(2) as pool:
        runs = {
            (name, method): [pool.submit(accuracy, name, method, s) for s in SEEDS]
            for name in variations
            for method in METHODS
        }
        curves = {key: np.mean([r.result() for r in found], axis=0) for key, found in runs.items()}
    rows = [
        {kind: name} | {method: f"{average_gap(curves[name, method]):.3f}" for method in METHODS}
        for name in variations
    ]
    print(tabulate(rows, headers="keys", tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    print_gaps("images", ROTATIONS, first_task_accuracy)
