"""When a report that is watched has to be made again."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from ovtool.core.sweep_folder import ENVIRONMENT, JOURNAL, PLAN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

POLL_S = 1.0
PATIENCE = 10
"""Looks after which a journal that never rests is read all the same."""
State = tuple[tuple[int, int] | None, ...]


def state(folders: Sequence[str | Path]) -> State:
    """Return size and time of the files that a report is made of; None for one that is not there.

    Args:
        folders: Sweep folders.
    """
    return tuple(
        _of(Path(folder) / name) for folder in folders for name in (PLAN, JOURNAL, ENVIRONMENT)
    )


def changes(
    look: Callable[[], object], sleep: Callable[[float], object] = time.sleep
) -> Iterator[None]:
    """Yield at once, and then whenever what ``look`` returns is another, and has come to rest.

    It is looked at before the report is made, so that what is written meanwhile counts as a change.

    Args:
        look: Returns what is watched, such as :func:`state`.
        sleep: Waits for some seconds.
    """
    made = before = look()
    looks = 0
    yield
    while True:
        sleep(POLL_S)
        now = look()
        looks = 0 if now == made else looks + 1
        if now != made and (now == before or looks >= PATIENCE):
            made, looks = now, 0
            yield
        before = now


def _of(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_size, found.st_mtime_ns
