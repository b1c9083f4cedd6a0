"""Values of columns that methods share, back in the types that each method has them in.

A column has one type for all methods: fractions where another one's are whole numbers, and text
where they are choices of several types.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

CONFIG_PREFIX = "config_"
"""Prefix of columns with hyper-parameters."""
SEARCH_PREFIX = "search_"
"""Prefix of columns with search coordinates, where hyper-parameters were searched."""
INT64 = 2**63
"""Beyond the largest whole number that results can hold."""
Domain = type | Sequence[Any]
"""What a value can be: of a type, or one of these."""


def domain_of(values: Sequence[Any]) -> Domain:
    """The type of values that have one which results have columns of; else these values."""
    kinds = {type(value) for value in values}
    if len(kinds) == 1 and kinds <= {bool, int, float, str}:
        return kinds.pop()
    return list({str(value): value for value in values}.values())


def column_type(domains: Sequence[Domain]) -> type:
    """Of a column for values of all these domains: text, where nothing else has them all."""
    kinds = {
        kind
        for domain in domains
        for kind in ([domain] if isinstance(domain, type) else map(type, domain))
    }
    if kinds == {int, float}:
        return float
    only = kinds.pop()
    return str if kinds or only not in (bool, int, float) else only


def _one_of(values: Sequence[Any], stored: Any) -> Any:
    """That of the values, or another one of their types, that is stored so."""
    for value in values:
        if str(value) == str(stored):
            return value
    if isinstance(stored, str):
        with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
            found = ast.literal_eval(stored)  # a number or, of computed ones, a tuple
            return found if type(found) in map(type, values) else stored
        return stored
    return next((value for value in values if value == stored), stored)  # 1, stored as 1.0


def restored(stored: Any, domain: Domain) -> Any:
    """A value as it was before it was stored; what cannot be of the domain stays as it is."""
    if not isinstance(domain, type):
        return _one_of(domain, stored)
    if domain is bool:
        return {"True": True, "False": False}.get(stored, stored)
    try:
        value = domain(stored)
    except (TypeError, ValueError, OverflowError):
        return stored
    return stored if domain is int and isinstance(stored, float) and value != stored else value


def hyperparameters_of(row: Mapping[str, Any], domains: Mapping[str, Domain]) -> dict[str, Any]:
    """The hyper-parameters of a row in ``trials/``, each of a known domain as it was."""
    stored = {
        name.removeprefix(CONFIG_PREFIX): value
        for name, value in row.items()
        if name.startswith(CONFIG_PREFIX) and value is not None
    }
    return {
        name: restored(value, domains[name]) if name in domains else value
        for name, value in stored.items()
    }
