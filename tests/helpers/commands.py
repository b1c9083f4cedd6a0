"""``ngm-tune`` as tests call it: in this process without Ray, or in a process of its own."""

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
from ngm_tune.methods import methods

PLAIN = Path(__file__).parents[1] / "plain"
"""On the path of subprocesses, so that Ray is what users have. The agent of Ray's dashboard, which
clusters of tests have for their jobs, would also wait seconds for a port where another one runs."""


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


def install_methods(site: Path, source: str, *names: str) -> Path:
    """Make a folder to import from with a package that has methods as entry points."""
    (site / "own_methods.py").write_text(dedent(source))
    info = site / "own_methods-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-methods\nVersion: 1.0\n")
    entries = "".join(f"{name} = own_methods:{name}\n" for name in names)
    (info / "entry_points.txt").write_text(f"[ngm_tune.methods]\n{entries}")
    return site


@contextmanager
def with_package(site: Path) -> Iterator[None]:
    """Have the methods of a package in this process."""
    path = list(sys.path)
    sys.path.insert(0, str(site))
    sys.modules.pop("own_methods", None)
    methods.cache_clear()
    try:
        yield
    finally:
        sys.path[:] = path
        methods.cache_clear()


def in_process(site: Path | None = None) -> Command:
    """Return ``ngm-tune`` in this process; studies run on the local executor.

    A test that is about Ray uses :func:`in_subprocess`.
    """

    def command(*arguments: str | Path, cwd: Path | None = None) -> Outcome:
        typed = list(map(str, arguments))
        if typed[0] == "run":
            typed += ["--executor", "local"]
        out, err = StringIO(), StringIO()
        with (
            patch.dict(os.environ),
            patch.object(sys, "argv", ["ngm-tune", *typed]),
            patch.object(console, "_width", 140),
            with_package(site) if site else nullcontext(),
            chdir(cwd) if cwd else nullcontext(),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            os.environ.pop("RAY_ADDRESS", None)
            try:
                main()
            except SystemExit as stop:
                code = stop.code
        return Outcome(int(code or 0), out.getvalue(), err.getvalue())

    return command


def in_subprocess(site: Path | None = None) -> Command:
    """Return ``ngm-tune`` in a process of its own, as users type it; studies run on Ray."""

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
    """Return the environment of a subprocess: ours, hermetic, with more folders to import from."""
    return {
        **{k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"},
        "PYTHONPATH": os.pathsep.join(map(str, (*paths, PLAIN))),
        "RAY_AUTH_MODE": "disabled",
    }
