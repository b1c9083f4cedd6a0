"""What the README shows works as written."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from typer.main import get_command

from ngm_tune.cli import app
from ngm_tune.study.files import validate_study
from ngm_tune.study.study import Study

README = (Path(__file__).parent.parent / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_python_examples_run() -> None:
    scope: dict[str, object] = {}
    for block in blocks("python"):
        exec(block, scope)
    method = scope["rmsprop"]
    assert list(method.hyperparameters) == ["lr", "alpha"]  # type: ignore[attr-defined]
    method.build(scope["model"], lr=0.1, alpha=0.9)  # type: ignore[attr-defined]


def test_the_example_study_is_valid_and_all_keys_are_told_of() -> None:
    (study,) = (tomllib.loads(block) for block in blocks("toml") if "trials" in block)
    validate_study({"name": "example", **study}, "README.md")
    for key in Study.model_fields:
        assert key in study or f"`{key}`" in README, key


def test_commands_exist() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    for name in set(re.findall(r"ngm-tune (\w+)", "".join(blocks("sh")) + README)):
        if name not in ("RESULTS", "is", "lists", "answers", "s"):
            assert name in commands, name


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (Path(__file__).parent.parent / target).exists(), target
