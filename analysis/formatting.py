"""Formatting of numbers in texts and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_MINUS = "\N{MINUS SIGN}"


def number(value: float, digits: int = 3) -> str:
    """Format a number; values that round to zero carry no sign."""
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", _MINUS)


def signed(value: float, digits: int = 3) -> str:
    """Format a difference with its sign; values that round to zero have a plus sign."""
    return f"{round(value, digits) + 0.0:+.{digits}f}".replace("-", _MINUS)


def percent(share: float, digits: int = 0) -> str:
    """Format a share as a percentage: 0.125 with one digit becomes ``12.5 %``."""
    return f"{100.0 * share:.{digits}f} %"


def joined(texts: Sequence[str]) -> str:
    """Return texts as an enumeration: ``a, b and c``."""
    *first, last = texts or [""]
    return f"{', '.join(first)} and {last}" if first else last


def settings(hyperparameters: Mapping[str, Any]) -> str:
    """Format hyper-parameters as ``lr 0.01, layers output``; empty for a method without any."""
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in hyperparameters.items()
    )
