"""Paths that a command works in, held so that their removal is an error and not a half result."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from ovtool.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

P = ParamSpec("P")
R = TypeVar("R")
_held: dict[Path, _Held] = {}


@dataclass(slots=True)
class _Held:
    """Device and inode of a path, None until it exists; the descriptor keeps the inode in use."""

    identity: tuple[int, int] | None = None
    descriptor: int | None = None


@contextlib.contextmanager
def holding(path: Path) -> Iterator[None]:
    """Refuse to write to a path, or below it, once another program has taken it away.

    Without this, writing would create a removed folder again, with a part of its files.

    Args:
        path: A folder or a file, held from the moment at which it exists.

    Raises:
        InputError: The path was removed, renamed or replaced during the block.
    """
    path = path.absolute()
    if path in _held:
        yield
        return
    held = _held[path] = _Held()
    try:
        check_held(path)
        yield
        check_held(path)
    except Exception:
        check_held(path)  # the cause of an error that a missing file gives
        raise
    finally:
        del _held[path]
        if held.descriptor is not None:
            os.close(held.descriptor)


def holding_out(verb: Callable[P, R]) -> Callable[P, R]:
    """Decorate a verb that holds the folder of its keyword ``out`` while it runs."""

    @functools.wraps(verb)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        out: Any = kwargs.get("out")
        with contextlib.nullcontext() if out is None else holding(Path(out)):
            return verb(*args, **kwargs)

    return run


def check_held(path: Path) -> None:
    """Check that the parts of a path that this process holds are where they were.

    Raises:
        InputError: One was removed, renamed or replaced.
    """
    path = path.absolute()
    for other in (path, *path.parents):
        held = _held.get(other)
        if held is not None:
            if held.identity is None:
                _begin(other, held)
            elif _identity(other) != held.identity:
                raise InputError(
                    f"{other} was removed or renamed while the command ran", "run the command again"
                )


def _begin(path: Path, held: _Held) -> None:
    """Hold a path, if it exists; an open file keeps its inode from the next file of this name."""
    if sys.platform == "win32":  # cannot open a folder, and does not give its number to another
        held.identity = _identity(path)
        return
    with contextlib.suppress(OSError):
        held.descriptor = os.open(path, getattr(os, "O_PATH", os.O_RDONLY | os.O_NONBLOCK))
        held.identity = _identity(held.descriptor)


def _identity(path: Path | int) -> tuple[int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - also of a descriptor
    except OSError:
        return None
    return status.st_dev, status.st_ino
