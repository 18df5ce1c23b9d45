"""The current step of a command, and what it leaves behind, for the process that supervises it.

The command line runs in a child of a small process (:mod:`ovtool.system.supervisor`).  Both share a
:class:`Board`, which outlives a crash of the child.  Without a supervisor, as in the Python API and
in workers, all functions of this module do nothing.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

STEP_TIMEOUT = "OVTOOL_STEP_TIMEOUT"
"""Environment variable: limit of reading, converting, compiling or one inference; 0: none."""
BASE_LIMIT_S = 120.0
"""Default time limit of a step, without the time for the size of its files."""
_S_PER_BYTE = 1.0 / (1 << 20)
"""Default time limit by the size of the files of a step: 1 s per MiB."""

_SIZE = 1 << 16
_NUMBERS = struct.Struct("<ddi")
_TEXTS = {
    "step": (64, 2048),
    "kept": (2112, 6144),
    "attempt": (8256, 4096),
    "failures": (12352, 20480),
    "folders": (32832, _SIZE - 32832),
}
"""Start and size in bytes of each text, with its length in the first four bytes."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step: what is done, since when (monotonic time), and its time limit; 0 is no limit."""

    text: str = ""
    started_s: float = 0.0
    limit_s: float = 0.0


class Board:
    """Memory that a process shares with its supervisor."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _SIZE)
        self.created_s = time.monotonic()
        """When the command began, also if its process was started again."""
        self.failed = ""
        """The limited step that failed last; not shared."""
        self.reached = ""
        """The attempt whose failure the command has asked for last; not shared."""

    @property
    def step(self) -> Step:
        """The current step."""
        started_s, limit_s, _ = _NUMBERS.unpack_from(self._memory)
        return Step(self.read("step"), started_s, limit_s)

    @step.setter
    def step(self, step: Step) -> None:
        status = _NUMBERS.unpack_from(self._memory)[2]
        self.write("step", step.text)
        _NUMBERS.pack_into(self._memory, 0, step.started_s, step.limit_s, status)

    @property
    def status(self) -> int | None:
        """The exit code of a command that is done, although its process may still crash."""
        status: int = _NUMBERS.unpack_from(self._memory)[2]
        return status - 1 if status else None

    @status.setter
    def status(self, status: int) -> None:
        started_s, limit_s, _ = _NUMBERS.unpack_from(self._memory)
        _NUMBERS.pack_into(self._memory, 0, started_s, limit_s, status + 1)

    def read(self, name: str) -> str:
        """Return a text."""
        start, size = _TEXTS[name]
        (length,) = struct.unpack_from("<I", self._memory, start)
        end = start + 4 + min(length, size - 4)
        return self._memory[start + 4 : end].decode("utf-8", "surrogateescape")

    def write(self, name: str, text: str) -> None:
        """Replace a text; what does not fit is dropped."""
        start, size = _TEXTS[name]
        content = text.encode("utf-8", "surrogateescape")[: size - 4]
        self._memory[start + 4 : start + 4 + len(content)] = content
        struct.pack_into("<I", self._memory, start, len(content))

    def add_folder(self, folder: Path) -> None:
        """Record a folder that may get temporary files, while there is room."""
        folders = self.folders
        path = str(folder.absolute())
        text = "\0".join([*folders, path])
        room = _TEXTS["folders"][1] - 4
        if path not in folders and len(text.encode("utf-8", "surrogateescape")) <= room:
            self.write("folders", text)

    def fail_attempt(self, reason: str) -> bool:
        """Record that the current attempt failed, and forget the step; return whether it fits."""
        attempt, before = self.read("attempt"), self.read("failures")
        text = "\0".join([*([before] if before else []), attempt, reason])
        room = _TEXTS["failures"][1] - 4
        if not attempt or len(text.encode("utf-8", "surrogateescape")) > room:
            return False
        self.write("failures", text)
        for name in ("attempt", "kept"):
            self.write(name, "")
        self.step = Step()
        return True

    def failure_of(self, attempt: str) -> str:
        """Return why an attempt failed; empty if it did not."""
        texts = self.read("failures").split("\0")
        return dict(zip(texts[::2], texts[1::2], strict=False)).get(attempt, "")

    @property
    def folders(self) -> list[str]:
        """The folders that may have temporary files."""
        return [path for path in self.read("folders").split("\0") if path]


board: Board | None = None
"""The board of a supervised command."""


def default_limit_s(*paths: Path, base_s: float = BASE_LIMIT_S) -> float:
    """Return the time limit of a step that works on files; 0 is no limit.

    ``base_s`` is the limit without the time for the size of the files.

    Raises:
        ValueError: :data:`STEP_TIMEOUT` is not a number of seconds.
    """
    value = os.environ.get(STEP_TIMEOUT, "").strip()
    if value:
        seconds = float(value)
        if not 0 <= seconds < float("inf"):
            raise ValueError(value)
        return seconds
    size = 0
    for path in paths:
        for file in (path, path.with_suffix(".bin")):
            with contextlib.suppress(OSError):
                size += file.stat().st_size
    return base_s + size * _S_PER_BYTE


def report(text: str | None = None, limit_s: float | None = None) -> None:
    """Begin a step; by default the current one again, with the current time limit."""
    if board is not None:
        current = board.step
        if text is not None:
            current = replace(current, text=text.encode("utf-8", "backslashreplace").decode())
        limit_s = current.limit_s if limit_s is None else limit_s
        board.step = replace(current, started_s=time.monotonic(), limit_s=limit_s)


@contextlib.contextmanager
def limited(text: str, *paths: Path, limit_s: float | None = None) -> Iterator[None]:
    """Run a block as a step with a time limit; the step before begins again after it.

    The limit depends on the size of the files, and is at least that of the step before; 0 is no
    limit.
    """
    if board is None:
        yield
        return
    before = board.step
    limit_s = default_limit_s(*paths) if limit_s is None else limit_s
    if before.text and not paths and text != before.text:
        text = f"{before.text}: {text}"
    report(text, max(limit_s, before.limit_s) if limit_s else 0.0)
    try:
        yield
    except BaseException:
        board.failed = text
        raise
    finally:
        report(before.text, before.limit_s)


@contextlib.contextmanager
def attempt(name: str) -> Iterator[None]:
    """Run a block that the command can do without, although a library crashes or blocks in it.

    The supervisor then starts the command again, in which :func:`failure_of` the attempt is the
    reason.  Results of the steps before must be on the disk.
    """
    if board is None:
        yield
        return
    board.write("attempt", name)
    try:
        yield
    finally:
        board.write("attempt", "")


def failure_of(name: str) -> str:
    """Return why an attempt ended the process in this command; empty if it did not."""
    if board is None:
        return ""
    board.reached = name
    return board.failure_of(name)


def start_s() -> float:
    """Return when the command began (monotonic time); without a supervisor: now."""
    return time.monotonic() if board is None else board.created_s


def repeats() -> bool:
    """Whether a command that was started again has not yet reached the attempt that failed."""
    if board is None:
        return False
    last_failed = board.read("failures").split("\0")[-2:-1]
    return bool(last_failed) and board.reached != last_failed[0]


def stopped_line(kept: Sequence[str]) -> str:
    """Return the last line of a command that a signal stopped."""
    if not kept:
        return "stopped: nothing was finished to keep"
    return f"stopped: kept {', '.join(kept[-3:])}; run the same command to continue"
