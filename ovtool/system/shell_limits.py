"""Limits of the shell, or of a container, below which libraries fail in obscure ways or block."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LEAST_LIMITS = (
    ("RLIMIT_AS", "-v", 256, 1 << 20, "MiB of address space"),
    ("RLIMIT_DATA", "-d", 256, 1 << 20, "MiB of memory"),
    ("RLIMIT_NOFILE", "-n", 32, 1, "open files"),
    ("RLIMIT_FSIZE", "-f", 4, 1 << 10, "KiB in a file"),
)
"""Limits below which no command starts: the least value in its unit."""
_LEAST_THREADS, _THREADS_PER_CPU = 8, 4
"""Threads that a command and its workers start at most, of Python and of its libraries."""
_LARGE_LIMIT = 8192
"""A limit of processes from which the processes of the user are not counted."""
_SHELL_HINT = "raise the limit: ulimit -u"
_CONTAINER_HINT = "raise the limit of processes of the container (docker: --pids-limit)"


def tight_limit() -> tuple[str, str] | None:
    """Return a limit that is too small for any command, and how to raise it; None if there is none.

    A thread that a library cannot start may block the library for ever, so that free threads are
    counted before.
    """
    if sys.platform == "win32":
        return None
    import resource

    os.umask(mask := os.umask(0o077))
    if mask & 0o700 and os.geteuid() != 0:
        return f"umask {mask:03o} takes the rights to new files from their owner", "umask 022"
    for name, option, least, unit, what in _LEAST_LIMITS:
        soft, _ = resource.getrlimit(getattr(resource, name))
        if soft != resource.RLIM_INFINITY and soft < least * unit:
            reason = f"this shell allows {soft // unit} {what}, a command needs {least}"
            return reason, f"raise the limit: ulimit {option}"
    if sys.platform == "linux":
        needed = _LEAST_THREADS + _THREADS_PER_CPU * len(os.sched_getaffinity(0))
        for free, hint in _free_threads():
            if free < needed:
                return f"{max(0, free)} more threads are allowed, a command needs {needed}", hint
    try:
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()
    except RuntimeError:  # OpenBLAS would interrupt the process with SIGINT
        return "this shell allows no further thread", _SHELL_HINT
    return None


def _free_threads() -> Iterator[tuple[int, str]]:
    """Yield how many threads each limit still allows, with the hint to raise it (Linux)."""
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if os.getuid() != 0 and soft != resource.RLIM_INFINITY and soft < _LARGE_LIMIT:
        yield soft - _count_threads_of_user(), _SHELL_HINT
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers in ("", "pids"):
                folder = Path("/sys/fs/cgroup", controllers, path.lstrip("/"))
                with contextlib.suppress(OSError, ValueError):  # "max", or a group without a limit
                    limit = int((folder / "pids.max").read_text(encoding="ascii"))
                    used = int((folder / "pids.current").read_text(encoding="ascii"))
                    yield limit - used, _CONTAINER_HINT


def _count_threads_of_user() -> int:
    user, count = os.getuid(), 0
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # a process that ended
                status = Path(entry.path, "task").stat()
                count += (status.st_nlink - 2) * (status.st_uid == user)
    return count
