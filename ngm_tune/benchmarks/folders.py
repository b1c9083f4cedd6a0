"""The folder of datasets."""

from __future__ import annotations

import os
from pathlib import Path

from ngm_tune.paths import cache_folder, expand_home

_DATA = "NGM_TUNE_DATA"
"""Environment variable: the folder that holds datasets."""


def data_folder() -> Path:
    """Return the folder that holds datasets and receives downloads.

    Raises:
        UserError: The environment variable begins with ``~`` and the name of an unknown user.
    """
    folder = os.environ.get(_DATA)
    return Path(expand_home(folder, f"{_DATA} =")) if folder else cache_folder() / "data"
