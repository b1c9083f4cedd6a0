"""Studies as files: reading them, changing entries of them, and saying what is wrong with them."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ngm_tune.benchmarks import Custom
from ngm_tune.errors import StudyError, UserError
from ngm_tune.messages import describe_problem, dotted, locate_keys
from ngm_tune.results.legacy_keys import current_key
from ngm_tune.study.sections import Confirm, EarlyStopping, Plateau, Racing, Resources
from ngm_tune.study.shipped import shipped_names, shipped_text
from ngm_tune.study.study import Study
from ngm_tune.study.validation import validate

_LIST_OR_TABLE = re.compile(r"\s*(\[.*\]|\{.*\})\s*")
_KEYS = {
    "": tuple(Study.model_fields),
    "custom": tuple(Custom.model_fields),
    "resources": tuple(Resources.model_fields),
    "confirm": tuple(Confirm.model_fields),
    "racing": tuple(Racing.model_fields),
    "early_stopping": tuple(EarlyStopping.model_fields),
    "plateau": tuple(Plateau.model_fields),
}
"""Allowed keys, by table of the file."""


def load_study(source: str, overrides: Iterable[str] = ()) -> Study:
    """Read and validate a study.

    Args:
        source: Name of a study shipped with ngm-tune, or path of a TOML file.
        overrides: ``key=value`` pairs that replace entries of the file; a value is TOML, or a plain
            string; but what looks like a list or a table must be one.

    Raises:
        UserError: There is no such study, or something in it is not allowed.
    """
    origin, text = _read_source(source)
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise StudyError(origin, f"not valid TOML: {error}") from error
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(source).stem).strip("-._")
    if name:
        content.setdefault("name", name)
    as_it_stands = deepcopy(content)
    for override in overrides:
        _apply(content, override)
    if "name" not in content:
        raise UserError(f"{origin}: the file's own name gives the study none; add name = ... to it")
    try:
        return validate_study(content, origin)
    except UserError:
        if content != as_it_stands and _is_valid(as_it_stands):
            return validate_study(content, f"{origin} with --set")
        raise


def _is_valid(content: dict[str, Any]) -> bool:
    with suppress(ValueError):  # pydantic's ValidationError is one
        validate(Study.model_validate(content))
        return True
    return False


def validate_study(content: dict[str, Any], origin: str) -> Study:
    """The study that ``content`` describes; errors name ``origin``, key, value and the rule."""
    study = _parsed(content, origin)
    try:
        validate(study)
    except ValueError as error:
        raise StudyError(origin, str(error)) from None
    return study


def _parsed(content: dict[str, Any], origin: str) -> Study:
    try:
        return Study.model_validate(content)
    except ValidationError as error:
        raise StudyError(origin, _sentence(error, content)) from None


def _read_source(source: str) -> tuple[str, str]:
    """Return where a study is and its text: a file if one exists, or a shipped study."""
    path = Path(source)
    try:
        if path.is_file():
            return str(path), path.read_text(encoding="utf-8-sig")
        text = shipped_text(source) if path.name == source else None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{source}: cannot be read: {error}") from error
    if text is None:
        raise UserError(
            f"{source or 'no name'}: neither a file nor a shipped study; the shipped studies are "
            f"{', '.join(shipped_names())}"
        )
    return f"study {source}", text


def _apply(content: dict[str, Any], override: str) -> None:
    """Put one ``key=value`` of the command line into a study's content."""
    key, equals, text = override.partition("=")
    *tables, last = key.strip().split(".")
    if not equals or not last or not all(tables):
        raise UserError(f"--set {override}: expected KEY=VALUE, such as trials=4")
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError) as error:
        if _LIST_OR_TABLE.fullmatch(text):  # mostly one whose quotes a shell took away
            raise UserError(
                f"--set {override}: {text.strip()} is no TOML ({error}); put all of it into single "
                f"quotes, such as --set 'methods=[\"sgd\"]'"
            ) from error
        parsed = {}
    value = parsed["value"] if parsed.keys() == {"value"} else text.strip()
    table = content
    for name in tables:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise UserError(f"--set {override}: {name} is no table of the study")
    table[last] = value


def _sentence(error: ValidationError, content: dict[str, Any]) -> str:
    """What is wrong, as one sentence: key, value and what is allowed."""
    # Of several, the one deepest in the file: for a union it is the member that was meant; or the
    # one whose type is right. What is unknown before what is missing: it may be that, mistyped.
    problems = [(locate_keys(p, content), p) for p in error.errors(include_url=False)]

    def telling(found: tuple[list[str], ErrorDetails]) -> tuple[int, bool, bool]:
        place, problem = found
        kind = problem["type"]
        return len(place), kind != "missing", not kind.endswith("_type")

    place, problem = max(problems, key=telling)
    if problem["type"] == "extra_forbidden":
        table, last = ".".join(place[:-1]), place[-1]
        keys = _KEYS[table]
        renamed = current_key(table, last)
        close = difflib.get_close_matches(last, keys, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        hint = f" (its name is now {renamed!r})" if renamed else hint
        where = f" in {table}" if table else ""
        return f"unknown key {last!r}{where}{hint}; allowed are {', '.join(keys)}"
    others = [p for where, p in problems if where == place and _is_of_kind(p) and p is not problem]
    return describe_problem(problem, dotted(place), others if _is_of_kind(problem) else ())


def _is_of_kind(problem: ErrorDetails) -> bool:
    """Whether a value is of another kind than it should be."""
    return problem["type"].endswith("_type") or problem["type"] == "literal_error"
