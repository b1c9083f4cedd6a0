"""Where and with what a study is run, so that its results can be understood later."""

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


def describe_environment(plan: StudyPlan) -> dict[str, Any]:
    """Where and with what a study is run, and what its names stand for."""
    packages = ("ngm-tune", "torch", "ray", "optuna", "numpy", "pyarrow", "scikit-learn")
    known = plan.outlines
    compared = plan.methods
    points = {name: plan.starting_points(name) for name in plan.outlines}
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": typed_command(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "git_revision": _git_revision(),
        "versions": {name: version(name) for name in packages},
        "benchmarks": {
            name: {"title": b.title, "kind": b.kind, "tasks": b.tasks, "classes": b.classes}
            for name, b in known.items()
        },
        "methods": {
            name: {
                "title": method.title,
                "source": method.source,
                "hyperparameters": {
                    k: domain.__name__ if isinstance(domain, type) else list(domain)
                    for k, domain in plan.domains_of(name).items()
                    if isinstance(domain, type) or all(map(_is_plain, domain))
                },
                "space": {k: where._asdict() for k, where in plan.spaces[name].items()},
            }
            for name, method in compared.items()
        },
        **({"points": points} if plan.study.points_to_evaluate else {}),
    }


def _is_plain(value: Any) -> bool:
    """Whether JSON has it: what results have as a text else, stays one."""
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def _git_revision() -> str | None:
    """The commit of the checkout this code lies in, if it lies in one of its own."""
    root = Path(__file__).resolve().parents[2]
    command = ["git", "-C", str(root), "rev-parse", "--show-toplevel", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):  # no git, no repository, or no commit in it
        return None
    top, revision = found.stdout.splitlines()
    return revision if top == str(root) else None
