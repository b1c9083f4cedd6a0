"""How a report spells numbers."""

from __future__ import annotations

_MINUS = "\N{MINUS SIGN}"


def counted(count: int, noun: str) -> str:
    """A number of things, such as ``1 seed`` or ``3 seeds``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def number(value: float, digits: int = 3) -> str:
    """A number; one that rounds to nothing has no minus."""
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", _MINUS)


def signed(value: float, digits: int = 3) -> str:
    """A difference, with its sign; one that rounds to nothing has no minus."""
    return f"{round(value, digits) + 0.0:+.{digits}f}".replace("-", _MINUS)
