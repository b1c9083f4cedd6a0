"""Provenance of a study: the software, the machine and the code revision that run it."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ngm_tune.command import typed_command
from ngm_tune.study.plan import StudyPlan
from ngm_tune.study.search_spaces import Reference
from ngm_tune.workspace.method_files import describe_file

_PACKAGES = (
    *("ngm-tune", "torch", "pytorch-optimizer", "ray", "optuna"),
    *("numpy", "pyarrow", "scikit-learn"),
)


def collect_provenance(plan: StudyPlan) -> dict[str, Any]:
    """Return the content of ``environment.json`` for a study that starts now.

    It describes software and hardware, and the benchmarks, methods and search spaces that the names
    in the study stand for.
    """
    points = {benchmark: plan.count_initial_points(benchmark) for benchmark in plan.outlines}
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": typed_command(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "git_revision": _git_revision(),
        "versions": {package: version(package) for package in _PACKAGES},
        "benchmarks": {
            name: {
                "title": benchmark.title,
                "kind": benchmark.kind,
                "tasks": benchmark.tasks,
                "classes": benchmark.classes,
            }
            for name, benchmark in plan.outlines.items()
        },
        "methods": {
            name: {
                **({} if (file := describe_file(name)) is None else {"file": file}),
                "title": method.title,
                "source": method.source,
                "task_aware": method.task_aware,
                "ablation_of": list(method.ablation_of),
                "default_source": method.default_source,
                "hyperparameters": {
                    key: domain.__name__ if isinstance(domain, type) else list(domain)
                    for key, domain in plan.domains_of(name).items()
                    if isinstance(domain, type) or all(map(_is_json_value, domain))
                },
                "space": {
                    key: distribution._asdict() for key, distribution in plan.spaces[name].items()
                },
            }
            for name, method in plan.methods.items()
        },
        **({"points": points} if plan.study.points_to_evaluate else {}),
        **({"references": references} if (references := describe_references(plan)) else {}),
    }


def describe_references(plan: StudyPlan) -> dict[str, dict[str, dict[Reference, int]]]:
    """Return the numbers of the search trials that are references.

    They are stored by benchmark, method and name of the reference; without those that have none.
    """
    references = {
        benchmark: {
            method: numbers
            for method in plan.methods
            if (numbers := plan.references_of(benchmark, method))
        }
        for benchmark in plan.outlines
    }
    return {benchmark: methods for benchmark, methods in references.items() if methods}


def _is_json_value(value: Any) -> bool:
    """Return whether JSON can represent a choice; results store any other choice as text."""
    if isinstance(value, tuple | list):
        return all(map(_is_json_value, value))
    return value is None or isinstance(value, bool | int | float | str)


def _git_revision() -> str | None:
    """Return the commit of the git checkout whose root contains this package; None without one."""
    root = Path(__file__).resolve().parents[2]
    command = ["git", "-C", str(root), "rev-parse", "--show-toplevel", "HEAD"]
    try:
        process = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):  # no git, no repository, or no commit
        return None
    top, revision = process.stdout.splitlines()
    return revision if top == str(root) else None
