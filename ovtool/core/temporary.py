"""Temporary files and folders, whose locks show that their process lives."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from ovtool.core import places, steps
from ovtool.core.system_errors import writing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filelock import FileLock

_LOCK = re.compile(r"(?P<prefix>\.(?P<name>.+)\.[0-9a-f]{8})\.lock")
_SCRATCH = re.compile(r"(?P<prefix>\.ovtool-.+\.[0-9a-f]{8})\.tmp")
_LONGEST_NAME = 200
"""Bytes of a target's name in the names of its temporary files; the limit is 255 bytes."""
_LOCK_TIMEOUT_S = 5.0
"""Nobody else has the lock, but a file system without new files (/proc) has filelock try again."""
_cleaned: set[Path] = set()
"""Folders in which this process has removed the temporary files of dead processes."""


@contextlib.contextmanager
def scratch_folder(purpose: str) -> Iterator[Path]:
    """Yield a new private folder for temporary files, and remove it.

    Args:
        purpose: Part of its name.
    """
    with reserved(places.temporary_folder() / f"ovtool-{purpose}") as prefix:
        folder = Path(f"{prefix}.tmp")
        try:
            with writing(folder):
                folder.mkdir(mode=0o700)
                yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def reserved(target: Path) -> Iterator[Path]:
    """Yield a prefix for the names of temporary files next to ``target``.

    While the process lives, it holds the lock file ``PREFIX.lock``.  The first use of a folder by
    another process removes the files of prefixes whose lock is free.
    """
    from filelock import FileLock, Timeout

    if target.parent not in _cleaned:
        _cleaned.add(target.parent)
        if steps.board is not None:
            steps.board.add_folder(target.parent)
        remove_abandoned(target.parent)
    name = os.fsdecode(os.fsencode(target.name)[:_LONGEST_NAME])
    prefix = target.with_name(f".{name}.{uuid.uuid4().hex[:8]}")
    path = Path(f"{prefix}.lock")
    lock = FileLock(path)
    try:
        with writing(target):
            try:
                lock.acquire(timeout=_LOCK_TIMEOUT_S)
            except Timeout:
                raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK)) from None
        yield prefix
    finally:
        _release(lock, path)


def _release(lock: FileLock, path: Path) -> None:
    """Release a lock and remove its file; what fails is left to the next use of the folder."""
    with contextlib.suppress(OSError):
        lock.release()
    with contextlib.suppress(OSError):  # also of a lock that the system did not release
        _remove_lock(path)


def _remove_lock(path: Path) -> None:
    """Remove a lock file, unless temporary files of its prefix are left."""
    start = path.name.removesuffix("lock")
    if not any(p.name.startswith(start) and p != path for p in path.parent.iterdir()):
        path.unlink(missing_ok=True)


def remove_abandoned(folder: Path) -> None:
    """Remove temporary files of dead processes, and restore a folder they were about to replace."""
    from filelock import FileLock, Timeout

    with contextlib.suppress(OSError):
        names = [entry.name for entry in os.scandir(folder) if entry.name.startswith(".")]
        for match in filter(None, map(_LOCK.fullmatch, names)):
            path = folder / match[0]
            lock = FileLock(path)
            try:
                lock.acquire(timeout=0)
            except (Timeout, OSError):
                continue  # a process that lives, or of another user
            try:
                for name in names:
                    if name.startswith(f"{match['prefix']}.") and name != match[0]:
                        _clean_up(folder / name, folder / match["name"])
            finally:
                _release(lock, path)
        # A worker of a killed process may create its scratch folder again before it ends, empty.
        for match in filter(None, map(_SCRATCH.fullmatch, names)):
            if not (folder / f"{match['prefix']}.lock").exists():
                with contextlib.suppress(OSError):
                    (folder / match[0]).rmdir()


def _clean_up(left: Path, target: Path) -> None:
    """Restore a folder that a process was about to replace; remove another temporary file."""
    if left.name.endswith(".old") and not target.exists():
        if len(os.fsencode(target.name)) < _LONGEST_NAME:  # else the name is incomplete
            left.rename(target)
    elif left.is_dir() and not left.is_symlink():
        shutil.rmtree(left, ignore_errors=True)
    else:
        left.unlink(missing_ok=True)
