"""``ngm-tune`` commands for tests: in this process without Ray, or in a subprocess."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, nullcontext, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple
from unittest.mock import patch

from ngm_tune.cli import main
from ngm_tune.cli.terminal import console
from ngm_tune.methods.registry import current_registry

PLAIN = Path(__file__).parents[1] / "plain"
"""Folder on the import path of subprocesses. It hides a package of ray[default], which users
may not have. The dashboard agent of ray[default] would also wait several seconds for a port that
another cluster uses."""


class Outcome(NamedTuple):
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


def install_methods(site: Path, source: str, *names: str) -> Path:
    """Install a package with methods as entry points into a folder.

    Args:
        site: The folder.
        source: Source of the module `own_methods`.
        names: Names of the methods in it.
    """
    (site / "own_methods.py").write_text(dedent(source))
    info = site / "own_methods-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-methods\nVersion: 1.0\n")
    entries = "".join(f"{name} = own_methods:{name}\n" for name in names)
    (info / "entry_points.txt").write_text(f"[ngm_tune.methods]\n{entries}")
    return site


@contextmanager
def with_package(site: Path) -> Iterator[None]:
    """Make the methods of a package in ``site`` available in this process."""
    path = list(sys.path)
    sys.path.insert(0, str(site))
    sys.modules.pop("own_methods", None)
    current_registry.cache_clear()
    try:
        yield
    finally:
        sys.path[:] = path
        current_registry.cache_clear()


def in_process(site: Path | None = None) -> Command:
    """Return a command that runs ``ngm-tune`` in this process, with studies on the local executor.

    Tests of Ray use :func:`in_subprocess`.
    """

    def command(*arguments: str | Path, cwd: Path | None = None) -> Outcome:
        argv = ["ngm-tune", *map(str, arguments)]
        if arguments[0] == "run":
            argv += ["--executor", "local"]
        out, err = StringIO(), StringIO()
        with (
            patch.dict(os.environ),
            patch.object(sys, "argv", argv),
            patch.object(console, "_width", 140),
            with_package(site) if site else nullcontext(),
            chdir(cwd) if cwd else nullcontext(),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            os.environ.pop("RAY_ADDRESS", None)
            try:
                main()
            except SystemExit as ended:
                code = ended.code
            if (
                current_registry().files
            ):  # of --methods: in a process of its own the command forgets them
                current_registry.cache_clear()
        return Outcome(int(code or 0), out.getvalue(), err.getvalue())

    return command


def in_subprocess(site: Path | None = None) -> Command:
    """Return a command that runs ``ngm-tune`` in a subprocess, with studies on Ray."""

    def command(*arguments: str | Path, cwd: Path | None = None) -> Outcome:
        done = subprocess.run(
            [sys.executable, "-m", "ngm_tune", *map(str, arguments)],
            env=environment(*([site] if site else [])),
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return command


def environment(*paths: Path) -> dict[str, str]:
    """Return the environment of a subprocess, with further folders to import from.

    It has no address of a Ray cluster.
    """
    return {
        **{k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"},
        "PYTHONPATH": os.pathsep.join(map(str, (*paths, PLAIN))),
        "RAY_AUTH_MODE": "disabled",
    }
