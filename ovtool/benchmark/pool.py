"""The sessions of a group: memory decides how many stay ready, the others start from a cache."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil

from ovtool.benchmark.session import TrialFailedError
from ovtool.core.units import MIB

if TYPE_CHECKING:
    from pathlib import Path

    from ovtool.benchmark.session import Job, Opened, Runner, Session

SPARE_MIB = 512
"""Memory that is left to others."""


@dataclass(slots=True)
class Seat:
    """A trial's place in the pool.

    Args:
        job: What is run.
        opened: What compiling it for the first time, without any cache, told.
        session: Its session; None while it has none.
        cache: Its model cache, once that is filled.
        blob_mib: Size of the compiled model in it; None where the device writes none.
    """

    job: Job
    opened: Opened
    session: Session | None = None
    cache: Path | None = None
    blob_mib: float | None = None


@dataclass(slots=True)
class Pool:
    """Opens sessions, and parks some where memory does not hold all of them.

    Args:
        runner: What opens sessions.
        scratch: A folder for model caches.
    """

    runner: Runner
    scratch: Path
    seats: list[Seat] = field(default_factory=list)
    parked: bool = False
    """Whether a session had to make room for another."""

    def add(self, job: Job) -> Seat:
        """Compile a trial without any cache.

        Raises:
            TrialFailedError: It cannot be compiled or run.
        """
        self._make_room(job)
        session = self.runner.open(job)
        seat = Seat(job, session.opened, session)
        self.seats.append(seat)
        return seat

    def session(self, seat: Seat) -> Session:
        """Return a seat's session, compiled from its cache where it had to make room.

        Raises:
            TrialFailedError: It cannot be opened again.
        """
        self.seats.remove(seat)  # the least recently used comes first
        if seat.session is None:
            self._make_room(seat.job)
            seat.session = self.runner.open(seat.job, seat.cache)
        self.seats.append(seat)
        return seat.session

    def fill_cache(self, seat: Seat) -> None:
        """Let a seat's session fill its model cache, once.

        Raises:
            TrialFailedError: It failed.
        """
        if seat.cache is None and seat.session is not None:
            folder = self.scratch / f"cache-{seat.job.trial.id}"
            folder.mkdir(exist_ok=True)
            seat.blob_mib = seat.session.save_cache(folder)
            seat.cache = folder

    def park(self, seat: Seat) -> None:
        """End a seat's session."""
        if seat.session is not None:
            seat.session.close()
            seat.session = None

    def close(self) -> None:
        """End every session."""
        for seat in self.seats:
            self.park(seat)
        self.runner.close()

    def _make_room(self, job: Job) -> None:
        """Park the least recently used sessions until memory holds another one."""
        for seat in self.seats:
            if _memory_for(job):
                return
            if seat.session is not None:
                self.parked = True
                try:
                    self.fill_cache(seat)
                except TrialFailedError:
                    seat.cache = None  # compiled anew, then; if it died, that is told in its turn
                self.park(seat)


def _memory_for(job: Job) -> bool:
    """Whether a further process, several times as large as the model, would leave memory free."""
    weights = job.xml.with_suffix(".bin").stat().st_size
    return bool(psutil.virtual_memory().available > 6 * weights + SPARE_MIB * MIB)
