"""The terminal, and the arguments and options that several commands share."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ngm_tune.errors import UserError

console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
if not console.is_terminal:
    console.width = 140  # a file or pipe has no width

ResultsArgument = Annotated[
    str, typer.Argument(metavar="RESULTS", help="A results directory of `ngm-tune run`.")
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="The folder of the datasets; missing datasets are downloaded to it.",
        show_default="the environment variable NGM_TUNE_DATA",
    ),
]
MethodsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--methods",
        metavar="FILE",
        help="A Python file with methods of your own, which `ngm-tune new-method` starts; can be "
        "repeated.",
    ),
]
SelectOption = Annotated[
    str,
    typer.Option(
        "--select",
        metavar="CRITERION",
        help="The configuration of each method: `knee`, the name of the objective in which it is "
        "best, or a bound such as `avg_acc >= 0.94`, under which it is best in the other one.",
    ),
]


class _StderrHandler(logging.Handler):
    """Writes records to the current ``sys.stderr``, which the live display replaces."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):
            print(self.format(record), file=sys.stderr)


@contextmanager
def log_to_stderr(*, verbose: bool) -> Iterator[None]:
    """Write the log of ngm_tune to stderr within the context.

    Args:
        verbose: Write records from INFO upwards, and otherwise from WARNING upwards.
    """
    logger = logging.getLogger("ngm_tune")
    handler = _StderrHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s: %(message)s"))
    former_level = logger.level
    logger.setLevel(logging.INFO if verbose else logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(former_level)


def use_data_folder(folder: Path | None) -> None:
    """Use a folder for datasets in this process; None leaves the folder unchanged.

    Raises:
        UserError: The folder does not exist.
    """
    if folder is None:
        return
    if not folder.is_dir():
        raise UserError(f"--data {folder}: no such folder")
    os.environ["NGM_TUNE_DATA"] = str(folder.resolve())


def use_methods(paths: Iterable[str] | None) -> list[str]:
    """Register the methods of Python files in this process, and return their names.

    Raises:
        UserError: A file cannot be used, or has no method.
    """
    if not paths:
        return []
    from ngm_tune.methods.files import MethodsFile
    from ngm_tune.methods.registry import current_registry

    files = [MethodsFile.read(path) for path in paths]
    return [method.name for file in files for method in current_registry().add_file(file)]


def print_table(header: tuple[str, ...], rows: Iterable[Iterable[object]]) -> None:
    """Print rows as a table without borders."""
    table = Table(*header, box=None, pad_edge=False, header_style="bold")
    table.columns[0].no_wrap = True  # it has names, which are typed as they are
    for row in rows:
        table.add_row(*map(str, row))
    console.print(table)
