"""One seed for a run, and from it an independent one for everything that is random."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def derive_seed(seed: int, purpose: str, task: int = 0) -> int:
    """A 63-bit seed for one purpose and task, so that none depends on what else is drawn."""
    entropy = (seed, task, *purpose.encode())
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Everything at random from this seed, of torch, NumPy and Python; afterwards as before."""
    # Methods of somebody's may draw from NumPy's global generator.
    kept = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(np.random.SeedSequence(seed).generate_state(4))  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(kept[0])
            np.random.set_state(kept[1])  # noqa: NPY002


def repeat_on_gpus() -> None:
    """Let this process compute the same from the same on a GPU too, where torch knows how to.

    To be called before the first computation there. An operation that torch has no deterministic
    algorithm for warns and goes on.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS needs for it
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
