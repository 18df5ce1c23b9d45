"""When to write the report of a running sweep again."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from ovtool.core.sweep_folder import ENVIRONMENT, JOURNAL, PLAN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

POLL_S = 1.0
MAX_UNSETTLED_POLLS = 10
"""Polls after which a journal that keeps changing counts as changed."""
State = tuple[tuple[int, int] | None, ...]


def watch_sweeps(
    sweeps: Sequence[str | Path], sleep: Callable[[float], object] = time.sleep
) -> Iterator[None]:
    """Yield immediately, and then after each change of the sweeps, without end.

    A change counts when the files are the same in two polls.  The state is read before the caller
    continues, so that a change during the caller's work is not lost.
    """
    reported = before = sweep_state(sweeps)
    unsettled = 0
    yield
    while True:
        sleep(POLL_S)
        now = sweep_state(sweeps)
        unsettled = 0 if now == reported else unsettled + 1
        if now != reported and (now == before or unsettled >= MAX_UNSETTLED_POLLS):
            reported, unsettled = now, 0
            yield
        before = now


def sweep_state(sweeps: Sequence[str | Path]) -> State:
    """Return size and modification time of the files of each sweep; None for a missing file."""
    names = (PLAN, JOURNAL, ENVIRONMENT)
    return tuple(_file_state(Path(folder) / name) for folder in sweeps for name in names)


def _file_state(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_size, status.st_mtime_ns
