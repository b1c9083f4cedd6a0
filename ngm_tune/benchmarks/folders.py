"""Folders of datasets and of decoded images."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path


def cache_folder() -> Path:
    """Return the cache folder, on Linux ``ngm-tune`` in ``XDG_CACHE_HOME`` or ``~/.cache``."""
    return user_cache_path("ngm-tune", appauthor=False)


def data_folder() -> Path:
    """Return the folder that holds datasets and receives downloads."""
    folder = os.environ.get("NGM_TUNE_DATA")
    return Path(folder) if folder else cache_folder() / "data"
