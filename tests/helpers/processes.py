"""``ngm-tune`` as a process that tests send signals to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.helpers.commands import environment
from tests.helpers.waiting import wait_for


def start_ngm_tune(
    *arguments: str | Path, site: Path | None = None, **options: Any
) -> subprocess.Popen[str]:
    """Start ``ngm-tune`` in a process that checkpoints after every task; returns the Popen.

    Args:
        arguments: What follows ``ngm-tune``.
        site: A folder to import packages from.
        options: Further options of Popen.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "ngm_tune", *map(str, arguments)],
        env=environment(*([site] if site else [])) | {"NGM_TUNE_CHECKPOINT_SECONDS": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def wait_for_trial(location: Path, process: subprocess.Popen[str], more_than: int = 0) -> None:
    """Wait until more than some trials have ended; fail if the process ends before."""
    wait_for(lambda: process.poll() is not None or len(list_ended_trials(location)) > more_than)
    assert process.poll() is None, process.communicate()


def list_ended_trials(location: Path) -> dict[str, int]:
    """Return the files of ended trials by name, with the time at which they were written."""
    files = {}
    for path in location.glob("trials/*.parquet"):
        try:
            files[path.name] = path.stat().st_mtime_ns
        except OSError:
            continue
    return files
