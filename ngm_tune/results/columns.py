"""Columns of hyper-parameters and search coordinates, and decoding of their values.

The type of a column depends on its name alone, so that tables of different studies have the same
types and can be read together. Numbers are in the column ``config_NAME``, as float64. Other values
are in the column ``config_NAME_text``. If a study has both, the text column has every value, and
the numeric one has the numbers, and true and false as 1 and 0.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

CONFIG_PREFIX = "config_"
"""Prefix of the columns with hyper-parameters."""
SEARCH_PREFIX = "search_"
"""Prefix of the columns with search coordinates, for hyper-parameters that were searched."""
TEXT_SUFFIX = "_text"
"""Suffix of the columns with values as text."""
WHOLE_LIMIT = 2**53
"""Largest absolute value of whole numbers in results: float64 has all of them exactly."""
Domain = type | Sequence[Any]
"""The values that a hyper-parameter can have: all values of a type, or a list of choices."""
Kind = Literal["float", "str", "float and str"]
"""The columns that a hyper-parameter has."""


def infer_domain(values: Sequence[Any]) -> Domain:
    """Return the type of the values if it is bool, int, float or str; else the distinct values."""
    kinds = {type(value) for value in values}
    if len(kinds) == 1 and kinds <= {bool, int, float, str}:
        return kinds.pop()
    return list({str(value): value for value in values}.values())


def common_type(domain: Domain) -> type:
    """Return the type of all values of a domain: bool, int, float, or str if no other type is."""
    kinds = _types_in(domain)
    if kinds == {int, float}:
        return float
    kind = kinds.pop()
    return str if kinds or kind not in (bool, int, float) else kind


def column_kind(domains: Sequence[Domain]) -> Kind:
    """Return the columns that store the values of all domains."""
    kinds = {kind for domain in domains for kind in _types_in(domain)}
    if kinds <= {int, float}:
        return "float"
    return "float and str" if kinds & {bool, int, float} else "str"


def _types_in(domain: Domain) -> set[type]:
    return {domain} if isinstance(domain, type) else set(map(type, domain))


def columns_of(name: str, kind: Kind) -> dict[str, type]:
    """Return the columns of a hyper-parameter, with its prefix in ``name``, and their types."""
    numbers: dict[str, type] = {} if kind == "str" else {name: float}
    return numbers if kind == "float" else {**numbers, name + TEXT_SUFFIX: str}


def encode(name: str, value: Any, kind: Kind) -> dict[str, float | str | None]:
    """Return the values of the columns of a hyper-parameter.

    Example:
        >>> encode("config_width", 3, "float and str")
        {'config_width': 3.0, 'config_width_text': '3'}
    """
    is_exact = isinstance(value, float) or (isinstance(value, int) and abs(value) <= WHOLE_LIMIT)
    stored = {float: float(value) if is_exact else None, str: str(value)}
    return {column: stored[type_] for column, type_ in columns_of(name, kind).items()}


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
    if domain is int and isinstance(stored, str):
        with suppress(ValueError):
            return int(stored)
    try:
        number = float(stored) if domain is int else None
        value = domain(stored if number is None else number)
    except (TypeError, ValueError, OverflowError):
        return stored
    return stored if number is not None and value != number else value


def _decode_choice(stored: Any, choices: Sequence[Any]) -> Any:
    """Return the choice that is stored as this value.

    A string that is not a choice is parsed. The result is a choice if it equals one, such as 1,
    stored as 1.0, or has the type of one, since choices can be computed from a continuous search
    coordinate.
    """
    for choice in choices:
        if str(choice) == str(stored):
            return choice
    value = stored
    if isinstance(stored, str):
        with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
            value = ast.literal_eval(stored)
        if isinstance(value, str):
            return stored
    for choice in choices:
        if choice == value and isinstance(choice, bool) == isinstance(value, bool):
            return choice
    return value if type(value) in map(type, choices) else stored


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
