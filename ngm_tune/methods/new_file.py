"""Start a file with a method of one's own, from a template."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from shlex import quote

from ngm_tune.errors import FileError
from ngm_tune.methods.registry import current_registry
from ngm_tune.results.ids import is_like_repetition

_NAME, _TITLE, _FILE = '"my-method"', '"My method"', "FILE"


def write_template(path: str) -> str:
    """Write a file with a working method, named after the file.

    Returns:
        The name of the method.

    Raises:
        FileError: The file exists, cannot be written, or is not named as a Python file.
    """
    location = Path(path).expanduser()
    if location.suffix != ".py":
        raise FileError(path, "is not the name of a Python file: it must end in .py")
    name = _method_name(location.stem)
    title = re.sub(r"[-_]+", " ", name)
    template = resources.files("ngm_tune.methods").joinpath("template.py").read_text("utf-8")
    text = template.replace(_NAME, f'"{name}"').replace(_FILE, quote(path))
    text = text.replace(_TITLE, f'"{title[0].upper()}{title[1:]}"')
    try:
        with location.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise FileError(path, "exists; choose another name, nothing was written") from None
    except OSError as error:
        raise FileError(path, f"cannot be written: {error.strerror}") from error
    return name


def _method_name(stem: str) -> str:
    """Return a name that no method has, from the name of a file."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-_").lower()
    if name in ("", "my"):
        return "my-method"
    is_taken = name in current_registry().methods or is_like_repetition(name)
    return f"my-{name}" if is_taken else name
