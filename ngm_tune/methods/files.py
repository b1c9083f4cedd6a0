"""Methods in a Python file, which needs no package: ``ngm-tune run --methods my.py``."""

from __future__ import annotations

import hashlib
import linecache
import os
import re
import sys
import traceback
from dataclasses import dataclass, field
from functools import cache
from importlib.util import decode_source
from pathlib import Path
from types import ModuleType

from ngm_tune.errors import FileError
from ngm_tune.methods.method import Method


@dataclass(frozen=True)
class MethodsFile:
    """A Python file with one or more methods, as it was when it was read.

    It holds the text of the file, so it can be sent to machines that do not have the file. There
    the file can import installed packages, but no other files of its folder.

    Attributes:
        path: Absolute path of the file, for messages and tracebacks.
        source: The text of the file.
    """

    path: str
    source: str = field(repr=False)

    @classmethod
    def read(cls, path: str | Path) -> MethodsFile:
        """Read a file without executing it.

        Raises:
            FileError: The file does not exist, is not a Python file, or cannot be read.
        """
        location = Path(path).expanduser()
        if location.is_dir():
            raise FileError(str(path), "is a folder; it must be a Python file with a method")
        if location.suffix != ".py":
            raise FileError(str(path), "is not a Python file: its name must end in .py")
        try:
            source = decode_source(location.read_bytes())
        except FileNotFoundError:
            hint = f"`ngm-tune new-method {path}` writes a template"
            raise FileError(str(path), f"no such file; {hint}") from None
        except (OSError, SyntaxError, ValueError, LookupError) as error:
            raise FileError(str(path), f"cannot be read: {error}") from error
        return cls(os.path.abspath(location), source)

    @property
    def name(self) -> str:
        """Name of the file without its folder."""
        return Path(self.path).name

    @property
    def sha256(self) -> str:
        """SHA-256 of the text, encoded as UTF-8, in hexadecimal digits."""
        return hashlib.sha256(self.source.encode()).hexdigest()

    @property
    def module_name(self) -> str:
        """Name of the file's module in ``sys.modules``, the same in every process."""
        stem = re.sub(r"\W", "_", Path(self.path).stem)
        return f"ngm_tune_methods_{stem}_{self.sha256[:12]}"

    def load(self) -> dict[str, Method]:
        """Execute the file, once in each process, and return the methods at its top level.

        Returns:
            The methods by name of a variable that holds them.

        Raises:
            FileError: The file has a syntax error, or raises an exception.
        """
        variables = vars(_execute(self)).items()
        found = {name: value for name, value in variables if isinstance(value, Method)}
        first = {id(method): name for name, method in reversed(found.items())}
        return {name: method for name, method in found.items() if first[id(method)] == name}


@cache
def _execute(file: MethodsFile) -> ModuleType:
    """Execute a file as a module, whose lines tracebacks can show without the file."""
    module = ModuleType(file.module_name)
    module.__file__ = file.path
    lines = file.source.splitlines(keepends=True)
    # Without a modification time, linecache never compares the entry with a file on the disk.
    linecache.cache[file.path] = (len(file.source), None, lines, file.path)
    sys.modules[module.__name__] = module  # dataclasses and pickle look a class's module up here
    try:
        exec(compile(file.source, file.path, "exec", dont_inherit=True), vars(module))
    except SyntaxError as error:
        del sys.modules[module.__name__]
        line = f"line {error.lineno}: " if error.filename == file.path and error.lineno else ""
        raise FileError(file.path, f"{line}{type(error).__name__}: {error.msg}") from error
    except (Exception, SystemExit) as error:  # the file is code of the user
        del sys.modules[module.__name__]
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == file.path]
        line = f"line {frames[-1].lineno}: " if frames else ""
        raise FileError(file.path, f"{line}{_describe(error)}") from error
    return module


def _describe(error: BaseException) -> str:
    """Return the type and message of an exception; for an import, what can be imported."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, ModuleNotFoundError):
        text += "; the file can import installed packages only, as it is sent to workers alone"
    return text
