"""Values of columns that methods share, back in the types that each method has them in.

A column has one type for all methods: fractions where another one's are whole numbers, and text
where they are choices of several types.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Domain = type | Sequence[Any]
"""What a value can be: of a type, or one of these."""


def domain_of(values: Sequence[Any]) -> Domain:
    """The type of values that have one which results have columns of; else these values."""
    kinds = {type(value) for value in values}
    only = kinds.pop()
    return list(values) if kinds or only not in (bool, int, float, str) else only


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


def restored(stored: Any, domain: Domain) -> Any:
    """A value as it was before it was stored; what cannot be of the domain stays as it is."""
    if not isinstance(domain, type):
        known = [value for value in domain if str(value) == str(stored)]
        known += [value for value in domain if value == stored]  # 1, which was stored as 1.0
        return known[0] if known else stored
    if domain is bool:
        return {"True": True, "False": False}.get(stored, stored)
    try:
        value = domain(stored)
    except (TypeError, ValueError, OverflowError):
        return stored
    return stored if domain is int and isinstance(stored, float) and value != stored else value
