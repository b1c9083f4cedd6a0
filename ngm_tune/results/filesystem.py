"""Files in one place: a folder, or any filesystem that pyarrow knows."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from uuid import uuid4

import pyarrow as pa
from pyarrow import fs

from ngm_tune.errors import UserError
from ngm_tune.results.conditional_put import put_if_absent

_MOMENT = 2.0
"""Seconds that claims on an object store at the same time may lie apart."""


def with_retry_limit(uri: str) -> str:
    """The same place, but Google's library gives up on it after half a minute, not a quarter hour.

    A study goes on from there when its storage can be reached again.
    """
    query = uri.partition("?")[2]
    if not uri.startswith(("gs://", "gcs://")) or "retry_limit_seconds" in query:
        return uri
    return f"{uri}{'&' if query else '?'}retry_limit_seconds=30"


class Directory:
    """A directory whose files are written whole or not at all.

    Args:
        location: A path, or a URI of any filesystem that pyarrow knows, such as s3://bucket/study.

    Raises:
        UserError: It is none of these.
    """

    def __init__(self, location: str) -> None:
        if not location:
            raise UserError("the name of the results directory is empty")
        self.location = location
        try:
            if "://" in location:
                self._fs, root = fs.FileSystem.from_uri(with_retry_limit(location))
            else:
                self._fs, root = fs.LocalFileSystem(), str(location)
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(f"{location}: no usable results location: {error}") from error
        self._root = PurePosixPath(root)

    @property
    def folder(self) -> Path | None:
        """The directory, where it is one of this machine's filesystem."""
        return Path(self._root) if isinstance(self._fs, fs.LocalFileSystem) else None

    def create(self) -> None:
        """Make the directory.

        A parent is only made where the location is relative: a missing one of an absolute path may
        be a volume that is not mounted, and the results would end up beneath it.

        Raises:
            UserError: It cannot be made.
        """
        folder = self.folder
        if folder and folder.is_absolute() and not folder.parent.is_dir():
            raise UserError(
                f"{self.location}: there is no folder {folder.parent} to make it in; mount or "
                "make that first, or choose another directory with --results"
            )
        try:
            self._fs.create_dir(str(self._root), recursive=True)
        except (OSError, ValueError) as error:
            raise UserError(f"{self.location}: cannot be made: {error}") from error

    def has(self, name: str) -> bool:
        """Whether there is such a file.

        Raises:
            OSError: That cannot be told.
        """
        return bool(self._fs.get_file_info(self._path(name)).is_file)

    def has_any(self, name: str) -> bool:
        """Whether there is a file or folder of a name."""
        return bool(self._fs.get_file_info(self._path(name)).type != fs.FileType.NotFound)

    def make_folder(self, name: str) -> None:
        """Make a folder of the directory, and those that it is in."""
        self._fs.create_dir(self._path(name), recursive=True)

    def read_bytes(self, name: str) -> bytes | None:
        """What a file holds; None if there is none."""
        try:
            with self._fs.open_input_stream(self._path(name)) as stream:
                return bytes(stream.read())
        except FileNotFoundError:
            return None

    def write_text(self, name: str, text: str) -> None:
        """Write a text file of the directory, whole or not at all."""
        self.write_bytes(name, text.encode())

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write a file of the directory, whole or not at all."""
        self.write_by(name, lambda stream: stream.write(content))

    def claim(self, name: str, content: bytes) -> bool:
        """Write a file unless one exists under the same name; whether it was written.

        Of several processes that claim a name at once, one succeeds: a folder and an object store
        with conditional writes guarantee it. Without these a claim waits for a moment, and is lost
        if another process has replaced its content meanwhile.
        """
        if self.folder is None:
            return self._claim_object(name, content)
        try:
            with Path(self._path(name)).open("xb") as file:
                file.write(content)
        except FileExistsError:
            return False
        return True

    def _claim_object(self, name: str, content: bytes) -> bool:
        if self.has(name):
            return False
        created = put_if_absent(self._fs, self.location, self._root / name, content)
        if created is None:
            self.write_bytes(name, content)
            time.sleep(_MOMENT)
        # An object that exists already is our own if the response to the first attempt was lost.
        return created or self.read_bytes(name) == content

    def remove(self, name: str) -> None:
        """Remove a file that nobody needs any longer, if it is there."""
        with suppress(FileNotFoundError):
            self._fs.delete_file(self._path(name))

    def rename(self, name: str, new: str) -> None:
        """Give a file another name."""
        self._fs.move(self._path(name), self._path(new))

    def files(self, folder: str = "") -> list[str]:
        """Names of the files in a folder of the directory, sorted; none if it is a file."""
        return sorted(info.base_name for info in self._list(folder) if info.is_file)

    def folders(self, folder: str = "") -> list[str]:
        """Names of what is no file in a folder of the directory, sorted."""
        return sorted(info.base_name for info in self._list(folder) if not info.is_file)

    def nameless(self, folder: str = "") -> int:
        """Files in a folder whose names are no text, which are none of ours."""
        if self.folder is None:
            return 0
        try:
            names = os.listdir(os.fsencode(self._path(folder)))
        except (FileNotFoundError, NotADirectoryError):
            return 0
        return sum(not _is_text(name) for name in names)

    def _list(self, folder: str) -> list[fs.FileInfo]:
        try:
            selector = fs.FileSelector(self._path(folder), allow_not_found=True)
            return [info for info in self._fs.get_file_info(selector) if _has_name(info)]
        except (OSError, ValueError) as error:
            if folder and isinstance(error, NotADirectoryError):
                return []
            raise UserError(f"{self.location}/{folder}: cannot be listed: {error}") from error

    def write_by(self, name: str, write: Callable[[pa.NativeFile], object]) -> None:
        """Have a file written under another name, then give it its own.

        Its folder is made in the results directory, and never that itself: where it is gone, as
        with a volume that is no longer mounted, writing fails.
        """
        draft = self._draft(name)
        try:
            try:
                self._write(draft, write)
            except FileNotFoundError:
                folder = PurePosixPath(draft).parent
                if folder == self._root:
                    raise
                self._fs.create_dir(str(folder), recursive=False)
                self._write(draft, write)
            self._fs.move(draft, self._path(name))
        except BaseException:
            with suppress(OSError):  # it may take up the last space on a full disk
                self._fs.delete_file(draft)
            raise

    def _write(self, draft: str, write: Callable[[pa.NativeFile], object]) -> None:
        with self._fs.open_output_stream(draft) as stream:
            write(stream)

    def _draft(self, name: str) -> str:
        """A name beside ``name`` that readers of Parquet folders pass over."""
        path = self._root / name
        return str(path.with_name(f".{path.name}.{uuid4().hex}"))

    def _path(self, name: str) -> str:
        return str(self._root / name)


def _has_name(info: fs.FileInfo) -> bool:
    try:
        return bool(info.base_name)
    except UnicodeDecodeError:
        return False


def _is_text(name: bytes) -> bool:
    try:
        return bool(name.decode())
    except UnicodeDecodeError:
        return False
