"""The cache of a host: files by the SHA-256 of their content, and folders made of them.

A transfer that is cut continues where it ended.  A file counts only after its hash was checked.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from typing import TYPE_CHECKING

from ovtool.core import files
from ovtool.core.errors import InputError
from ovtool.core.input_limits import parse_json
from ovtool.core.system_errors import writing
from ovtool.core.units import MIB
from ovtool.fleet.messages import MAX_BYTES, FileSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from ovtool.fleet.shared import SharedStore


SPARE_MIB = 256
"""Free disk that a transfer leaves."""
_HASH = re.compile(r"[0-9a-f]{64}")


class Cache:
    """Files and folders below one folder; one process uses a cache at a time."""

    def __init__(self, folder: Path, limit_mib: float | None = None) -> None:
        """Use a folder; beyond ``limit_mib`` the files that were used longest ago are removed."""
        self.folder, self._limit_mib = folder, limit_mib
        self._needed: frozenset[str] = frozenset()

    @property
    def free_mib(self) -> float:
        """Free disk of the cache."""
        with writing(self.folder):
            files.make_folder(self.folder)
            return shutil.disk_usage(self.folder).free / MIB

    def need(self, files: Iterable[str]) -> None:
        """Keep these files: the client that asks now needs them."""
        self._needed = frozenset(files)
        for sha256 in self._needed:
            complete, _ = self._paths(sha256)
            with contextlib.suppress(OSError):
                os.utime(complete)

    def stored(self, sha256: str) -> tuple[bool, int]:
        """Return whether a file is complete, and how many of its bytes are there."""
        complete, partial = self._paths(sha256)
        with contextlib.suppress(OSError):
            return True, complete.stat().st_size
        with contextlib.suppress(OSError):
            return False, partial.stat().st_size
        return False, 0

    def store(self, sha256: str, size: int, offset: int, content: bytes) -> tuple[bool, int]:
        """Add bytes to a file; return as :meth:`stored` does.

        Bytes that do not continue the file are ignored, so that a repeated message does no harm.

        Raises:
            InputError: The content has another hash, is larger than ``size``, or the disk is full.
        """
        _, partial = self._paths(sha256)
        done, present = self.stored(sha256)
        if done or offset != present:
            return done, present
        if offset + len(content) > size:
            raise InputError(f"file {sha256[:12]} is larger than its {size} bytes")
        if not present:
            self._make_room(size)
        if self.free_mib < SPARE_MIB + (size - offset) / MIB:
            raise InputError(
                f"{self.free_mib:.0f} MiB of disk are free, but the file needs {size / MIB:.0f} MiB"
                f" and {SPARE_MIB} MiB stay free",
                f"free disk in {self.folder}, or use another --cache",
            )
        with writing(partial):
            files.make_folder(partial.parent)
            with partial.open("ab") as stream:
                stream.write(content)
        if offset + len(content) < size:
            return False, offset + len(content)
        if not self._complete(sha256):
            raise InputError(f"file {sha256[:12]} arrived damaged: it has another hash")
        return True, size

    def take(self, sha256: str, shared: SharedStore) -> None:
        """Copy a file of a shared folder, if it is there, fits, and has its hash."""
        complete, partial = self._paths(sha256)
        size = None if complete.is_file() else shared.size(sha256)
        if size is None:
            return
        self._make_room(size)
        if self.free_mib < SPARE_MIB + size / MIB:
            return
        with writing(partial):
            files.make_folder(partial.parent)
        if shared.copy(sha256, partial):
            self._complete(sha256)
        else:
            partial.unlink(missing_ok=True)

    def _complete(self, sha256: str) -> bool:
        """Accept a whole file with its hash; remove one with another hash."""
        complete, partial = self._paths(sha256)
        if files.sha256(partial) != sha256:
            partial.unlink(missing_ok=True)
            return False
        with writing(complete):
            files.sync(partial)
            partial.replace(complete)
            files.sync(complete.parent)
        return True

    def read_list(self, sha256: str) -> FileSet:
        """Return the list of files that a file of the cache has.

        Raises:
            InputError: The file is not complete, or is not a list.
        """
        source, _ = self._paths(sha256)
        if not source.is_file() or source.stat().st_size > MAX_BYTES:
            raise InputError(f"the cache has no list of files {sha256[:12]}")
        try:
            return FileSet.model_validate(parse_json(source.read_text("utf-8")))
        except ValueError as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"not a list of files: {sha256[:12]}: {reason}") from error

    def folder_of(self, content: FileSet) -> Path:
        """Return a folder with files of the cache.

        Raises:
            InputError: A file is not complete, or changed on the disk.
        """
        listed = json.dumps(sorted(content.files.items())).encode()
        target = self.folder / "folders" / hashlib.sha256(listed).hexdigest()
        if not target.is_dir():
            with files.new_folder(target, exclusive=True) as folder:
                self._fill(folder, content.files)
        return target

    def _make_room(self, size: int) -> None:
        """Remove the files that were used longest ago, so that ``size`` bytes fit the limit.

        The folders of files are removed as well, since their links keep the space; they are made
        again when they are needed.

        Raises:
            InputError: The files of the client do not fit.
        """
        if self._limit_mib is None:
            return
        found = {p: p.stat() for p in (self.folder / "files").glob("*") if p.is_file()}
        excess = sum(s.st_size for s in found.values()) + size - self._limit_mib * MIB
        if excess <= 0:
            return
        shutil.rmtree(self.folder / "folders", ignore_errors=True)
        for path in sorted(found, key=lambda p: found[p].st_mtime):
            if excess > 0 and path.name.partition(".")[0] not in self._needed:
                path.unlink(missing_ok=True)
                excess -= found[path].st_size
        if excess > 0:
            raise InputError(
                f"the files of the sweep exceed the cache of {self._limit_mib:g} MiB",
                "start the worker with a larger --cache-mib",
            )

    def _fill(self, folder: Path, contents: Mapping[str, str]) -> None:
        for name, sha256 in contents.items():
            source, _ = self._paths(sha256)
            if not source.is_file():
                raise InputError(f"the cache has no file {sha256[:12]} ({name})")
            if files.sha256(source) != sha256:
                source.unlink(missing_ok=True)
                raise InputError(
                    f"file {sha256[:12]} ({name}) changed in the cache", "run it again"
                )
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(source, target)
            except OSError:  # a file system without hard links
                shutil.copyfile(source, target)

    def _paths(self, sha256: str) -> tuple[Path, Path]:
        """Return the paths of a complete and of a partial file."""
        if not _HASH.fullmatch(sha256):
            raise InputError(f"not a SHA-256: {sha256[:80]!r}")
        folder = self.folder / "files"
        return folder / sha256, folder / f"{sha256}.part"
