"""The sessions of a group: memory decides how many stay open; the rest reopen from a cache."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil

from ovtool.benchmark.session import TrialFailedError
from ovtool.core.units import MIB

if TYPE_CHECKING:
    from pathlib import Path

    from ovtool.benchmark.session import CompiledInfo, Job, Runner, Session

SPARE_MIB = 512
"""Memory left to other processes."""


@dataclass(slots=True)
class Slot:
    """A trial in the pool.

    Args:
        info: The compiled model, from the first compilation, without a cache.
        session: None while the trial is parked.
        cache: The model cache, once filled.
        blob_mib: Size of the cached model; None where the device writes no cache.
    """

    job: Job
    info: CompiledInfo
    session: Session | None = None
    cache: Path | None = None
    blob_mib: float | None = None


@dataclass(slots=True)
class Pool:
    """Opens sessions, and parks some where memory cannot hold all; ``scratch`` holds the caches.

    Methods raise TrialFailedError where a model does not compile or run.
    """

    runner: Runner
    scratch: Path
    slots: list[Slot] = field(default_factory=list)
    parked: bool = False
    """Whether a session was ever parked for lack of memory."""

    def add(self, job: Job) -> Slot:
        """Compile a trial without a cache."""
        self._make_room(job)
        session = self.runner.open(job)
        slot = Slot(job, session.info, session)
        self.slots.append(slot)
        return slot

    def session(self, slot: Slot) -> Session:
        """Return the session of a slot; reopen a parked one from its cache."""
        self.slots.remove(slot)  # the least recently used slot comes first
        if slot.session is None:
            self._make_room(slot.job)
            slot.session = self.runner.open(slot.job, slot.cache)
        self.slots.append(slot)
        return slot.session

    def fill_cache(self, slot: Slot) -> None:
        """Fill the model cache of a slot, once."""
        if slot.cache is None and slot.session is not None:
            folder = self.scratch / f"cache-{slot.job.trial.id}"
            folder.mkdir(exist_ok=True)
            slot.blob_mib = slot.session.save_cache(folder)
            slot.cache = folder

    def park(self, slot: Slot) -> None:
        """Close the session of a slot."""
        if slot.session is not None:
            slot.session.close()
            slot.session = None

    def close(self) -> None:
        """Close every session and the runner."""
        for slot in self.slots:
            self.park(slot)
        self.runner.close()

    def _make_room(self, job: Job) -> None:
        """Park the least recently used sessions until memory suffices for a job."""
        for slot in self.slots:
            if _has_memory_for(job):
                return
            if slot.session is not None:
                self.parked = True
                try:
                    self.fill_cache(slot)
                except TrialFailedError:
                    slot.cache = None  # the trial compiles again, which reports a dead worker
                self.park(slot)


def _has_memory_for(job: Job) -> bool:
    """Whether memory suffices for a worker, several times as large as the model."""
    weights = job.xml.with_suffix(".bin").stat().st_size
    return bool(psutil.virtual_memory().available > 6 * weights + SPARE_MIB * MIB)
