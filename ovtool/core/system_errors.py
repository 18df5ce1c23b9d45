"""Errors of the operating system as one line: what failed, with which path, and what to do.

Code that writes or reads a path runs in :func:`writing` or :func:`reading`, which name the path.
The command line explains errors that escape these, see :func:`explain`.  Libraries in other
languages report such an error as text of an exception of their own.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ovtool.core import places, units
from ovtool.core.errors import InputError, OvtoolError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

_SPACE = "free space, or use a folder on another disk"
_TRACEBACK = "check the path; if ovtool chose it, report a bug with the traceback: OVTOOL_DEBUG=1"
_NETWORK = "check the disk or the network drive, or use another folder"

_EXPLANATIONS = {
    "ENOSPC": ("the disk is full", _SPACE),
    "EDQUOT": ("the disk quota is used up", _SPACE),
    "EFBIG": ("the file is too large for the disk, or for ulimit -f", _SPACE),
    "EROFS": ("the disk is read-only", "use another folder"),
    "EACCES": ("permission denied", "check the permissions of the file and of its folder"),
    "EPERM": ("permission denied", "check the permissions and attributes of the file"),
    "ENAMETOOLONG": ("the name is too long", "use a shorter name"),
    "ELOOP": ("symbolic links form a loop", "remove or correct the links"),
    "EMFILE": ("too many open files", "raise the limit: ulimit -n 1024"),
    "ENFILE": ("too many open files on this machine", "end other programs"),
    "EIO": ("the disk reports an input/output error", _NETWORK),
    "ENOLCK": ("the file system has no locks", "use a folder on a local disk"),
    "ESTALE": ("the network drive no longer has the file", _NETWORK),
    "ENOTCONN": ("the file system is not connected", _NETWORK),
    "EREMOTEIO": ("the disk reports an input/output error", _NETWORK),
    "ETIMEDOUT": ("the file system does not respond", _NETWORK),
    "EHOSTDOWN": ("the file system does not respond", _NETWORK),
    "EUCLEAN": ("the file system is damaged", _NETWORK),
    "ENODEV": ("the device is not available", _NETWORK),
    "ENXIO": ("the device is not available", _NETWORK),
    "ETXTBSY": ("a running program uses the file", "end the program, or use another path"),
    "EBUSY": ("another program uses the file", "end the program, or use another path"),
    "EAGAIN": ("the limit of processes or of memory is reached", "raise it: ulimit -u, ulimit -v"),
    "ENOMEM": ("no memory is left", "end other programs, or raise the limit of memory"),
    "EOPNOTSUPP": ("the file system does not support the operation", "use a local disk"),
    "ENOSYS": ("the file system does not support the operation", "use a local disk"),
    "EILSEQ": ("the file system does not support the name", "use another name"),
    "ENOENT": ("no such file or folder", _TRACEBACK),
    "ENOTDIR": ("a part of the path is a file, not a folder", _TRACEBACK),
    "EISDIR": ("a folder is in the way", _TRACEBACK),
    "EEXIST": ("a file is in the way", _TRACEBACK),
    "ENOTEMPTY": ("files appeared in the folder", "use another folder"),
    "EXDEV": ("the folder is on two disks", "use another folder"),
}
"""Cause and remedy by the name of the error number; other numbers are bugs of ovtool."""
_BY_NUMBER = {
    getattr(errno, name): text for name, text in _EXPLANATIONS.items() if hasattr(errno, name)
}
_DISK_ERRORS = ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EIO", "ESTALE", "EMFILE", "ENAMETOOLONG")
"""Errors that are recognized by the text of a library's exception."""
_NUMBER = re.compile(r"\bos error (\d+)\b|\[errno (\d+)\]", re.IGNORECASE)
_STREAM_ERRORS = (
    *("basic_ios", "iostream error", "PytorchStreamWriter"),
    *("Can't open bin file", "Can't open xml file"),
)
"""Texts of C++ libraries about a file that they could not write or read, without a cause."""
_LIMIT_ERRORS = (
    "can't start new thread",
    "failed to map segment",
    "Resource temporarily unavailable",
)
_NO_PATH = "the operating system refused an operation"
_OTHER_DISK_HELPS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO)
_SHOWN_NAME = 60
_FEW_FILES = 4
"""A library that fails to open a file with fewer descriptors left has none."""


def explain(error: Exception, target: Path | None = None, verb: str = "write") -> InputError | None:
    """Return the error of the operating system behind an exception; None for any other exception.

    Args:
        error: The exception, also of a library that has the cause in its text.
        target: The path that was used; the message names it, unless the exception names another.
        verb: What was done with the target.
    """
    if isinstance(error, OvtoolError):
        return None
    if "No usable temporary directory" in str(error):
        return places.no_temporary_folder()
    number = _find_number(error)
    if number is None:
        return _explain_text(error, target, verb)
    cause, remedy = _BY_NUMBER[number]
    if target is None or not _is_of(error, target):
        target, verb = _named_path(error), "access"
    if target is None and number == errno.ENOENT and _current_folder_is_gone():
        return InputError("the current folder was deleted", "change to a folder that exists")
    if target is None:
        return InputError(f"{_NO_PATH}: {cause}", remedy)
    shown = f"{target}"
    if number == errno.ENAMETOOLONG:
        shown = units.shortened(shown, _SHOWN_NAME)
    if number in _OTHER_DISK_HELPS:
        remedy = places.remedy(target) or remedy
    return InputError(f"cannot {verb} {shown}: {cause}", remedy)


def _current_folder_is_gone() -> bool:
    try:
        os.getcwd()  # noqa: PTH109 - only whether it fails
    except OSError:
        return True
    return False


def _explain_text(error: Exception, target: Path | None, verb: str) -> InputError | None:
    text = str(error)
    if "surrogates not allowed" in text:
        return InputError("a path or a name is not UTF-8", "rename the file or the folder")
    if any(part in text for part in _LIMIT_ERRORS):
        cause, remedy = _BY_NUMBER[errno.EAGAIN]
        return InputError(f"{_NO_PATH}: {cause}", remedy)
    if isinstance(error, OSError) or not any(part in text for part in _STREAM_ERRORS):
        return None
    if target is None:
        reason = units.shortened(" ".join(text.split()), _SHOWN_NAME)
        return InputError(f"a library cannot read or write a file: {reason}", _NETWORK)
    if (limit := _reached_limit()) is not None:
        cause, remedy = _BY_NUMBER[limit]
        return InputError(f"cannot {verb} {target}: {cause}", remedy)
    cause = "its library gives no reason"
    with contextlib.suppress(OSError):
        free = units.mib(shutil.disk_usage(target.absolute().parent).free)
        cause = f"its disk has {free:.0f} MiB free" if free >= 1 else "the disk is full"
    return InputError(f"cannot {verb} {target}: {cause}", places.remedy(target) or _SPACE)


def _reached_limit() -> int | None:
    """Return the error number of a limit of this process that a library may have met, or None."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    try:
        used = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - only their number
    except OSError as error:
        used = sys.maxsize if error.errno == errno.EMFILE else 0
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] - used < _FEW_FILES:
        return errno.EMFILE
    limited = resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY
    return errno.EFBIG if limited else None


def _find_number(error: Exception) -> int | None:
    """Return the explained error number of an exception, or in the text of a library."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno if error.errno in _BY_NUMBER else None
    text = str(error)
    if text.startswith("Symlink loop from"):  # pathlib
        return errno.ELOOP
    if match := _NUMBER.search(text):
        number = int(match[1] or match[2])
        return number if number in _BY_NUMBER else None
    numbers = (getattr(errno, name) for name in _DISK_ERRORS if hasattr(errno, name))
    return next((number for number in numbers if os.strerror(number) in text), None)


def _named_path(error: Exception) -> Path | None:
    name = getattr(error, "filename", None)
    return Path(os.fsdecode(name)) if isinstance(name, str | bytes) and name else None


def _is_of(error: Exception, target: Path) -> bool:
    """Whether the path of an error is that of a target, of its temporary files or of a parent."""
    path = _named_path(error)
    if path is None:
        return True
    with contextlib.suppress(OSError):  # the current folder was deleted
        path, target = path.absolute(), target.absolute()
    temporary = path.is_relative_to(target.parent) and path.relative_to(target.parent).parts
    return (
        path.is_relative_to(target)
        or target.is_relative_to(path)
        or bool(temporary and temporary[0].startswith(f".{target.name[:50]}"))
    )


@contextlib.contextmanager
def _naming(path: Path, verb: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        explained = explain(error, path, verb)
        if explained is None:
            raise
        raise explained from error


def writing(target: Path) -> AbstractContextManager[None]:
    """Name the path of an operating system error while ``target`` is written.

    Raises:
        InputError: The operating system reports an error.
    """
    return _naming(target, "write")


def reading(source: Path) -> AbstractContextManager[None]:
    """Name the path of an operating system error while ``source`` is read.

    Raises:
        InputError: The operating system reports an error.
    """
    return _naming(source, "read")
