"""Checks of the names in a study."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def require_known(names: Sequence[str], known: Iterable[str], kind: str, hint: str = "") -> None:
    """Check that every name is known and listed once.

    Args:
        names: Names in a study.
        known: Allowed names.
        kind: The kind of thing that is named, such as "method", for messages.
        hint: End of the message about an unknown name.

    Raises:
        ValueError: A name is unknown or listed twice.
    """
    allowed = list(known)
    for name in names:
        if name not in allowed:
            problem = f"no {kind} {name!r}; allowed are {', '.join(allowed)}"
            raise ValueError(f"{problem}; {hint}" if hint else problem)
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"the {kind} {name!r} is listed twice")
