"""What pydantic finds, as people say it."""

from __future__ import annotations

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


def rule_of(problem: ErrorDetails, key: str) -> str:
    """Key, value and what is allowed."""
    if problem["type"] == "missing":
        return f"{key} is missing"
    message = problem["msg"].removeprefix("Value error, ").partition(" or instance of ")[0]
    message = message.partition(" after validation")[0].replace("valid dictionary", "table")
    if not key:
        return message
    return f"{key} = {problem['input']!r}: {message[0].lower()}{message[1:]}"
