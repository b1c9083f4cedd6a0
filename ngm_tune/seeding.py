"""One seed for a run, and from it an independent one for everything that is random."""

from __future__ import annotations

import numpy as np


def derive_seed(seed: int, purpose: str, task: int = 0) -> int:
    """A 63-bit seed for one purpose and task, so that none depends on what else is drawn."""
    entropy = (seed, task, *purpose.encode())
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1)
