"""Conditional writes to object stores (``If-None-Match: *``), which pyarrow does not offer."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pyarrow import fs

logger = logging.getLogger(__name__)

_TIMEOUT = timedelta(seconds=10)


def put_if_absent(
    filesystem: fs.FileSystem, uri: str, path: PurePosixPath, content: bytes
) -> bool | None:
    """Create an object unless one exists under the same name.

    Needs obstore (``pip install 'ngm-tune[object-store]'``), which reads credentials from the URI,
    the environment and the instance, and not from ``~/.aws``.

    Args:
        filesystem: The filesystem of the bucket.
        uri: The URI of the filesystem; its query contains the connection options.
        path: Name of the bucket, followed by the key.
        content: Content of the object.

    Returns:
        Whether the object was created; None if a conditional write is not possible.
    """
    try:
        import obstore
        from obstore.exceptions import AlreadyExistsError
    except ImportError:
        return None
    try:
        store = _open_store(filesystem, uri, path.parts[0])
        if store is None:
            return None
        obstore.put(store, str(PurePosixPath(*path.parts[1:])), content, mode="create")
    except AlreadyExistsError:
        return False
    except Exception as error:  # such as missing credentials, or a store without this feature
        logger.info("no conditional write to %s: %s", path, error)
        return None
    return True


def _open_store(filesystem: fs.FileSystem, uri: str, bucket: str) -> Any:
    """Open a bucket of S3 or Google Cloud Storage with obstore; None for other filesystems."""
    from obstore.store import GCSStore, S3Store

    parts = urlsplit(uri)
    query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    scheme, endpoint = query.get("scheme", "https"), query.get("endpoint_override")
    common: dict[str, Any] = {
        "client_options": {"allow_http": scheme == "http", "timeout": _TIMEOUT},
        "retry_config": {"max_retries": 2, "retry_timeout": _TIMEOUT},
    }
    if isinstance(filesystem, fs.GcsFileSystem):
        return None if endpoint or parts.username else GCSStore(bucket, **common)
    if not isinstance(filesystem, fs.S3FileSystem):
        return None
    if endpoint is not None:
        common["endpoint"] = endpoint if "://" in endpoint else f"{scheme}://{endpoint}"
    if parts.username and parts.password:
        common["access_key_id"] = unquote(parts.username)
        common["secret_access_key"] = unquote(parts.password)
    return S3Store(bucket, region=filesystem.region, **common)
