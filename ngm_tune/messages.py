"""What pydantic finds, as people say it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic_core import ErrorDetails


def keys_of(problem: ErrorDetails, content: Any) -> list[str]:
    """The keys as they stand in the file: pydantic's location without the members of unions."""
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


def spelled(place: list[str]) -> str:
    """Keys as a person would write them: ``points[0].lr``."""
    return "".join(f"[{k}]" if k.isdigit() else f".{k}" for k in place).removeprefix(".")


def rule_of(problem: ErrorDetails, key: str, others: Iterable[ErrorDetails] = ()) -> str:
    """Key, value and what is allowed.

    Args:
        problem: Of the value.
        key: As a person would write it.
        others: What the other members of a union have to say of the same value.
    """
    if problem["type"] == "missing":
        return f"{key} is missing"
    message = _message(problem)
    if not key:
        return message
    kinds = [message, *(_message(other).removeprefix("Input should be ") for other in others)]
    *first, last = dict.fromkeys(kinds)
    allowed = f"{', '.join(first)} or {last}" if first else last
    return f"{key} = {problem['input']!r}: {allowed[0].lower()}{allowed[1:]}"


def _message(problem: ErrorDetails) -> str:
    message = problem["msg"].removeprefix("Value error, ").partition(" or instance of ")[0]
    return message.partition(" after validation")[0].replace("valid dictionary", "table")
