"""Atomic, durable writes; folders that ovtool owns; hashes of files."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ovtool.core import places, steps
from ovtool.core.errors import InputError
from ovtool.core.holding import check_held, holding
from ovtool.core.input_limits import parse_json
from ovtool.core.system_errors import reading, writing
from ovtool.core.temporary import reserved

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

MARKER = ".ovtool"
"""File in each folder that ovtool wrote: JSON with the relative paths of its ``files``."""

_CACHED_BYTES = 1 << 24
"""Size from which reading a cached hash is faster than hashing."""
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_kept: dict[Path, str] = {}


def mark_kept(path: Path, what: str) -> None:
    """Record a finished result on the disk, which a stopped command leaves for its next run."""
    _kept[path] = what
    if steps.board is not None:
        steps.board.write("kept", "\0".join(kept_results()[-3:]))


def kept_results() -> list[str]:
    """Return the results that this process has recorded, as text, in their order."""
    return [f"{what} in {path}" for path, what in _kept.items()]


def sha256(*paths: Path) -> str:
    """Return the SHA-256 of the concatenated contents of files, in hexadecimal."""
    digest = hashlib.sha256()
    for path in paths:
        with reading(path), path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def verified_sha256(*paths: Path) -> str:
    """Return :func:`sha256`, from a cache while the files have the same size, times and inode."""
    if sum(path.stat().st_size for path in paths) < _CACHED_BYTES:
        return sha256(*paths)
    names = b"\n".join(os.fsencode(path.resolve()) for path in paths)
    stamps = json.dumps([_stamp(path) for path in paths])
    cache = None
    with contextlib.suppress(OSError, ValueError, InputError):  # none, missing or damaged
        cache = places.user_folder() / "hashes" / hashlib.sha256(names).hexdigest()
        digest, check = cache.read_text(encoding="ascii").split()
        if check == _check_of(digest, stamps):
            return digest
    digest = sha256(*paths)
    if cache is not None:
        with contextlib.suppress(OSError, InputError):
            write_text(cache, f"{digest} {_check_of(digest, stamps)}\n")
    return digest


def _check_of(digest: str, stamps: str) -> str:
    """Return the checksum of a cached hash and of the state of the files."""
    return hashlib.sha256(f"{digest} {stamps}".encode()).hexdigest()


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


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


def is_file(path: Path) -> bool:
    """Return whether a file exists; a name that the system does not support is no file."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


@contextlib.contextmanager
def new_folder(target: Path, replace: bool = False, *, exclusive: bool = False) -> Iterator[Path]:
    """Yield a temporary folder next to ``target`` that is renamed to it if the block succeeds.

    The folder gets a :data:`MARKER`.  The disk has all its files before the rename.  A folder that
    is replaced exists at every moment, in its old or its new state.

    Args:
        target: The folder.
        replace: Whether to replace an existing folder that ovtool wrote.
        exclusive: Whether all files in the folder belong to ovtool, as in its cache.

    Raises:
        InputError: ``target`` exists without ``replace``, has files that ovtool did not write, or
            the disk is full or read-only.
    """
    if not (exclusive and replace):
        check_new_folder(target, replace)
    with writing(target):
        make_folder(target.parent)
    with holding(target.parent), reserved(target) as prefix:
        temporary, old = Path(f"{prefix}.tmp"), Path(f"{prefix}.old")
        try:
            with writing(target):
                temporary.mkdir()
                yield temporary
                written = _files_below(temporary)
                (temporary / MARKER).write_text(_marker(written), encoding="utf-8")
                folders = {path for name in written for path in (temporary / name).parents}
                sync(*(temporary / name for name in (*written, MARKER)))
                sync(*(path for path in folders if path.is_relative_to(temporary)), temporary)
                if replace and target.exists():
                    if not exclusive:
                        check_new_folder(target, replace)
                    _swap(temporary, target, old)
                else:
                    temporary.rename(target)
                sync(target.parent)
        finally:
            for folder in (temporary, old):
                if not exclusive:
                    _move_foreign_files(folder, target)
                shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def removed_on_error(target: Path) -> Iterator[None]:
    """Remove the folder ``target`` and its new parents if the block creates them and then fails.

    A command that is stopped keeps them for its next run.
    """
    missing = [path for path in (target, *target.parents) if not path.exists()]
    try:
        yield
    except Exception:
        if target in missing and read_marker(target) is not None:
            _kept.pop(target, None)
            shutil.rmtree(target, ignore_errors=True)
        for path in missing:
            with contextlib.suppress(OSError):  # missing, or not empty
                path.rmdir()
        raise


def path_list(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[Path]:
    """Return one path, or several, as a list."""
    several = [paths] if isinstance(paths, str | os.PathLike) else paths
    return [Path(path) for path in several]


def check_new_folder(target: Path, replace: bool = False) -> None:
    """Check that a folder may be created, or replaced.

    Raises:
        InputError: It exists without ``replace``, or has files that ovtool did not write.
    """
    if not target.exists():
        return
    if not replace:
        raise InputError(f"folder exists: {target}", "use another --out, or --force to replace it")
    owned = read_marker(target)
    if owned is None:
        raise InputError(
            f"folder exists, and ovtool did not write it: {target}", "use another --out"
        )
    foreign = sorted(set(_files_below(target)) - owned)
    if foreign:
        more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
        raise InputError(
            f"{target} has files that ovtool did not write there: {', '.join(foreign[:3])}{more}",
            "move them, or use another --out",
        )


def read_regular(path: Path) -> bytes:
    """Return the content of a file; OSError for a pipe or a device, which could block."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return path.read_bytes()


def read_marker(folder: Path) -> set[str] | None:
    """Return the files that ovtool wrote into a folder; None for a folder without a marker."""
    try:
        return {str(name) for name in parse_json(read_regular(folder / MARKER))["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def claim_files(folder: Path, names: Iterable[str]) -> None:
    """Record that ovtool writes files into a folder which may have files of others.

    Raises:
        InputError: One of the files exists, and ovtool did not write it.
    """
    owned, wanted = read_marker(folder) or set(), set(names)
    for name in sorted(wanted - owned):
        if (folder / name).exists():
            raise InputError(
                f"{folder / name} exists, and ovtool did not write it", "use another --out"
            )
    if not wanted <= owned:
        with writing(folder):
            make_folder(folder)
        write_text(folder / MARKER, _marker(owned | wanted))


def _marker(names: Iterable[str]) -> str:
    return json.dumps({"files": sorted(names)}, indent=1) + "\n"


def _files_below(folder: Path) -> list[str]:
    return [
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.name != MARKER and (path.is_symlink() or not path.is_dir())
    ]


def _swap(temporary: Path, target: Path, old: Path) -> None:
    """Put a folder in the place of another, in one step where the system can."""
    if _exchange(temporary, target):
        return
    target.rename(old)
    temporary.rename(target)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two paths in one step; return whether the system can (Linux)."""
    if not sys.platform.startswith("linux"):
        return False
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    if rename is None:
        return False
    names = os.fsencode(first), os.fsencode(second)
    result = rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], ctypes.c_uint(_RENAME_EXCHANGE))
    return bool(result == 0)


def _move_foreign_files(folder: Path, target: Path) -> None:
    """Move files that others wrote into a replaced folder to its replacement."""
    owned = read_marker(folder)
    for name in () if owned is None else sorted(set(_files_below(folder)) - owned):
        destination = target / name
        if not destination.exists():
            destination.parent.mkdir(parents=True, exist_ok=True)
            (folder / name).rename(destination)


def write_file(target: Path, write: Callable[[Path], object]) -> Path:
    """Write a file under a temporary name, then rename it to ``target``.

    The disk has the file before the rename, so that a loss of power leaves the old or the new file.

    Raises:
        InputError: The folder is not writable, or the disk is full or read-only.
    """
    with writing(target):
        make_folder(target.parent)
    with reserved(target) as prefix:
        temporary = Path(f"{prefix}.tmp{target.suffix}")
        with writing(target):
            try:
                write(temporary)
                sync(temporary)
                temporary.replace(target)
                sync(target.parent)
            finally:
                temporary.unlink(missing_ok=True)
    return target


def write_text(target: Path, content: str) -> Path:
    """Write UTF-8 text, see :func:`write_file`."""
    return write_file(target, lambda path: path.write_text(content, encoding="utf-8"))


def make_folder(folder: Path) -> None:
    """Create a folder and its parents, and wait until the disk has the new ones."""
    check_held(folder)
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    check_held(folder)
    sync(*(path.parent for path in missing))


def sync(*paths: Path) -> None:
    """Wait until the disk has the content of files, and the names in folders."""
    for path in paths:
        if path.is_dir() and sys.platform == "win32":
            continue  # Windows cannot open a folder
        # Windows flushes a file only through a writable handle.
        mode = os.O_RDWR if sys.platform == "win32" else os.O_RDONLY
        descriptor = os.open(path, mode)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems
                raise
        finally:
            os.close(descriptor)
