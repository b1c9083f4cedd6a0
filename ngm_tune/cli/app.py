"""The ``ngm-tune`` command itself; each subcommand imports what it needs when it runs."""

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


def _print_version(wanted: bool) -> None:
    if wanted:
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

    A study finds, for every method and at equal effort, the trade-offs between average accuracy
    and the stability gap; its report draws their Pareto fronts.
    """
