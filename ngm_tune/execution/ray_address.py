"""Addresses of Ray clusters. This module does not import Ray."""

from __future__ import annotations

import socket

from ngm_tune.errors import UserError

CLIENT = "ray://"
"""Prefix of the addresses to which Ray Client connects from outside the cluster."""
_CONNECT_SECONDS = 10.0


def require_listener(address: str) -> None:
    """Check that a process listens at an address, since Ray itself would retry for minutes.

    Args:
        address: As for :func:`ngm_tune.execution.ray_session.ray_session`.

    Raises:
        UserError: The address is invalid, or no process listens there.
    """
    if address in ("local", "auto"):
        return
    host, colon, port = address.removeprefix(CLIENT).rpartition(":")
    if not colon or not port.isdecimal():
        raise UserError(
            f"--address {address}: must be auto, HOST:PORT or ray://HOST:PORT of a Ray cluster"
        )
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, OverflowError, ValueError) as error:
        raise UserError(f"the Ray cluster at {address} cannot be reached: {error}") from error
