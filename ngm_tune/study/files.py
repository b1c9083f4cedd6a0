"""Study files: loading, overriding entries, and explaining errors."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ngm_tune.benchmarks import Custom
from ngm_tune.errors import StudyError, UserError
from ngm_tune.messages import describe_problem, dotted, locate_keys, shortened
from ngm_tune.results.legacy_keys import REMOVED_KEYS, current_key
from ngm_tune.study.builds import check_builds
from ngm_tune.study.plan import StudyPlan
from ngm_tune.study.sections import Confirm, Resources
from ngm_tune.study.shipped import shipped_names, shipped_text
from ngm_tune.study.study import Study
from ngm_tune.study.validation import validate
from ngm_tune.toml import check_depth, parse_toml

_LIST_OR_TABLE = re.compile(r"\s*(\[.*\]|\{.*\})\s*")
_KEYS = {
    "": tuple(Study.model_fields),
    "custom": tuple(Custom.model_fields),
    "resources": tuple(Resources.model_fields),
    "confirm": tuple(Confirm.model_fields),
}
"""Allowed keys of each table of the file."""


def load_study(
    source: str,
    overrides: Iterable[str] = (),
    *,
    is_started: Callable[[Study], bool] = lambda study: False,
) -> Study:
    """Read and validate a study.

    Args:
        source: Name of a study shipped with ngm-tune, or path of a TOML file.
        overrides: ``key=value`` pairs that replace entries of the file. A value that is not TOML
            is read as a string, unless it is in square brackets or braces.
        is_started: Returns whether a study was started already. Its methods were built then, so
            they are not built again, which would import torch.

    Raises:
        UserError: The study does not exist or is invalid, or an override is malformed.
    """
    origin, text = _read_source(source)
    try:
        content = parse_toml(text)
    except ValueError as error:
        raise StudyError(origin, f"not valid TOML: {error}") from error
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(source).stem).strip("-._")
    if name:
        content.setdefault("name", name)
    without_overrides = deepcopy(content)
    for override in overrides:
        _apply(content, override)
    if "name" not in content:
        raise UserError(
            f"{origin}: the file name contains no study name; add the key 'name' to the file"
        )
    try:
        return _validate_and_build(content, origin, is_started)
    except UserError:
        if content != without_overrides and _is_valid(without_overrides):
            return _validate_and_build(content, f"{origin} with --set", is_started)
        raise


def _is_valid(content: dict[str, Any]) -> bool:
    with suppress(ValueError):  # pydantic's ValidationError is one
        check_builds(validate(Study.model_validate(content)))
        return True
    return False


def _validate_and_build(
    content: dict[str, Any], origin: str, is_started: Callable[[Study], bool]
) -> Study:
    study = validate_study(content, origin)
    if not is_started(study):
        try:
            check_builds(StudyPlan.resolve(study))
        except ValueError as error:
            raise StudyError(origin, str(error)) from None
    return study


def validate_study(content: dict[str, Any], origin: str) -> Study:
    """Validate the content of a study file, without building its methods.

    Args:
        content: The content.
        origin: File or other source of the content, for messages.

    Raises:
        UserError: An entry is invalid; the message names the key, the value and the rule.
    """
    study = _parse(content, origin)
    try:
        validate(study)
    except ValueError as error:
        raise StudyError(origin, str(error)) from None
    return study


def _parse(content: dict[str, Any], origin: str) -> Study:
    try:
        return Study.model_validate(content)
    except ValidationError as error:
        raise StudyError(origin, _explain(error, content)) from None


def _read_source(source: str) -> tuple[str, str]:
    """Return the origin and text of a study: of a file if it exists, else of a shipped study."""
    path = Path(source)
    try:
        if path.is_file():
            return str(path), path.read_text(encoding="utf-8-sig")
        text = shipped_text(source) if path.name == source else None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{source}: cannot be read: {error}") from error
    if text is None:
        raise UserError(
            f"{source or 'empty name'}: neither a file nor a shipped study; the shipped studies "
            f"are {', '.join(shipped_names())}"
        )
    return f"study {source}", text


def _apply(content: dict[str, Any], override: str) -> None:
    """Apply a ``key=value`` override to the content of a study."""
    key, equals, text = override.partition("=")
    *tables, last = key.strip().split(".")
    shown = shortened(override)
    if not equals or not last or not all(tables):
        raise UserError(f"--set {shown}: expected KEY=VALUE, such as trials=4")
    try:
        parsed = parse_toml(f"value = {text}")
    except ValueError as error:
        if _LIST_OR_TABLE.fullmatch(text):  # usually the shell has removed the quotes
            raise UserError(
                f"--set {shown}: {shortened(text.strip())} is not valid TOML ({error}); put the "
                f"whole argument in single quotes, such as --set 'methods=[\"sgd\"]'"
            ) from error
        parsed = {}
    value = parsed["value"] if parsed.keys() == {"value"} else text.strip()
    table = content
    for name in tables:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise UserError(f"--set {shown}: {name} is not a table of the study")
    table[last] = value
    try:
        check_depth(content)
    except ValueError as error:
        raise UserError(f"--set {shown}: {error}") from None


def _explain(error: ValidationError, content: dict[str, Any]) -> str:
    """Explain the most specific error in one sentence: key, value and rule."""
    problems = [(locate_keys(p, content), p) for p in error.errors(include_url=False)]

    def specificity(located: tuple[list[str], ErrorDetails]) -> tuple[int, bool, bool]:
        # For a union, the deepest error or the one of the right type is about the intended member.
        # An unknown key comes before a missing one, since it can be the missing key misspelled.
        keys, problem = located
        kind = problem["type"]
        return len(keys), kind != "missing", not kind.endswith("_type")

    keys, problem = max(problems, key=specificity)
    if problem["type"] == "extra_forbidden":
        return _explain_unknown_key(".".join(keys[:-1]), keys[-1])
    if not _is_wrong_type(problem):
        return describe_problem(problem, dotted(keys))
    others = [p for path, p in problems if path == keys and _is_wrong_type(p) and p is not problem]
    return describe_problem(problem, dotted(keys), others)


def _explain_unknown_key(table: str, key: str) -> str:
    renamed = current_key(table, key)
    current = renamed or key
    if not table and current in REMOVED_KEYS:
        return (
            f"{current} was removed: {REMOVED_KEYS[current]}; results that were searched with it "
            "can be analyzed, not resumed"
        )
    allowed = _KEYS[table]
    close = difflib.get_close_matches(key, allowed, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    hint = f" (its name is now {renamed!r})" if renamed else hint
    where = f" in {table}" if table else ""
    return f"unknown key {key!r}{where}{hint}; allowed are {', '.join(allowed)}"


def _is_wrong_type(problem: ErrorDetails) -> bool:
    """Whether a value has the wrong type or is not one of the allowed literals."""
    return problem["type"].endswith("_type") or problem["type"] == "literal_error"
