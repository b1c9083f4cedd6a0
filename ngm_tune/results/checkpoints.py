"""Where a trial is that has not ended: a file that is read without executing anything."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from ngm_tune.results.directory import CHECKPOINTS


def checkpoint_of(run_id: str) -> str:
    """The file of a run's checkpoint, as seen from the results directory."""
    return f"{CHECKPOINTS}/{run_id}.pt"


class Checkpoint(NamedTuple):
    """Where a trial is.

    Attributes:
        of: What tells the trial from others, such as its id, seeds and hyper-parameters.
        states: The ``state_dict`` of each of its runs.
    """

    of: dict[str, Any]
    states: list[dict[str, Any]]


def pack(of: Mapping[str, Any], states: Sequence[dict[str, Any]]) -> bytes:
    """A checkpoint as a file."""
    content = io.BytesIO()
    torch.save(Checkpoint(dict(of), list(states))._asdict(), content)
    return content.getvalue()


def unpack(content: bytes, device: str = "cpu") -> Checkpoint:
    """The checkpoint that :func:`pack` took, on this device whatever it was on then.

    Raises:
        ValueError: It is damaged, or is none.
    """
    try:
        kept = torch.load(io.BytesIO(content), weights_only=True, map_location=device)
    except Exception as error:  # bytes at random make the unpickler raise whatever there is
        raise ValueError("not readable as a checkpoint") from error
    match kept:
        case {"of": {"run_id": str()} as of, "states": [*states]} if len(kept) == 2:
            return Checkpoint(of, states)
    raise ValueError("not a checkpoint of a trial")
