"""The command line as the user typed it."""

from __future__ import annotations

import os
import sys

COMMAND = "NGM_TUNE_COMMAND"
"""Environment variable: the typed command, for a process that acts on its behalf."""


def typed_command() -> str:
    """Return the command of this run.

    A worker of Ray was not typed, and its arguments can contain secrets.
    """
    return os.environ.get(COMMAND) or " ".join(["ngm-tune", *sys.argv[1:]])
