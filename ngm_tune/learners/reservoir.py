"""Reservoir sampling: a uniform sample of bounded size (Vitter 1985)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Reservoir:
    """A uniform sample of bounded size from a stream of items (Vitter 1985, algorithm R).

    An item is a row of one or several tensors. Random numbers come from a generator on the CPU, by
    default torch's global generator.

    Args:
        size: Capacity in items.

    Raises:
        ValueError: ``size`` is not a whole number of at least 1.
    """

    def __init__(self, size: int) -> None:
        if size < 1 or size != int(size):
            raise ValueError(f"Invalid buffer size: {size} (must be a whole number, >= 1)")
        self._size = size
        self._offered = 0
        self._kept: tuple[Tensor, ...] = ()

    def __len__(self) -> int:
        """Return the number of items in the reservoir."""
        return min(self._offered, self._size)

    def offer(self, *columns: Tensor, generator: torch.Generator | None = None) -> None:
        """Offer rows, each of which enters with the probability that keeps the sample uniform.

        Args:
            *columns: Tensors with the same number of rows.
            generator: A generator on the CPU.
        """
        count = len(columns[0])
        order = torch.arange(self._offered, self._offered + count)
        drawn = torch.rand(count, generator=generator, dtype=torch.float64) * (order + 1)
        slots = torch.where(order < self._size, order, drawn.long()).tolist()
        row_at = {slot: row for row, slot in enumerate(slots) if slot < self._size}
        if not self._kept:
            self._kept = tuple(c.new_zeros(self._size, *c.shape[1:]) for c in columns)
        for kept, column in zip(self._kept, columns, strict=True):
            kept[list(row_at)] = column[list(row_at.values())]
        self._offered += count

    def draw(self, count: int, generator: torch.Generator | None = None) -> tuple[Tensor, ...]:
        """Draw rows uniformly and with replacement.

        Args:
            count: Number of rows.
            generator: A generator on the CPU.

        Returns:
            A tensor with ``count`` rows for each column.
        """
        rows = torch.randint(len(self), (count,), generator=generator)
        return tuple(kept[rows.to(kept.device)] for kept in self._kept)

    def state_dict(self) -> dict[str, Any]:
        """Return the number of offered items and the columns of the reservoir."""
        return {"offered": self._offered, "kept": list(self._kept)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load a state from :meth:`state_dict`."""
        self._offered = state["offered"]
        self._kept = tuple(state["kept"])
