"""Atomic writes, hashes and checks of files."""

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
    """Return the cache folder of ovtool, which may not exist yet."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "ovtool"


_kept: dict[Path, str] = {}


def mark_kept(path: Path, what: str) -> None:
    """Record a finished result on the disk, which a stopped command leaves for its next run."""
    _kept[path] = what


def kept_results() -> list[str]:
    """Return the results that this process has recorded, as text, in their order."""
    return [f"{what} in {path}" for path, what in _kept.items()]


def sha256(*paths: Path) -> str:
    """Return the SHA-256 of the concatenated contents of files, in hexadecimal."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def existing_file(path: str | Path, what: str) -> Path:
    """Return the path of a non-empty file.

    Raises:
        InputError: The file does not exist, is a folder, or is empty.
    """
    file = Path(path)
    if not file.exists():
        raise InputError(f"{what} not found: {file}")
    if not file.is_file():
        raise InputError(f"{what} is not a file: {file}")
    if file.stat().st_size == 0:
        raise InputError(f"{what} is empty: {file}")
    return file


@contextlib.contextmanager
def new_folder(target: Path, replace: bool = False) -> Iterator[Path]:
    """Yield a temporary folder next to ``target`` that is renamed to it if the block succeeds.

    Raises:
        InputError: ``target`` exists without ``replace``, or the disk is full or read-only.
    """
    if target.exists() and not replace:
        raise InputError(f"folder exists: {target}", "use another --out, or --force to replace it")
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
    """Write a file under a temporary name, then rename it to ``target``.

    Raises:
        InputError: The folder is not writable, or the disk is full or read-only.
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
    """Write UTF-8 text, see :func:`write_file`."""
    return write_file(target, lambda path: path.write_text(content, encoding="utf-8"))


@contextlib.contextmanager
def writing(target: Path) -> Iterator[None]:
    """Convert an operating system error of writing ``target`` into an :class:`InputError`."""
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
