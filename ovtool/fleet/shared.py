"""A folder or object store that the client and the hosts see: files by their SHA-256.

The client puts the files of a sweep there once, instead of sending them to each host; a host takes
what it has not, and checks the hash.  What the store lacks is sent as without one.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, NoReturn

from ovtool.core.errors import InputError
from ovtool.core.registry import missing_package

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class SharedStore:
    """Files below a URL of fsspec, such as ``file:///mnt/models`` or ``s3://bucket/models``."""

    def __init__(self, url: str) -> None:
        """Open a store.

        Raises:
            InputError: The URL is not valid, or the store is not reached.
            MissingDependencyError: The package of its protocol is not installed.
        """
        try:
            from fsspec.core import url_to_fs

            self._url = url
            self._system, root = url_to_fs(url)
        except ModuleNotFoundError as error:
            raise missing_package("ovtool fleet", error, "fleet") from error
        except ImportError as error:  # fsspec names the package of a protocol
            raise InputError(f"shared folder {url}: {error}", "install that package") from error
        except Exception as error:  # noqa: BLE001 - of any package
            self._fail(error)
        self._root = str(root).rstrip("/")

    def size(self, sha256: str) -> int | None:
        """Return the size of a file; None if it is not there, or the store is not reached."""
        try:
            return int(self._system.info(self._path(sha256))["size"])
        except Exception:  # noqa: BLE001 - of any package; the file is sent then
            return None

    def copy(self, sha256: str, target: Path) -> bool:
        """Copy a file, whose hash is not checked; return whether it worked."""
        try:
            self._system.get_file(self._path(sha256), str(target))
        except Exception:  # noqa: BLE001 - of any package; the file is sent then
            return False
        return True

    def put(self, paths: Mapping[str, Path]) -> int:
        """Add files, by their SHA-256, that are not there in their size; return their number.

        Raises:
            InputError: The store is not writable.
        """
        missing = {s: p for s, p in paths.items() if self.size(s) != p.stat().st_size}
        try:
            self._system.makedirs(self._root, exist_ok=True)
            for sha256, path in missing.items():
                partial = f"{self._path(sha256)}.{uuid.uuid4().hex}"
                self._system.put_file(str(path), partial)
                self._system.mv(partial, self._path(sha256))
        except Exception as error:  # noqa: BLE001 - of any package
            self._fail(error)
        return len(missing)

    def _path(self, sha256: str) -> str:
        return f"{self._root}/{sha256}"

    def _fail(self, error: Any) -> NoReturn:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(
            f"shared folder {self._url}: {reason}", "use a URL of fsspec, or an absolute path"
        ) from error
