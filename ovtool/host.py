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
from typing import TYPE_CHECKING, Any, TypeVar

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T", int, float)


@dataclass(frozen=True, slots=True)
class Unknown:
    """A fact that this machine does not tell."""

    because: str


@dataclass(frozen=True, slots=True)
class ControlGroup:
    """A control group; ``version`` is that of its hierarchy, 1 or 2."""

    path: Path
    version: int

    def cpu_quota(self) -> float | None:
        """Return the processors' worth of time that it allows; None without a limit."""
        if self.version == 2:
            quota, _, period = _read(self.path / "cpu.max", "max").partition(" ")
        else:
            quota = _read(self.path / "cpu.cfs_quota_us", "-1")
            period = _read(self.path / "cpu.cfs_period_us", "")
        return int(quota) / int(period or 100_000) if quota.isdigit() else None

    def memory_bytes(self) -> int | None:
        """Return the memory that it allows; None without a limit."""
        name = "memory.max" if self.version == 2 else "memory.limit_in_bytes"
        limit = _read(self.path / name, "max")
        return int(limit) if limit.isdigit() and int(limit) < 2**60 else None

    def oom_kills(self) -> int | None:
        """Return how many of its processes the kernel ended for memory; None where untold."""
        name = "memory.events" if self.version == 2 else "memory.oom_control"
        for line in _read(self.path / name, "").splitlines():
            key, _, value = line.partition(" ")
            if key == "oom_kill" and value.isdigit():
                return int(value)
        return None


def _read(path: Path, missing: str) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return missing


def control_groups(root: Path, controller: str) -> list[ControlGroup] | Unknown:
    """Return this process's control group and all above it that a controller knows.

    In a container the group's own path is often not below the mount, and the mount's root is the
    group that applies.

    Args:
        root: Where ``/proc`` and ``/sys`` are.
        controller: ``cpu`` or ``memory``.
    """
    text = _read(root / "proc/self/cgroup", "")
    if not text:
        return Unknown("/proc/self/cgroup is not there")
    mount, path, version = root / "sys/fs/cgroup", "", 2
    for line in text.splitlines():
        _, controllers, own = line.split(":", 2)
        if controller in controllers.split(","):
            mount, path, version = mount / controller, own, 1
            break
        if not controllers:
            path = own
    if not mount.is_dir():
        return Unknown(f"/{mount.relative_to(root)} is not there")
    parts = [part for part in path.split("/") if part not in ("", "..")]
    folders = [mount.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1)]
    return [ControlGroup(folder, version) for folder in folders if folder.is_dir()]


@dataclass(frozen=True, slots=True)
class Host:
    """The machine below ``root``."""

    root: Path = field(default_factory=lambda: Path("/"))

    def rss_bytes(self) -> int:
        """Return the resident memory of this process."""
        return int(psutil.Process().memory_info().rss)

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
        """Return the processors' worth of time that control groups allow; None without a limit."""
        return self._tightest("cpu", ControlGroup.cpu_quota)

    def cgroup_memory_bytes(self) -> int | Unknown | None:
        """Return the memory that control groups allow; None without a limit."""
        return self._tightest("memory", ControlGroup.memory_bytes)

    def _tightest(
        self, controller: str, limit: Callable[[ControlGroup], T | None]
    ) -> T | Unknown | None:
        groups = control_groups(self.root, controller)
        if isinstance(groups, Unknown):
            return groups
        return min((found for g in groups if (found := limit(g)) is not None), default=None)

    def oom_kills(self) -> int | Unknown:
        """Return how many processes the kernel ended for memory, here or on the whole machine."""
        groups = control_groups(self.root, "memory")
        for group in [] if isinstance(groups, Unknown) else groups[:1]:
            found = group.oom_kills()
            if found is not None:
                return found
        for line in self._lines("proc/vmstat"):
            key, _, value = line.partition(" ")
            if key == "oom_kill":
                return int(value)
        return Unknown("neither a control group nor /proc/vmstat counts them")

    def facts(self) -> tuple[dict[str, Any], dict[str, str]]:
        """Return what stays the same from run to run, and why the rest is not known."""
        found: dict[str, Any] = {
            "cpu": self.cpu_model(),
            "cpu_flags": self.cpu_flags(),
            "physical_cores": psutil.cpu_count(logical=False),
            "logical_cpus": psutil.cpu_count(),
            "usable_cpus": self.usable_cpus(),
            "cgroup_cpus": self.cgroup_cpus(),
            "cgroup_memory_bytes": self.cgroup_memory_bytes(),
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
