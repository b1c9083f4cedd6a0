"""Where and with what a study is run, so that its results can be understood later."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from ngm_tune.methods import get_method
from ngm_tune.study import Study


def describe_environment(study: Study) -> str:
    """Where and with what a study is run, and what its names stand for, as JSON."""
    packages = ("ngm-tune", "torch", "ray", "optuna", "numpy", "pyarrow", "scikit-learn")
    known = {name: study.benchmark(name) for name in study.benchmarks}
    compared = {name: get_method(name) for name in study.methods}
    content = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["ngm-tune", *sys.argv[1:]]),
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
                "space": {k: distribution._asdict() for k, distribution in method.space.items()},
            }
            for name, method in compared.items()
        },
    }
    return json.dumps(content, indent=2) + "\n"


def _git_revision() -> str | None:
    """The commit of the checkout this code lies in, if it lies in one of its own."""
    root = Path(__file__).resolve().parent.parent
    found = [
        subprocess.run(
            ["git", "-C", str(root), "rev-parse", what], capture_output=True, text=True, check=False
        ).stdout.strip()
        for what in ("--show-toplevel", "HEAD")
        if shutil.which("git")
    ]
    return found[1] if found and found[0] == str(root) else None
