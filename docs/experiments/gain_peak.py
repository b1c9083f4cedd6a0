"""Peak of NGM-SGD's gain in the first iterations under variants of the protocol, on MNIST.

Set NGM_TUNE_DATA to a folder that holds MNIST. The script takes about a minute.
"""

from typing import NamedTuple

import numpy as np
import torch
from tabulate import tabulate

from ngm_tune import NGMSGD
from ngm_tune.benchmarks import get_benchmark
from ngm_tune.benchmarks.models import MLP

SEEDS, ITERATIONS, BATCH = 8, 40, 128
BENCHMARK = get_benchmark("split-mnist")
TRAIN = BENCHMARK.load().train
FIRST_TASK = {"Split-MNIST": (TRAIN.sizes[0], 0.4), "Rotated-MNIST": (len(TRAIN.labels), 0.5)}
"""Number of examples of the first task (Rotated-MNIST: all digits, not rotated), and eta."""


class Variant(NamedTuple):
    """Differences from the paper's protocol."""

    name: str
    hidden_std: float = 0.01
    output_std: float = 0.05
    normalised: bool = True
    factor: bool = True
    """Whether the gradient has the factor g of the raw weights."""
    clipped: bool = False
    """Whether the norm of the gradient is clipped to 1."""


VARIANTS = (
    Variant("the paper's settings"),
    Variant("hidden std 0.009", hidden_std=0.009),
    Variant("hidden std 0.008", hidden_std=0.008),
    Variant("output std 0.04", output_std=0.04),
    Variant("pixels in [0, 1], not normalised", normalised=False),
    Variant("gradient without the factor g", factor=False),
    Variant("gradient clipped to a norm of 1", clipped=True),
)


def peak(seed: int, examples: int, eta: float, variant: Variant) -> float:
    """The largest gain of a run."""
    torch.manual_seed(seed)
    stds = {"hidden_std": variant.hidden_std, "output_std": variant.output_std}
    model = MLP((784, 400, 400, 10), **stds)
    optimizer = NGMSGD(model, lr=0.01, gain_sensitivity=eta, entropy_smoothing=0.9)
    gains = []
    for _ in range(ITERATIONS):
        batch = torch.randint(examples, (BATCH,))
        pixels = TRAIN.inputs[batch]
        logits = model(BENCHMARK.prepare(pixels) if variant.normalised else pixels / 255)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits, TRAIN.labels[batch]).backward()
        for parameter in model.parameters() if not variant.factor else ():
            parameter.grad /= optimizer.gain
        if variant.clipped:
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        gains.append(float(optimizer.gain))
    return max(gains)


torch.set_num_threads(1)
rows = []
for variant in VARIANTS:
    row: dict[str, object] = {"variant": variant.name}
    for name, (examples, eta) in FIRST_TASK.items():
        peaks = [peak(seed, examples, eta, variant) for seed in range(SEEDS)]
        row[f"{name}, eta {eta}"] = f"{np.mean(peaks):.2f} ± {np.std(peaks, ddof=1):.2f}"
    rows.append(row)
print(tabulate(rows, headers="keys", tablefmt="github"))
