"""What importing a part of ngm-tune loads. Import directions are held by import-linter."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "torchvision", "ray", "optuna", "sklearn")


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
        ("import ngm_tune.study.files", {"torch", "torchvision", "ray", "sklearn", "altair"}),
        ("import ngm_tune.search.schedule", {"torch", "torchvision", "ray", "sklearn", "altair"}),
        ("import ngm_tune.workspace.lock", {*HEAVY, "altair"}),
        ("import ngm_tune.workspace.doctor", {"ray", "altair"}),
        ("import ngm_tune.execution.driver", {"ray", "altair"}),
        (
            "from ngm_tune import NGMSGD",
            {"ray", "optuna", "altair", "pyarrow", "polars", "sklearn"},
        ),
    ],
)
def test_imports_load_nothing_heavier_than_needed(statement: str, absent: set[str]) -> None:
    assert not loaded_by(statement) & absent


@pytest.mark.parametrize("command", ["--help", "studies", "benchmarks", "methods", "metrics"])
def test_listings_load_neither_torch_nor_ray(command: str) -> None:
    code = f"""
import sys
from ngm_tune.cli import main
sys.argv = ["ngm-tune", {command!r}]
try:
    main()
except SystemExit:
    pass
print("LOADED", *{{n.partition('.')[0] for n in sys.modules}})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.rpartition("LOADED")[2].split())
    assert not loaded & {"torch", "torchvision", "ray", "sklearn"}
