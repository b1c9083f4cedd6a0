"""Files with methods of a study: copied into its results, and not changed once they have trials."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ngm_tune.errors import UserError
from ngm_tune.messages import counted
from ngm_tune.methods.files import MethodsFile
from ngm_tune.methods.registry import current_registry
from ngm_tune.results.directory import METHODS, Results
from ngm_tune.results.ids import parse_run
from ngm_tune.results.schema import Status
from ngm_tune.study.plan import StudyPlan

_PACKAGE = "an installed package"


def describe_file(method: str) -> dict[str, str] | None:
    """Return name, hash and copy of the file of a method; None if it comes from a package."""
    file = current_registry().file_of(method)
    if file is None:
        return None
    return {"name": file.name, "sha256": file.sha256, "copy": copy_of(file)}


def copy_of(file: MethodsFile) -> str:
    """Return the path of the copy of a file, relative to the results directory.

    Files with the same name, and versions of a file, have different copies.
    """
    return f"{METHODS}/{file.name.removesuffix('.py')}.{file.sha256[:12]}.py"


def require_same_files(
    plan: StudyPlan,
    results: Results,
    environment: Mapping[str, Any],
    *,
    retry_failed: bool = False,
) -> list[str]:
    """Check that no method with trials has changed since the study was last run.

    Args:
        plan: The plan of the study.
        results: The results directory.
        environment: The content of ``environment.json``.
        retry_failed: Whether failed trials are re-run, so that they do not count.

    Returns:
        The methods that have changed and have no trials.

    Raises:
        UserError: A method with trials comes from another file, or from another version of its
            file.
    """
    recorded = environment.get("methods", {})
    changed = [
        method
        for method in plan.methods
        if method in recorded
        and _hash(recorded[method].get("file")) != _hash(describe_file(method))
    ]
    for method in changed:
        if count := _count_trials(results, method, retry_failed=retry_failed):
            stored, current = recorded[method].get("file"), current_registry().file_of(method)
            then = _PACKAGE if stored is None else f"{results.location}/{_copy(stored)}"
            now = _PACKAGE if current is None else current.path
            raise UserError(
                f"{results.location}: {counted(count, 'run')} of {method} used the method in "
                f"{then}, which is not the same as in {now}; restore it, give the changed method "
                "another name, or choose another directory with --results"
            )
    return changed


def require_files(results: Results) -> None:
    """Check that the files of the methods of a results directory are given.

    Raises:
        UserError: A file is not given; the message names it and its copy.
    """
    recorded: Any = {}
    with suppress(UserError, OSError):  # damage is reported elsewhere
        recorded = results.read_environment().get("methods", {})
    for method, record in recorded.items() if isinstance(recorded, dict) else ():
        file = record.get("file") if isinstance(record, dict) else None
        if isinstance(file, dict) and method not in current_registry().methods:
            raise UserError(
                f"{results.location}: its method {method} is in {file.get('name')}, which must be "
                f"given with --methods; {results.location}/{_copy(file)} is a copy"
            )


def write_copies(plan: StudyPlan, results: Results) -> None:
    """Write a copy of the file of each method that comes from a file, unless it exists."""
    for method in plan.methods:
        file = current_registry().file_of(method)
        if file is not None and not results.has(copy_of(file)):
            results.write_text(copy_of(file), file.source)


def _hash(description: Any) -> Any:
    return None if description is None else description.get("sha256")


def _copy(description: Mapping[str, Any]) -> str:
    return str(description.get("copy", description.get("name")))


def _count_trials(results: Results, method: str, *, retry_failed: bool) -> int:
    """Return the number of files in ``trials/`` with results of a method."""
    count = 0
    for name in results.list_table_files("trials"):
        trial = parse_run(name.removesuffix(".parquet"))
        if trial is not None and trial.method == method:
            count += not (retry_failed and _has_failed(results, name))
    return count


def _has_failed(results: Results, name: str) -> bool:
    with suppress(UserError, OSError):  # damaged files are reported when the study is read
        return set(results.read_file("trials", name)["status"].to_pylist()) == {Status.FAILED}
    return False
