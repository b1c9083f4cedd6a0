"""Checks of the names in a study."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def check_names(names: Sequence[str], allowed: Collection[str], kind: str, hint: str = "") -> None:
    """Check that every name is allowed and listed once.

    Args:
        names: Names in a study.
        allowed: Allowed names.
        kind: What the names refer to, such as "method", for messages.
        hint: End of the message about a name that is not allowed.

    Raises:
        ValueError: A name is not allowed, or is listed twice.
    """
    for name in names:
        if name not in allowed:
            problem = f"no {kind} {name!r}; allowed are {', '.join(allowed)}"
            raise ValueError(f"{problem}; {hint}" if hint else problem)
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"the {kind} {name!r} is listed twice")
