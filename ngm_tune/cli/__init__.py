"""The command line: ``ngm-tune``."""

from __future__ import annotations

import sys

from ngm_tune.cli.app import app
from ngm_tune.errors import UserError, printable

# In the order in which help lists the commands.
# isort: off
from ngm_tune.cli import run
from ngm_tune.cli import results
from ngm_tune.cli import lists
# isort: on

__all__ = ["app", "lists", "main", "results", "run"]


def main() -> None:
    """Run the command; what the user can mend is one sentence and exit code 2."""
    try:
        app()
    except UserError as error:
        print(f"ngm-tune: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:  # of a disk, or of where the output goes
        print(f"ngm-tune: {printable(str(error))}", file=sys.stderr)
        sys.exit(2)
