"""Writing so that a crash leaves either the old file or the new one, and hashing."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from ovtool.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def user_folder() -> Path:
    """Return the folder in which ovtool keeps what it made for a user; it may not be there yet."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "ovtool"


def sha256(*paths: Path) -> str:
    """Return the SHA-256 of the contents of the files, one after another, in hexadecimal."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def existing_file(path: str | Path, what: str) -> Path:
    """Return the path of a non-empty file.

    Raises:
        InputError: There is no such file, it is a folder, or it is empty.
    """
    found = Path(path)
    if not found.exists():
        raise InputError(f"{what} not found: {found}")
    if not found.is_file():
        raise InputError(f"{what} is not a file: {found}")
    if found.stat().st_size == 0:
        raise InputError(f"{what} is empty: {found}")
    return found


@contextlib.contextmanager
def new_folder(target: Path, replace: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside ``target`` that takes its name if the block succeeds.

    Raises:
        InputError: ``target`` exists and ``replace`` is not set, or the disk is full or read-only.
    """
    if target.exists() and not replace:
        raise InputError(f"already there: {target}", "give another --out, or --force to replace it")
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.tmp")
    with writing(target):
        temporary.mkdir(parents=True)
    try:
        with writing(target):
            yield temporary
            if target.exists():
                old = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.old")
                target.rename(old)
                temporary.rename(target)
                shutil.rmtree(old)
            else:
                temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_file(target: Path, write: Callable[[Path], object]) -> Path:
    """Let ``write`` make a file under a temporary name, then give it its own.

    Raises:
        InputError: The folder cannot be made, or the disk is full or read-only.
    """
    temporary = target.with_name(f".{target.stem}.{uuid.uuid4().hex[:8]}.tmp{target.suffix}")
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(temporary)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    return target


def write_text(target: Path, content: str) -> Path:
    """Write UTF-8 text, as :func:`write_file` does."""
    return write_file(target, lambda path: path.write_text(content, encoding="utf-8"))


@contextlib.contextmanager
def writing(target: Path) -> Iterator[None]:
    """Turn what an operating system says of a full or read-only disk into one clear line."""
    try:
        yield
    except OSError as error:
        reasons = {
            errno.ENOSPC: "the disk is full",
            errno.EDQUOT: "the disk quota is used up",
            errno.EFBIG: "the file is too large for the disk",
            errno.EROFS: "the disk is read-only",
            errno.EACCES: "permission denied",
            errno.ENOTDIR: "a file is in the way",
            errno.EEXIST: "a file is in the way",
            errno.EISDIR: "a folder is in the way",
        }
        if error.errno not in reasons:
            raise
        raise InputError(f"cannot write {target}: {reasons[error.errno]}") from error
