"""Joining of the results of several directories into one study.

Directories can hold different methods, different benchmarks, or both. They compare if every method
was searched, trained and evaluated in the same way, on the same data of a benchmark. The reference
point is that of a benchmark: directories without a common benchmark can have different ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any, TypeVar

import polars as pl
import pyarrow as pa

from ngm_tune.errors import UserError
from ngm_tune.results.records import StoredEnvironment, StoredStudy
from ngm_tune.results.schema import KEYS, Table

from .formatting import joined
from .loaded_study import LoadedStudy
from .loading import load

_PROTOCOL = (
    *("objectives", "reference_point", "margin", "constraints"),
    *("seed", "searches", "split", "class_order", "seeds", "confirm"),
    *("trials", "sampler", "max_concurrent_trials", "racing", "early_stopping", "plateau"),
    *("iterations_per_task", "strategy", "buffer_size"),
    *("evaluation", "eval_every", "eval_dense", "eval_examples", "eval_tasks", "eval_precision"),
)
"""Keys of a study that must be equal."""

_TABLES = ("reference_point", "margin", "confirm")
"""Those whose entries are compared one by one."""

_Value = TypeVar("_Value")


class JoinedResults:
    """The tables of several results directories.

    Args:
        parts: The study of each directory. No two of them have trials of the same method on the
            same benchmark.
    """

    def __init__(self, parts: Sequence[LoadedStudy]) -> None:
        self._parts = parts

    @property
    def location(self) -> str:
        """The directories, as an enumeration."""
        return joined([part.results.location for part in self._parts])

    @property
    def left_out(self) -> dict[str, str]:
        """Why a file was skipped, by its path."""
        return {
            f"{part.results.location}/{name}": reason
            for part in self._parts
            for name, reason in part.results.left_out.items()
        }

    def read(self, table: Table, trial_ids: Iterable[str] | None = None) -> pa.Table:
        """Read a table. Every trial is read from the directory that holds it.

        The cost of a method is that of the first directory in which it was measured.

        Args:
            table: The table.
            trial_ids: The trials to read; None for all.
        """
        wanted = None if trial_ids is None else set(trial_ids)
        tables = []
        for part in self._parts:
            if table == "costs":
                tables.append(part.results.read(table))
                continue
            ids = set(part.runs["trial_id"])
            tables.append(part.results.read(table, ids if wanted is None else ids & wanted))
        rows = pa.concat_tables(tables, promote_options="permissive")
        if table != "costs":
            return rows
        return (
            pl.DataFrame(rows).unique(KEYS["costs"], keep="first", maintain_order=True).to_arrow()
        )


def load_joined(locations: Sequence[str]) -> LoadedStudy:
    """Read results directories as one study.

    Benchmarks and methods are in the order of the directories, so the first method of the first
    directory is the one that is compared.

    Args:
        locations: Paths or URIs of results directories. A single one is read as it is.

    Raises:
        UserError: A directory cannot be read (:func:`~analysis.loading.load`), or two of them do
            not compare.
    """
    parts = [load(location) for location in locations]
    if len(parts) == 1:
        return parts[0]
    for first, second in combinations(parts, 2):
        _require_comparable(first, second)
    return LoadedStudy(
        JoinedResults(parts),
        _join_studies([part.study for part in parts]),
        _join_environments(parts),
        _concatenate([part.runs for part in parts]),
        _concatenate([part.search for part in parts]),
        _concatenate([part.confirmed for part in parts]),
        _concatenate([part.references for part in parts]),
        _concatenate([part.transferred for part in parts]),
        parts,
    )


def _require_comparable(first: LoadedStudy, second: LoadedStudy) -> None:
    names = f"{first.results.location} and {second.results.location}"
    shared = sorted(_held(first) & _held(second))
    if shared:
        pairs = joined([f"{method} on {benchmark}" for benchmark, method in shared])
        raise UserError(
            f"{names} cannot be joined: both have trials of {pairs}; every method can have the "
            "trials of a benchmark in one directory only"
        )
    differences = [
        f"{key} is {_shown(values[0])} in the first and {_shown(values[1])} in the second"
        for key, values in _differences(first, second).items()
    ]
    if differences:
        raise UserError(f"{names} do not compare: {'; '.join(differences)}")


def _held(part: LoadedStudy) -> set[tuple[str, str]]:
    """Return the benchmark and the method of each trial."""
    return set(part.runs.select("benchmark", "method").iter_rows())


def _differences(first: LoadedStudy, second: LoadedStudy) -> dict[str, tuple[Any, Any]]:
    """Return the values of both studies for each key that must be equal and is not."""
    one, other = (_protocol(part) for part in (first, second))
    pairs = {key: (one.get(key), other.get(key)) for key in (*one, *other)}
    if set(first.study.benchmarks).isdisjoint(second.study.benchmarks):
        pairs = {key: pair for key, pair in pairs.items() if not key.startswith("reference_point.")}
    known = _known_facts(first), _known_facts(second)
    pairs |= {key: (value, known[1][key]) for key, value in known[0].items() if key in known[1]}
    return {key: values for key, values in pairs.items() if values[0] != values[1]}


def _protocol(part: LoadedStudy) -> dict[str, Any]:
    """Return the values that are equal in comparable studies, by key."""
    content = part.study.model_dump(include=set(_PROTOCOL))
    content["class_order"] = part.study.class_order or "drawn"
    values: dict[str, Any] = {}
    for key in _PROTOCOL:
        if key in _TABLES:
            values |= {f"{key}.{name}": value for name, value in content[key].items()}
        else:
            values[key] = content[key]
    return values | {"settings": "given" if part.has_fixed_runs else None}


def _known_facts(part: LoadedStudy) -> dict[str, Any]:
    """Return values that are equal in comparable studies if both have them, by key."""
    environment = part.environment
    spaces = {
        f"search_space.{method}.{name}": bounds.choices or [bounds.low, bounds.high]
        for method in part.methods
        for name, bounds in part.search_space(method).items()
    }
    data = {
        f"data.{name}": " and ".join(each[:16] for each in sorted(checksums))
        for name, checksums in environment.data.items()
    }
    files = {
        f"the file of {method}": "none" if record.file is None else record.file.sha256[:16]
        for method in part.methods
        if (record := environment.methods.get(method)) is not None
    }
    return (
        spaces | data | files | {f"plateaus.{name}": n for name, n in environment.plateaus.items()}
    )


def _shown(value: Any) -> str:
    return "not set" if value is None else str(value)


def _join_studies(studies: Sequence[StoredStudy]) -> StoredStudy:
    names = list(dict.fromkeys(study.name for study in studies))
    titles = {study.title for study in studies}
    settings = [study.settings for study in studies if study.settings is not None]
    return studies[0].model_copy(
        update={
            "name": " + ".join(names),
            "title": titles.pop() if len(titles) == 1 else f"Results of {joined(names)}",
            "benchmarks": _distinct(study.benchmarks for study in studies),
            "methods": _distinct(study.methods for study in studies),
            "settings": _merge(settings) if settings else None,
        }
    )


def _join_environments(parts: Sequence[LoadedStudy]) -> StoredEnvironment:
    environments = [part.environment for part in parts]
    return environments[0].model_copy(
        update={
            "benchmarks": _merge(each.benchmarks for each in environments),
            "methods": _merge(each.methods for each in environments),
            "data": _merge(each.data for each in environments),
            "plateaus": _merge(each.plateaus for each in environments),
            "exhausted": _merge_nested(each.exhausted for each in environments),
            "points": _join_points(parts),
        }
    )


def _join_points(parts: Sequence[LoadedStudy]) -> dict[str, dict[str, int]]:
    """Return the number of initial points by benchmark and method, 0 where a directory has none."""
    points = _merge_nested(part.environment.points for part in parts)
    without = _merge_nested(
        {benchmark: {method: 0}} for part in parts for benchmark, method in sorted(_held(part))
    )
    return {benchmark: without.get(benchmark, {}) | counts for benchmark, counts in points.items()}


def _distinct(lists: Iterable[Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(name for names in lists for name in names))


def _merge(mappings: Iterable[Mapping[str, _Value]]) -> dict[str, _Value]:
    """Return the entries of all mappings; of several entries with the same key, the first one."""
    merged: dict[str, _Value] = {}
    for mapping in mappings:
        merged = {**mapping, **merged}
    return merged


def _merge_nested(
    mappings: Iterable[Mapping[str, Mapping[str, _Value]]],
) -> dict[str, dict[str, _Value]]:
    """Merge mappings of mappings, with :func:`_merge` for those with the same key."""
    listed = list(mappings)
    keys = _distinct(list(mapping) for mapping in listed)
    return {key: _merge(mapping.get(key, {}) for mapping in listed) for key in keys}


def _concatenate(tables: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return the rows of all tables. Columns that a table lacks are null.

    A setting that is a number in one table and text in another one has text, as if
    all methods were in one study (:func:`ngm_tune.results.columns.column_kind`).
    """
    types: dict[str, set[pl.DataType]] = {}
    for table in tables:
        for name, kind in table.schema.items():
            types.setdefault(name, set()).add(kind)
    as_text = [name for name, kinds in types.items() if _is_mixed(kinds)]
    return pl.concat([_with_text(table, as_text) for table in tables], how="diagonal_relaxed")


def _with_text(table: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Convert columns to text, with ``True`` and ``False`` as Python writes them."""
    return table.with_columns(
        pl.Series(name, [None if x is None else str(x) for x in table[name]], dtype=pl.String)
        for name in names
        if name in table.columns
    )


def _is_mixed(kinds: set[pl.DataType]) -> bool:
    known = [kind for kind in kinds if kind != pl.Null]
    return len(known) > 1 and not all(kind.is_numeric() for kind in known)
