"""Checkpoints of unfinished trials, loaded with ``weights_only=True``."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch


class Checkpoint(NamedTuple):
    """State of an unfinished trial.

    Attributes:
        of: Identity of the trial: its id, seeds, hyper-parameters.
        states: The ``state_dict`` of each of its runs.
    """

    of: dict[str, Any]
    states: list[dict[str, Any]]


def pack(of: Mapping[str, Any], states: Sequence[dict[str, Any]]) -> bytes:
    """Serialise a checkpoint."""
    content = io.BytesIO()
    torch.save(Checkpoint(dict(of), list(states))._asdict(), content)
    return content.getvalue()


def unpack(content: bytes, device: str = "cpu") -> Checkpoint:
    """Load a checkpoint that :func:`pack` serialised onto a device.

    Raises:
        ValueError: The content is damaged or is not a checkpoint.
    """
    try:
        kept = torch.load(io.BytesIO(content), weights_only=True, map_location=device)
    except Exception as error:  # damaged bytes make the unpickler raise anything
        raise ValueError("not readable as a checkpoint") from error
    match kept:
        case {"of": {"run_id": str()} as of, "states": [*states]} if len(kept) == 2:
            return Checkpoint(of, states)
    raise ValueError("not a checkpoint of a trial")
