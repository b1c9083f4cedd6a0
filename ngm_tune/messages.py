"""Texts of messages, in particular about invalid content that pydantic finds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_MAX_LENGTH = 300
"""Number of characters of a value that messages show."""


def counted(count: int, noun: str) -> str:
    """Return a count with its noun, in the plural unless the count is 1.

    Example:
        >>> counted(2, "trial")
        '2 trials'
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def shortened(text: str) -> str:
    """Return a text, or its beginning if it is longer than a message should be."""
    return text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]} …"


def locate_keys(problem: ErrorDetails, content: Any) -> list[str]:
    """Return the keys and indices that lead to an invalid value in a file.

    Pydantic's location also contains the names of union members, which are not in the file. These
    names are left out.

    Args:
        problem: One of pydantic's errors.
        content: The content of the file.
    """
    parts = []
    for part in problem["loc"]:
        if isinstance(content, dict) and (part in content or problem["type"] == "missing"):
            content = content.get(part)
        elif isinstance(content, list) and isinstance(part, int) and part < len(content):
            content = content[part]
        else:
            continue
        parts.append(str(part))
    return parts


def dotted(keys: list[str]) -> str:
    """Return keys and indices as one text.

    Example:
        >>> dotted(["points", "0", "lr"])
        'points[0].lr'
    """
    return "".join(f"[{k}]" if k.isdigit() else f".{k}" for k in keys).removeprefix(".")


def describe_problem(problem: ErrorDetails, key: str, others: Iterable[ErrorDetails] = ()) -> str:
    """Return a phrase with the key, the value and the allowed values.

    Args:
        problem: One of pydantic's errors.
        key: The key of the value, as :func:`dotted` returns it.
        others: Errors about the same value from other members of a union.
    """
    if problem["type"] == "missing":
        return f"{key} is missing"
    message = _message(problem)
    if not key:
        return message
    kinds = [message, *(_message(other).removeprefix("Input should be ") for other in others)]
    *first, last = dict.fromkeys(kinds)
    allowed = f"{', '.join(first)} or {last}" if first else last
    return f"{key} = {shortened(repr(problem['input']))}: {allowed[0].lower()}{allowed[1:]}"


def _message(problem: ErrorDetails) -> str:
    """Return pydantic's message in the terms of TOML and JSON."""
    message = problem["msg"].removeprefix("Value error, ").partition(" or instance of ")[0]
    return message.partition(" after validation")[0].replace("valid dictionary", "table")
