"""Renamed and removed keys of studies, for results directories of earlier versions of ngm-tune."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ngm_tune.results.run_seeds import MAX_SEEDS

_KEYS = {
    "space": "search_space",
    "points": "points_to_evaluate",
    "in_flight": "max_concurrent_trials",
    "variant": "strategy",
    "evaluate": "eval_tasks",
    "stopping": "early_stopping",
}
_KEYS_OF_TABLES = {
    "confirm": {"top": "max_configurations"},
}

REMOVED_KEYS = {
    "racing": "at equal compute one seed per trial finds better fronts",
    "plateau": "at equal compute a fixed number of trials finds better fronts",
    "early_stopping": "at equal compute it finds no measurably better fronts",
}
"""Why each removed key was removed."""

_SEEDS_PER_STUDY = 20_000
"""Distance between the first run seeds of studies whose ``seed`` differs by one, in the versions
that had the key ``split`` and no repetitions. Before them, it was 0."""


def with_current_keys(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a study with the current names of its keys.

    Only results directories can have former keys. A study file must use the current ones.

    Args:
        content: The content of ``study.toml``, or of ``study`` in ``environment.json``.
    """
    renamed = _rename_keys(content, _KEYS)
    for table, keys in _KEYS_OF_TABLES.items():
        if isinstance(renamed.get(table), Mapping):
            renamed[table] = _rename_keys(renamed[table], keys)
    if precedes_repetitions(content):
        if renamed.get("seed") and type(seeds := renamed.get("seeds")) is int:
            first = renamed["seed"] * _SEEDS_PER_STUDY if "split" in renamed else 0
            renamed["seeds"] = list(range(first, first + min(seeds, MAX_SEEDS)))
        renamed = {"searches": 1, "split": "fixed", "class_order": "paper"} | renamed
        for key in ("confirm", "split") if "settings" in renamed else ():
            renamed.pop(key, None)  # defaults of then, without effect on fixed runs
    return renamed


def precedes_repetitions(content: Mapping[str, Any]) -> bool:
    """Whether a version of ngm-tune that did not repeat searches wrote the content of a study.

    It confirmed at most ``confirm.max_configurations`` configurations of each front, and none
    behind it.
    """
    # ngm-tune writes every key with its default, such as probe_every.
    return "probe_every" in content and "searches" not in content


def current_key(table: str, key: str) -> str | None:
    """Return the current name of a renamed key; None if the key was not renamed.

    Args:
        table: Current name of the table; empty for the study itself.
        key: The former name of the key.
    """
    return (_KEYS_OF_TABLES.get(table, {}) if table else _KEYS).get(key)


def _rename_keys(content: Mapping[str, Any], keys: Mapping[str, str]) -> dict[str, Any]:
    return {keys.get(key, key): value for key, value in content.items()}
