"""Files in a directory of the local filesystem, or of any filesystem that pyarrow supports."""

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

_CLAIM_SECONDS = 2.0
"""Wait before a claim on an object store is read back, so that concurrent claims are noticed."""


def with_retry_limit(uri: str) -> str:
    """Return a URI at which Google Cloud Storage is retried for 30 seconds instead of 15 minutes.

    A study that stops because its storage is unreachable can be resumed later. Other URIs are
    returned unchanged.
    """
    query = uri.partition("?")[2]
    if not uri.startswith(("gs://", "gcs://")) or "retry_limit_seconds" in query:
        return uri
    return f"{uri}{'&' if query else '?'}retry_limit_seconds=30"


class Directory:
    """A directory whose files are written atomically: completely or not at all.

    Args:
        location: Path, or URI of a filesystem that pyarrow supports, such as s3://bucket/study.

    Raises:
        UserError: The location is empty, or its filesystem is not supported.
    """

    def __init__(self, location: str) -> None:
        if not location:
            raise UserError(
                "the location of the results directory is empty; it must be a path or a URI"
            )
        self.location = location
        try:
            if "://" in location:
                self._fs, root = fs.FileSystem.from_uri(with_retry_limit(location))
            else:
                self._fs, root = fs.LocalFileSystem(), str(location)
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(f"{location}: not a usable results location: {error}") from error
        self._root = PurePosixPath(root)

    @property
    def folder(self) -> Path | None:
        """Path of the directory on the local filesystem; None for any other filesystem."""
        return Path(self._root) if isinstance(self._fs, fs.LocalFileSystem) else None

    def create(self) -> None:
        """Create the directory.

        The parent folder of an absolute path must exist. If it is missing, a volume may not be
        mounted, and the results would be written beneath its mount point.

        Raises:
            UserError: The directory cannot be created.
        """
        folder = self.folder
        if folder and folder.is_absolute() and not folder.parent.is_dir():
            raise UserError(
                f"{self.location}: the parent folder {folder.parent} does not exist; create or "
                "mount it, or choose another directory with --results"
            )
        try:
            self._fs.create_dir(str(self._root), recursive=True)
        except (OSError, ValueError) as error:
            raise UserError(f"{self.location}: cannot be created: {error}") from error

    def has(self, name: str) -> bool:
        """Return whether a file exists.

        Raises:
            OSError: The filesystem cannot be read.
        """
        return bool(self._fs.get_file_info(self._path(name)).is_file)

    def has_entry(self, name: str) -> bool:
        """Return whether a file or a folder exists."""
        return bool(self._fs.get_file_info(self._path(name)).type != fs.FileType.NotFound)

    def make_folder(self, name: str) -> None:
        """Create a folder in the directory, with its parents."""
        self._fs.create_dir(self._path(name), recursive=True)

    def read_bytes(self, name: str) -> bytes | None:
        """Read a file; None if it does not exist."""
        try:
            with self._fs.open_input_stream(self._path(name)) as stream:
                return bytes(stream.read())
        except FileNotFoundError:
            return None

    def write_text(self, name: str, text: str) -> None:
        """Write a text file atomically, encoded as UTF-8."""
        self.write_bytes(name, text.encode())

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write a file atomically."""
        self.write_stream(name, lambda stream: stream.write(content))

    def claim(self, name: str, content: bytes) -> bool:
        """Write a file unless it exists. Return whether it was written.

        If several processes claim a name at once, exactly one succeeds on the local filesystem and
        on object stores with conditional writes. On other filesystems the method writes the file,
        waits, and returns False if another process has replaced the content meanwhile.
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
            time.sleep(_CLAIM_SECONDS)
        # If the response to a successful attempt is lost, the retry finds the object that it wrote.
        return created or self.read_bytes(name) == content

    def remove(self, name: str) -> None:
        """Delete a file if it exists."""
        with suppress(FileNotFoundError):
            self._fs.delete_file(self._path(name))

    def rename(self, name: str, new: str) -> None:
        """Rename a file."""
        self._fs.move(self._path(name), self._path(new))

    def list_files(self, folder: str = "") -> list[str]:
        """Return the names of the files in a folder, sorted; empty without such a folder."""
        return sorted(info.base_name for info in self._list(folder) if info.is_file)

    def list_folders(self, folder: str = "") -> list[str]:
        """Return the names of the entries in a folder that are not files, sorted."""
        return sorted(info.base_name for info in self._list(folder) if not info.is_file)

    def count_undecodable_names(self, folder: str = "") -> int:
        """Return the number of files in a folder whose names are not valid UTF-8.

        ngm-tune never writes such files.
        """
        if self.folder is None:
            return 0
        try:
            names = os.listdir(os.fsencode(self._path(folder)))
        except (FileNotFoundError, NotADirectoryError):
            return 0
        return sum(not _is_decodable(name) for name in names)

    def _list(self, folder: str) -> list[fs.FileInfo]:
        try:
            selector = fs.FileSelector(self._path(folder), allow_not_found=True)
            return [info for info in self._fs.get_file_info(selector) if _has_decodable_name(info)]
        except (OSError, ValueError) as error:
            if folder and isinstance(error, NotADirectoryError):
                return []
            raise UserError(f"{self.location}/{folder}: cannot be listed: {error}") from error

    def write_stream(self, name: str, write: Callable[[pa.NativeFile], object]) -> None:
        """Write a file under a temporary name, then rename it.

        The folder of the file is created if necessary, but not the directory itself: if it does not
        exist, for example because a volume is no longer mounted, writing fails.

        Args:
            name: Path of the file in the directory.
            write: Writes the content to a stream.
        """
        temporary = self._temporary_path(name)
        try:
            try:
                self._write(temporary, write)
            except FileNotFoundError:
                folder = PurePosixPath(temporary).parent
                if folder == self._root:
                    raise
                self._fs.create_dir(str(folder), recursive=False)
                self._write(temporary, write)
            self._fs.move(temporary, self._path(name))
        except BaseException:
            with suppress(OSError):  # frees the space if the disk is full
                self._fs.delete_file(temporary)
            raise

    def _write(self, temporary: str, write: Callable[[pa.NativeFile], object]) -> None:
        with self._fs.open_output_stream(temporary) as stream:
            write(stream)

    def _temporary_path(self, name: str) -> str:
        """Return a temporary path beside a file, which readers of Parquet folders ignore."""
        path = self._root / name
        return str(path.with_name(f".{path.name}.{uuid4().hex}"))

    def _path(self, name: str) -> str:
        return str(self._root / name)


def _has_decodable_name(info: fs.FileInfo) -> bool:
    try:
        return bool(info.base_name)
    except UnicodeDecodeError:
        return False


def _is_decodable(name: bytes) -> bool:
    try:
        return bool(name.decode())
    except UnicodeDecodeError:
        return False
