"""Checkpoints of unfinished trials, loaded with ``weights_only=True``."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch


class Checkpoint(NamedTuple):
    """State of an unfinished trial.

    Attributes:
        identity: Identity of the trial: its id, seeds and hyper-parameters.
        states: ``state_dict`` of each run of the trial.
    """

    identity: dict[str, Any]
    states: list[dict[str, Any]]


def pack(identity: Mapping[str, Any], states: Sequence[dict[str, Any]]) -> bytes:
    """Serialise a checkpoint.

    Args:
        identity: Identity of the trial, with the key ``run_id``.
        states: ``state_dict`` of each run of the trial.
    """
    content = io.BytesIO()
    torch.save({"of": dict(identity), "states": list(states)}, content)
    return content.getvalue()


def unpack(content: bytes, device: str = "cpu") -> Checkpoint:
    """Load a checkpoint that :func:`pack` serialised.

    Args:
        content: The serialised checkpoint.
        device: Device to load tensors to.

    Raises:
        ValueError: The content is damaged or is not a checkpoint.
    """
    try:
        loaded = torch.load(io.BytesIO(content), weights_only=True, map_location=device)
    except Exception as error:  # damaged bytes make the unpickler raise anything
        raise ValueError("not readable as a checkpoint") from error
    match loaded:
        case {"of": {"run_id": str()} as identity, "states": [*states]} if len(loaded) == 2:
            return Checkpoint(identity, states)
    raise ValueError("not a checkpoint of a trial")
