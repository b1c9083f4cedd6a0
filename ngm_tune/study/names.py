"""Names in a study: each one known, none twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def require_known(names: Sequence[str], known: Iterable[str], kind: str, hint: str = "") -> None:
    """Raise unless every name is known and none is listed twice.

    Args:
        names: Names in a study.
        known: Allowed names.
        kind: What a name is of, for messages.
        hint: Where else names can come from.

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
