"""Energy and memory of a worker process, as fields of its replies."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ovtool.core.units import mib
from ovtool.system.energy import Meter
from ovtool.system.host import Host, Unknown


@dataclass(slots=True)
class Resources:
    """The counters of a worker; the growth of memory counts from the creation of this object."""

    host: Host = field(default_factory=Host)
    meter: Meter | Unknown = field(default_factory=lambda: Unknown("not opened"))
    start_rss_bytes: int = 0
    peak_rss_bytes: int | None = None
    """Peak of the phases before the current one."""

    def __post_init__(self) -> None:
        """Read the memory at the start."""
        self.start_rss_bytes = self.host.rss_bytes()

    def open_meter(self, device: str) -> None:
        """Open the energy counter of a device."""
        self.meter = Meter.for_device(Path("/"), device)

    def start_round(self) -> RoundStart:
        """Read the energy before a round."""
        return RoundStart(self._energy(), time.perf_counter())

    def end_round(self, start: RoundStart, completed: int) -> dict[str, Any]:
        """Return energy and memory after a round, as fields of its reply."""
        seconds, after = time.perf_counter() - start.started, self._energy()
        reply: dict[str, Any] = {"peak_rss_mib": None, "rss_growth_mib": None}
        if isinstance(self.meter, Unknown):
            reply["energy_unknown"] = self.meter.because
        elif isinstance(start.energy_uj, Unknown) or isinstance(after, Unknown):
            unknown = start.energy_uj if isinstance(start.energy_uj, Unknown) else after
            reply["energy_unknown"] = unknown.because if isinstance(unknown, Unknown) else ""
        else:
            reply["energy"] = {
                "joules": (after - start.energy_uj) / 1e6,
                "seconds": seconds,
                "inferences": completed,
                "source": self.meter.source,
            }
        peak = self.host.peak_rss_bytes()
        if not isinstance(peak, Unknown):
            peak = max(peak, self.peak_rss_bytes or 0)
            growth = mib(peak - self.start_rss_bytes)
            reply |= {"peak_rss_mib": mib(peak), "rss_growth_mib": growth}
        return reply

    def end_phase(self) -> float | None:
        """Return the peak memory since the last call, in MiB; None where it cannot be reset."""
        peak = self.host.peak_rss_bytes()
        if isinstance(peak, Unknown):
            return None
        self.peak_rss_bytes = max(peak, self.peak_rss_bytes or 0)
        return mib(peak) if self.host.reset_peak_rss() else None

    def _energy(self) -> int | Unknown:
        return self.meter if isinstance(self.meter, Unknown) else self.meter.read()


@dataclass(frozen=True, slots=True)
class RoundStart:
    """The energy counter and the clock before a round."""

    energy_uj: int | Unknown
    started: float
