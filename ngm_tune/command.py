"""The command that the user typed."""

from __future__ import annotations

import os
import sys

COMMAND = "NGM_TUNE_COMMAND"
"""Environment variable with the typed command, for a process that runs on the user's behalf."""


def typed_command() -> str:
    """Return the command that the user typed.

    It comes from the environment variable :data:`COMMAND` if this is set: nobody typed the command
    line of a Ray worker, and its arguments can contain secrets.
    """
    return os.environ.get(COMMAND) or " ".join(["ngm-tune", *sys.argv[1:]])
