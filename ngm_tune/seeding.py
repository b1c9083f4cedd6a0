"""One seed for a run, and from it an independent one for everything that is random."""

from __future__ import annotations

import os

import numpy as np
import torch


def derive_seed(seed: int, purpose: str, task: int = 0) -> int:
    """A 63-bit seed for one purpose and task, so that none depends on what else is drawn."""
    entropy = (seed, task, *purpose.encode())
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1)


def repeat_on_gpus() -> None:
    """Let this process compute the same from the same on a GPU too, where torch knows how to.

    To be called before the first computation there. An operation that torch has no deterministic
    algorithm for warns and goes on.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS needs for it
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
