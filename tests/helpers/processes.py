"""``ngm-tune`` processes, to which tests send signals."""

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
    """Start ``ngm-tune`` in a process that saves a checkpoint after every task.

    Args:
        arguments: Command-line arguments of ``ngm-tune``.
        site: Folder to import packages from.
        options: Further arguments of Popen.
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
    """Wait until more than ``more_than`` trials have ended; fail if the process ends first."""
    wait_for(lambda: process.poll() is not None or len(list_ended_trials(location)) > more_than)
    assert process.poll() is None, process.communicate()


def list_ended_trials(location: Path) -> dict[str, int]:
    """Return the modification time of the file of each ended trial, by file name."""
    files = {}
    for path in location.glob("trials/*.parquet"):
        try:
            files[path.name] = path.stat().st_mtime_ns
        except OSError:
            continue
    return files
