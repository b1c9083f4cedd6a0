"""Arrangements of a benchmark's data: class order and validation split of a search repetition.

Every repetition of a study's searches arranges the data anew, so that no conclusion depends on one
arrangement (Bouthillier et al. 2021, arXiv 2103.03098). Within a repetition all methods have the
same arrangement.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Arrangement:
    """How a repetition arranges the data.

    Attributes:
        split_seed: Seed of the validation split; None for the split of the benchmark.
        order_seed: Seed of the class order, or of the pixel permutations of a benchmark that
            permutes pixels; None for the order of the benchmark.
    """

    split_seed: int | None = None
    order_seed: int | None = None
