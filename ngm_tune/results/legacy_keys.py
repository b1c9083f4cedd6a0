"""Keys of studies in results directories that an earlier version of ngm-tune wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_KEYS = {
    "space": "search_space",
    "points": "points_to_evaluate",
    "in_flight": "max_concurrent_trials",
    "variant": "strategy",
    "evaluate": "eval_tasks",
    "stopping": "early_stopping",
}
_KEYS_OF_TABLES = {
    "early_stopping": {"worse": "quantile", "peers": "min_peers", "tasks": "grace_tasks"},
    "plateau": {"trials": "patience", "growth": "min_improvement"},
    "racing": {"chance": "min_probability"},
    "confirm": {"top": "max_configurations"},
}


def with_current_keys(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a study's content with the keys of this version.

    Only results directories are read this way; a study file must use the current keys.

    Args:
        content: The content of ``study.toml``, or of ``study`` in ``environment.json``.
    """
    renamed = _renamed(content, _KEYS)
    for table, keys in _KEYS_OF_TABLES.items():
        if isinstance(renamed.get(table), Mapping):
            renamed[table] = _renamed(renamed[table], keys)
    return renamed


def current_key(table: str, key: str) -> str | None:
    """Return the current name of a key of an earlier version; None if it had no such key.

    Args:
        table: Current name of the table; empty for the study itself.
        key: The key.
    """
    return (_KEYS_OF_TABLES.get(table, {}) if table else _KEYS).get(key)


def _renamed(content: Mapping[str, Any], keys: Mapping[str, str]) -> dict[str, Any]:
    return {keys.get(key, key): value for key, value in content.items()}
