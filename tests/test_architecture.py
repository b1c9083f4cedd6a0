"""Which part may import which (DESIGN: the directions may not change)."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ngm_tune

ROOT = Path(ngm_tune.__file__).parent

HEAVY = ("torch", "torchvision", "ray", "optuna", "sklearn")
FORBIDDEN = {
    "optim": ("ray", "optuna", "ngm_tune.training.loop", "ngm_tune.benchmarks"),
    "benchmarks": ("ray", "optuna", "ngm_tune.training.loop", "ngm_tune.methods"),
    "models.py": ("ray", "optuna"),
    "metrics.py": ("ray", "optuna", "torch"),
    "training.py": (
        "ray",
        "optuna",
        "ngm_tune.execution.trainable",
        "ngm_tune.execution.runner",
        "ngm_tune.methods",
    ),
    "evaluation.py": ("ray", "optuna", "ngm_tune.training.loop", "ngm_tune.methods"),
    "streams.py": ("ray", "optuna", "ngm_tune.training.loop", "ngm_tune.methods"),
    "learners": (
        "ray",
        "optuna",
        "ngm_tune.training.loop",
        "ngm_tune.methods",
        "ngm_tune.benchmarks",
    ),
    "probes.py": ("ray", "optuna", "ngm_tune.training.loop", "ngm_tune.methods"),
    "arms.py": ("ray", "ngm_tune.training.loop"),
    "opening.py": ("ray",),
    "doctor": ("ray",),
    "results.py": HEAVY,
    "pareto.py": HEAVY,
    "analysis": (
        *HEAVY,
        "ngm_tune.training.loop",
        "ngm_tune.methods",
        "ngm_tune.study.study",
        "ngm_tune.study.files",
    ),
}


def imports(path: Path) -> set[str]:
    """Every module that a source file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = ["ngm_tune", *path.relative_to(ROOT).parent.parts]
            up = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*up, *([node.module] if node.module else [])])
            found.add(module)
            found.update(f"{module}.{alias.name}" for alias in node.names)
    return found


def test_relative_imports_are_seen() -> None:
    assert "ngm_tune.analysis.loading" in imports(ROOT / "analysis" / "report" / "page.py")


@pytest.mark.parametrize("part", FORBIDDEN)
def test_import_directions(part: str) -> None:
    place = ROOT / part
    files = [place] if place.is_file() else sorted(place.glob("**/*.py"))
    assert files
    for file in files:
        for name in imports(file):
            for forbidden in FORBIDDEN[part]:
                assert not f"{name}.".startswith(f"{forbidden}."), f"{file} imports {name}"


def loaded_by(statement: str) -> set[str]:
    """Packages that a fresh interpreter has loaded after a statement."""
    code = f"{statement}\nimport sys\nprint(*{{n.partition('.')[0] for n in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import ngm_tune", {*HEAVY, "pyarrow", "altair", "typer"}),
        ("import ngm_tune.cli", {*HEAVY, "altair", "polars"}),
        ("import ngm_tune.analysis", set(HEAVY)),
        ("import ngm_tune.workspace.doctor", {"ray", "altair"}),
        (
            "from ngm_tune import NGMSGD",
            {"ray", "optuna", "altair", "pyarrow", "polars", "sklearn"},
        ),
    ],
)
def test_nothing_heavier_is_loaded_than_needed(statement: str, absent: set[str]) -> None:
    assert not loaded_by(statement) & absent
