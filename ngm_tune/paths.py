"""Folders of ngm-tune, and paths as users write them."""

from __future__ import annotations

from pathlib import Path

from platformdirs import user_cache_path

from ngm_tune.errors import UserError


def cache_folder() -> Path:
    """Return the cache folder, on Linux ``ngm-tune`` in ``XDG_CACHE_HOME`` or ``~/.cache``."""
    return user_cache_path("ngm-tune", appauthor=False)


def expand_home(path: str, origin: str) -> str:
    """Replace a leading ``~`` or ``~user`` of a path by the home folder. URIs stay as they are.

    A shell does not do this within quotes, after ``=`` or in a file.

    Args:
        path: A path or URI.
        origin: The option, key or variable that has the path, for messages.

    Raises:
        UserError: The user does not exist, or has no home folder.
    """
    if not path.startswith("~"):
        return path
    try:
        return str(Path(path).expanduser())
    except RuntimeError:
        user, *_ = Path(path).parts
        raise UserError(
            f"{origin} {path}: no home folder of {user} is known; write the path "
            "without ~, or ./~ for a folder of this name"
        ) from None
