"""What a machine tells of itself: facts of the environment, and counters to read while measuring.

Everything that only Linux has (``/proc``, ``/sys``, powercap) sits here, below a root that tests
replace with a folder of theirs.  What cannot be read is an :class:`Unknown` with the reason, never
a zero.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil


@dataclass(frozen=True, slots=True)
class Unknown:
    """A fact that this machine does not tell."""

    because: str


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Seconds since boot, summed over all processors."""

    busy_s: float
    steal_s: float


@dataclass(frozen=True, slots=True)
class EnergyCounter:
    """Energy in microjoules that wraps to 0 at ``range_uj``."""

    value_uj: int
    range_uj: int

    def since(self, earlier: EnergyCounter) -> float:
        """Return joules since an earlier reading, across at most one wrap."""
        spent = self.value_uj - earlier.value_uj
        return (spent if spent >= 0 else spent + self.range_uj) / 1e6


@dataclass(frozen=True, slots=True)
class Host:
    """The machine below ``root``."""

    root: Path = field(default_factory=lambda: Path("/"))

    def cpu_times(self) -> CpuTimes:
        """Return the machine's busy time (own, others', kernel's) and what a hypervisor took."""
        times = psutil.cpu_times()
        busy = times.user + times.system
        busy += sum(getattr(times, name, 0.0) for name in ("nice", "irq", "softirq"))
        return CpuTimes(busy, getattr(times, "steal", 0.0))

    def peak_rss_bytes(self) -> int | Unknown:
        """Return the greatest resident memory that this process had.

        Not by ``getrusage``: on Linux its figure outlives ``exec``, so a small process started by
        a large one would report the large one's.
        """
        for line in self._lines("proc/self/status"):
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        peak = getattr(psutil.Process().memory_info(), "peak_wset", None)
        if peak is not None:
            return int(peak)
        return Unknown("neither /proc/self/status nor Windows' working set is there")

    def usable_cpus(self) -> int:
        """Return how many processors this process may run on."""
        if hasattr(os, "sched_getaffinity"):
            return len(os.sched_getaffinity(0))
        return os.cpu_count() or 1

    def cpu_model(self) -> str:
        """Return the processor's name."""
        for line in self._lines("proc/cpuinfo"):
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
        return platform.processor() or platform.machine()

    def cpu_flags(self) -> list[str] | Unknown:
        """Return the instruction sets that decide how fast a network runs."""
        wanted = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_", "sse4_2")
        for line in self._lines("proc/cpuinfo"):
            if line.startswith("flags"):
                return sorted(f for f in line.partition(":")[2].split() if f.startswith(wanted))
        return Unknown("no /proc/cpuinfo on this system")

    def governor(self) -> str | Unknown:
        """Return the frequency governor of the first processor."""
        return self._read("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")

    def clock_mhz(self) -> float | Unknown:
        """Return the current clock of the first processor."""
        try:
            found = psutil.cpu_freq()
        except (NotImplementedError, OSError, RuntimeError) as error:
            return Unknown(str(error) or "not told by this system")
        return (
            float(found.current) if found and found.current else Unknown("not told by this system")
        )

    def cgroup_cpus(self) -> float | Unknown | None:
        """Return the processors that a control group allows; None when it sets no limit."""
        text = self._read("sys/fs/cgroup/cpu.max")
        if isinstance(text, Unknown):
            return text
        quota, _, period = text.partition(" ")
        return None if quota == "max" else int(quota) / int(period or 100_000)

    def energy(self) -> EnergyCounter | Unknown:
        """Return the package's energy counter (Intel RAPL by powercap)."""
        folder = "sys/class/powercap/intel-rapl:0/"
        value, top = self._read(folder + "energy_uj"), self._read(folder + "max_energy_range_uj")
        if isinstance(value, Unknown):
            return value
        if isinstance(top, Unknown):
            return top
        return EnergyCounter(int(value), int(top))

    def facts(self) -> tuple[dict[str, Any], dict[str, str]]:
        """Return what stays the same from run to run, and why the rest is not known."""
        found: dict[str, Any] = {
            "cpu": self.cpu_model(),
            "cpu_flags": self.cpu_flags(),
            "physical_cores": psutil.cpu_count(logical=False),
            "logical_cpus": psutil.cpu_count(),
            "usable_cpus": self.usable_cpus(),
            "cgroup_cpus": self.cgroup_cpus(),
            "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
            "governor": self.governor(),
            "system": platform.system(),
            "kernel": platform.release(),
            "architecture": platform.machine(),
            "host": platform.node(),
            "python": platform.python_version(),
        }
        unknown = {k: v.because for k, v in found.items() if isinstance(v, Unknown)}
        return {k: v for k, v in found.items() if not isinstance(v, Unknown)}, unknown

    def _read(self, path: str) -> str | Unknown:
        try:
            return (self.root / path).read_text(encoding="ascii", errors="replace").strip()
        except FileNotFoundError:
            return Unknown(f"/{path} is not there")
        except OSError as error:
            return Unknown(f"/{path}: {error.strerror}")

    def _lines(self, path: str) -> list[str]:
        text = self._read(path)
        return [] if isinstance(text, Unknown) else text.splitlines()
