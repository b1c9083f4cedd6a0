"""What the gain's peak in the first iterations depends on: NGM-SGD on the first MNIST task.

Run with NGM_TUNE_DATA naming a folder that holds MNIST; takes about a minute.
"""

import numpy as np
import torch
from tabulate import tabulate

from ngm_tune import NGMSGD
from ngm_tune.benchmarks import get_benchmark
from ngm_tune.models import MLP

SEEDS, ITERATIONS, BATCH = 8, 40, 128
BENCHMARK = get_benchmark("split-mnist")
TRAIN = BENCHMARK.load().train
FIRST_TASK = {"Split-MNIST": (TRAIN.sizes[0], 0.4), "Rotated-MNIST": (len(TRAIN.labels), 0.5)}
"""Examples of the first task (Rotated-MNIST's are all digits, as they are), and eta."""


def peak(seed: int, examples: int, eta: float, hidden_std: float, output_std: float) -> float:
    """The largest gain of a run."""
    torch.manual_seed(seed)
    model = MLP((784, 400, 400, 10), hidden_std=hidden_std, output_std=output_std)
    optimizer = NGMSGD(model, lr=0.01, gain_sensitivity=eta, entropy_smoothing=0.9)
    gains = []
    for _ in range(ITERATIONS):
        batch = torch.randint(examples, (BATCH,))
        logits = model(BENCHMARK.prepare(TRAIN.inputs[batch]))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits, TRAIN.labels[batch]).backward()
        optimizer.step()
        gains.append(float(optimizer.gain))
    return max(gains)


torch.set_num_threads(1)
rows = []
for hidden_std, output_std in ((0.01, 0.05), (0.009, 0.05), (0.008, 0.05), (0.01, 0.04)):
    row: dict[str, object] = {"hidden std": hidden_std, "output std": output_std}
    for name, (examples, eta) in FIRST_TASK.items():
        found = [peak(seed, examples, eta, hidden_std, output_std) for seed in range(SEEDS)]
        row[name] = f"{np.mean(found):.2f} ± {np.std(found, ddof=1):.2f}"
    rows.append(row)
print(tabulate(rows, headers="keys", tablefmt="github"))
