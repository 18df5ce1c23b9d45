"""The folders that ovtool uses: of results by default, of its cache, of temporary files."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from ovtool.core.errors import InputError

PREFIX = ".ovtool-"
"""Start of the names of temporary folders."""
RESULTS = {"convert": "variants", "compress": "variants", "sweep": "sweeps", "run": "reports"}
"""Folder, by verb, of the results of commands without ``--out``; each has its own folder there."""


def temporary_folder() -> Path:
    """Return the system's folder for temporary files.

    Raises:
        InputError: No such folder is writable.
    """
    try:
        return Path(tempfile.gettempdir())
    except OSError as error:
        raise no_temporary_folder() from error


def no_temporary_folder() -> InputError:
    """Return the error of a system without a writable folder for temporary files."""
    return InputError(
        "no folder for temporary files is writable", "set TMPDIR to a folder with space"
    )


def user_folder() -> Path:
    """Return the cache folder of ovtool, which may not exist yet.

    A process without a home folder, as in a container with an arbitrary user id, gets a private
    folder below the system's temporary folder.
    """
    cache = os.environ.get("XDG_CACHE_HOME")
    if cache:
        return Path(cache) / "ovtool"
    try:
        return Path.home() / ".cache" / "ovtool"
    except RuntimeError:
        return _private_folder()


def provide_home() -> None:
    """Give libraries that need a home folder a private one, in a process that has none.

    Raises:
        InputError: The private folder is not safe to use.
    """
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = str(_private_folder())


def _private_folder() -> Path:
    """Return a folder that no other user can read or prepare.

    Raises:
        InputError: It exists already, and another user owns it or can read it.
    """
    folder = temporary_folder() / f"ovtool-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    if folder.is_symlink() or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise InputError(
            f"{folder} belongs to another user, or others can read it", "set HOME to a folder"
        )
    return folder


def remedy(path: Path) -> str:
    """Return how another disk is chosen for the cache or a temporary folder; else empty."""
    if any(part.startswith(PREFIX) for part in path.parts):
        return "free space, or set TMPDIR to a folder on another disk"
    with contextlib.suppress(OSError, InputError):
        if path.is_relative_to(user_folder()):
            return "free space, or set XDG_CACHE_HOME to a folder on another disk"
    return ""
