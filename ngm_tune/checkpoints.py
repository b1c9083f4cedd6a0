"""Where a trial is that has not ended: a file that is read without executing anything."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import torch

from ngm_tune.results import CHECKPOINTS


def checkpoint_of(run_id: str) -> str:
    """The file of a run's checkpoint, as seen from the results directory."""
    return f"{CHECKPOINTS}/{run_id}.pt"


def pack(states: Sequence[dict[str, Any]]) -> bytes:
    """A checkpoint: the ``state_dict`` of every run of a trial."""
    content = io.BytesIO()
    torch.save(list(states), content)
    return content.getvalue()


def unpack(content: bytes, device: str = "cpu") -> list[dict[str, Any]]:
    """The states that :func:`pack` took, on this device whatever they were on then.

    Raises:
        ValueError: It is damaged, or is none.
    """
    try:
        states = torch.load(io.BytesIO(content), weights_only=True, map_location=device)
    except Exception as error:  # bytes at random make the unpickler raise whatever there is
        raise ValueError("not readable as a checkpoint") from error
    if not isinstance(states, list):
        raise ValueError("not a checkpoint of a trial")
    return states
