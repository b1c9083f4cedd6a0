"""The ``ngm-tune`` command. Subcommands import heavy modules only when they run."""

from __future__ import annotations

from typing import Annotated

import typer

from ngm_tune import __version__

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(requested: bool) -> None:
    if requested:
        print(f"ngm-tune {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Hyper-parameter studies of NGM-SGD and its rivals in continual learning.

    A study searches the hyper-parameters of every method with equal tuning effort. Its report
    compares the trade-offs of the methods between average accuracy and the stability gap.
    """
