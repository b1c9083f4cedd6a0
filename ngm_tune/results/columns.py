"""Types of the columns that methods share, and decoding of their values.

A column has one type for all methods. For example, integers of one method are stored as floats if
another method has floats, and choices of mixed types are stored as strings.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

CONFIG_PREFIX = "config_"
"""Prefix of the columns with hyper-parameters."""
SEARCH_PREFIX = "search_"
"""Prefix of the columns with search coordinates, for hyper-parameters that were searched."""
INT64_LIMIT = 2**63
"""Integers in results are at least ``-INT64_LIMIT`` and less than ``INT64_LIMIT``."""
Domain = type | Sequence[Any]
"""The values that a hyper-parameter can have: all values of a type, or a list of choices."""


def infer_domain(values: Sequence[Any]) -> Domain:
    """Return the type of the values if it is bool, int, float or str; else the distinct values."""
    kinds = {type(value) for value in values}
    if len(kinds) == 1 and kinds <= {bool, int, float, str}:
        return kinds.pop()
    return list({str(value): value for value in values}.values())


def column_type(domains: Sequence[Domain]) -> type:
    """Return the type of a column that holds values of all domains; str if no other type does."""
    kinds = {
        kind
        for domain in domains
        for kind in ([domain] if isinstance(domain, type) else map(type, domain))
    }
    if kinds == {int, float}:
        return float
    kind = kinds.pop()
    return str if kinds or kind not in (bool, int, float) else kind


def decode(stored: Any, domain: Domain) -> Any:
    """Decode a stored value into its domain.

    Values outside the domain are returned unchanged.

    Example:
        >>> decode(3.0, int)
        3
        >>> decode("(0.9, 0.999)", [(0.9, 0.999), (0.8, 0.99)])
        (0.9, 0.999)
    """
    if not isinstance(domain, type):
        return _decode_choice(stored, domain)
    if domain is bool:
        return {"True": True, "False": False}.get(stored, stored)
    try:
        value = domain(stored)
    except (TypeError, ValueError, OverflowError):
        return stored
    return stored if domain is int and isinstance(stored, float) and value != stored else value


def _decode_choice(stored: Any, choices: Sequence[Any]) -> Any:
    """Return the choice that is stored as this value.

    A string that is not a choice is parsed, if the result has the type of a choice: choices
    can be computed from a continuous search coordinate.
    """
    for choice in choices:
        if str(choice) == str(stored):
            return choice
    if isinstance(stored, str):
        with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
            value = ast.literal_eval(stored)
            return value if type(value) in map(type, choices) else stored
        return stored
    return next((choice for choice in choices if choice == stored), stored)  # 1, stored as 1.0


def decode_hyperparameters(row: Mapping[str, Any], domains: Mapping[str, Domain]) -> dict[str, Any]:
    """Return the hyper-parameters of a row in ``trials/``, decoded into their domains.

    Args:
        row: The row.
        domains: Domains by name. A hyper-parameter without a domain keeps its stored value.
    """
    stored = {
        name.removeprefix(CONFIG_PREFIX): value
        for name, value in row.items()
        if name.startswith(CONFIG_PREFIX) and value is not None
    }
    return {
        name: decode(value, domains[name]) if name in domains else value
        for name, value in stored.items()
    }
