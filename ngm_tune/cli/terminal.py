"""What the commands of ``ngm-tune`` share: the terminal, and options that several of them take."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ngm_tune.errors import UserError

console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
if not console.is_terminal:
    console.width = 140  # a file or pipe has no width to fit

ResultsArgument = Annotated[
    str, typer.Argument(metavar="RESULTS", help="A results directory, as `ngm-tune run` makes.")
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="The folder that datasets are in, or are downloaded to.",
        show_default="the environment variable NGM_TUNE_DATA",
    ),
]
PickOption = Annotated[
    str,
    typer.Option(
        "--pick",
        help="Which point of each front: `knee`, or the name of an objective to put first.",
    ),
]


def use_data_folder(folder: Path | None) -> None:
    """Make a folder the one that datasets are looked for in.

    Raises:
        UserError: It is not there.
    """
    if folder is None:
        return
    if not folder.is_dir():
        raise UserError(f"--data {folder}: no such folder")
    os.environ["NGM_TUNE_DATA"] = str(folder.resolve())


def counted(number: int, what: str) -> str:
    """A number of things, such as "1 trial" or "2 trials"."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def print_table(header: tuple[str, ...], rows: Iterable[Iterable[object]]) -> None:
    """Print a table."""
    table = Table(*header, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*map(str, row))
    console.print(table)
