"""Parsing of TOML."""

from __future__ import annotations

import tomllib
from typing import Any

_MAX_DEPTH = 20
"""No study comes near it. Python handles nested values recursively, and not arbitrarily deep."""
_TOO_DEEP = f"tables and lists are nested more than {_MAX_DEPTH} levels deep"


def parse_toml(text: str) -> dict[str, Any]:
    """Return the content of a TOML document.

    Raises:
        ValueError: The text is not TOML, or too deeply nested.

    Example:
        >>> parse_toml("search_space.sgd.lr = [0.01, 0.5]")
        {'search_space': {'sgd': {'lr': [0.01, 0.5]}}}
    """
    try:
        content = tomllib.loads(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    check_depth(content)
    return content


def check_depth(content: Any) -> None:
    """Raise ValueError if tables and lists are nested more than 20 levels deep."""
    level = [content]
    for _ in range(_MAX_DEPTH + 1):
        level = [child for value in level for child in _children(value)]
        if not level:
            return
    raise ValueError(_TOO_DEEP)


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
