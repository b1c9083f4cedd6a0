"""The command line: ``ngm-tune``."""

from __future__ import annotations

import sys

from ngm_tune.cli.app import app
from ngm_tune.errors import UserError, printable

# The help lists the commands in the order of these imports.
# isort: off
from ngm_tune.cli import run
from ngm_tune.cli import results
from ngm_tune.cli import methods
from ngm_tune.cli import lists
# isort: on

__all__ = ["app", "lists", "main", "methods", "results", "run"]


def main() -> None:
    """Run the command line.

    A user error, such as a wrong value or a full disk, prints one line and exits with code 2.
    """
    try:
        app()
    except UserError as error:
        print(f"ngm-tune: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:  # from a disk or a closed output
        print(f"ngm-tune: {printable(str(error))}", file=sys.stderr)
        sys.exit(2)
