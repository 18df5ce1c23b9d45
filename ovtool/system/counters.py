"""The counters of a window: CPU time of this process and of the machine, waiting times, clock.

A reading takes some tens of microseconds.  An unknown counter is None, with the reason in
:attr:`Counters.unknown`.
"""

from __future__ import annotations

import errno
import os
import re
import sys
import time
from contextlib import closing, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import psutil

from ovtool.core.units import NS_PER_S
from ovtool.system import cgroups
from ovtool.system.host import Host, OpenFile, Unknown, open_files, reason

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_CPUS = "sys/devices/system/cpu"
_MAX_CPUS = 64
"""Maximum processors read for clock and throttling; a larger machine is sampled."""
_MAX_THREADS = 256
"""Maximum threads with open files: a process often has a limit of 1024 open files."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Increasing counters, and the current ``clock_mhz``; None where unknown.

    Args:
        cpu_s: CPU time of this process.
        busy_s: CPU time of all processes of the machine; in steps of 10 ms.
        steal_s: Time that a hypervisor gave to other guests, all processors together; in steps of
            10 ms.
        delay_s: Time that runnable threads of this process waited for a processor.
        stalled_s: Time in which any thread of the machine waited for a processor (CPU pressure).
        switches: Involuntary context switches of this process.
        quota_wait_s: Time for which CPU quotas throttled the groups of this process, all processors
            together.
        throttles: Thermal throttling events of cores and packages.
        clock_mhz: Current mean clock of the usable processors.
    """

    cpu_s: float | None = None
    busy_s: float | None = None
    steal_s: float | None = None
    delay_s: float | None = None
    stalled_s: float | None = None
    switches: float | None = None
    quota_wait_s: float | None = None
    throttles: float | None = None
    clock_mhz: float | None = None

    def since(self, earlier: Reading) -> Reading:
        """Return the increase since an earlier reading, and the current clock."""
        increases = {
            f.name: _increase(getattr(self, f.name), getattr(earlier, f.name))
            for f in fields(self)
            if f.name != "clock_mhz"
        }
        return Reading(**increases, clock_mhz=self.clock_mhz)


def _increase(later: float | None, earlier: float | None) -> float | None:
    """Return a difference of at least 0: counters of the kernel may decrease slightly."""
    return None if later is None or earlier is None else max(0.0, later - earlier)


class OwnTimes(NamedTuple):
    """CPU time of this process, and the waiting time of its threads; 0 where unknown."""

    cpu_s: float
    delay_s: float


class Counters:
    """Reads the counters, from files that stay open, below a root with ``/proc`` and ``/sys``."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self.unknown: dict[str, str] = {}
        """Name of a counter -> why it is unknown."""
        try:
            self._stat: OpenFile | None = OpenFile(root / "proc/stat")
        except OSError:
            self._stat = None  # not Linux: psutil replaces the file
        self._sources: dict[str, _Source] = {}
        for name, open_source in _SOURCES.items():
            try:
                self._sources[name] = open_source(root)
            except (OSError, ValueError) as error:
                self.unknown[name] = reason(error, root)

    def read(self) -> Reading:
        """Return the current counters."""
        cpu_s, machine = time.process_time(), self._machine()
        values = {name: self._value(name) for name in _SOURCES}
        values["switches"] = self._switches()
        return Reading(cpu_s, machine.busy_s, machine.steal_s, **values)

    def own(self) -> OwnTimes:
        """Return the times of this process only, fast enough for every few milliseconds.

        Threads that started after the last :meth:`read` are not included.
        """
        delays = self._sources.get("delay_s")
        delay_s = delays.read_known() if isinstance(delays, _Delays) else 0.0
        return OwnTimes(time.process_time(), delay_s)

    def close(self) -> None:
        """Close the files."""
        for source in self._sources.values():
            source.close()
        self._sources.clear()
        if self._stat:
            self._stat.close()
            self._stat = None

    def _value(self, name: str) -> float | None:
        source = self._sources.get(name)
        if source is None:
            return None
        try:
            return source.read()
        except (OSError, ValueError) as error:
            self.unknown[name] = reason(error, self._root)
            return None

    def _machine(self) -> _MachineTimes:
        try:
            times = parse_stat(self._stat.read()) if self._stat else _read_psutil()
        except (OSError, ValueError) as error:
            self.unknown["busy_s"] = self.unknown["steal_s"] = reason(error, self._root)
            return _MachineTimes(None, None)
        if times.steal_s is None:
            self.unknown["steal_s"] = "this system has no steal time"
        return times

    def _switches(self) -> float | None:
        if sys.platform == "win32":
            self.unknown["switches"] = "Windows has no such counter"
            return None
        import resource

        return float(resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw)


@dataclass(frozen=True, slots=True)
class _MachineTimes:
    busy_s: float | None
    steal_s: float | None


def parse_stat(stat: str) -> _MachineTimes:
    """Return the busy and steal time since boot from ``/proc/stat`` (proc_stat(5)).

    Raises:
        ValueError: Fields of Linux 2.6 are missing.
    """
    name, *ticks = stat.partition("\n")[0].split()
    if name != "cpu" or len(ticks) < 7:
        raise ValueError(f"/proc/stat begins with {stat[:40]!r}")
    user, nice, system, _idle, _waiting, irq, softirq, *more = (int(v) for v in ticks)
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    busy = (user + nice + system + irq + softirq) / ticks_per_s
    return _MachineTimes(busy, more[0] / ticks_per_s if more else None)


def _read_psutil() -> _MachineTimes:
    times = psutil.cpu_times()
    names = ("user", "nice", "system", "irq", "softirq")
    busy = sum(getattr(times, name, 0.0) for name in names)
    return _MachineTimes(busy, getattr(times, "steal", None))


class _Source(Protocol):
    def read(self) -> float:
        """Return the value; raise OSError or ValueError."""

    def close(self) -> None:
        """Close the files."""


@dataclass(frozen=True, slots=True)
class _Files:
    files: Sequence[OpenFile]
    value: Callable[[list[str]], float]

    def read(self) -> float:
        return self.value([file.read() for file in self.files])

    def close(self) -> None:
        for file in self.files:
            file.close()


class _Delays:
    """Waiting time of all threads, including ended ones.

    The kernel counts it per thread, until the thread ends.  This class keeps the last value of each
    thread, so the sum never decreases.
    """

    def __init__(self, root: Path) -> None:
        self._folder = root / "proc/self/task"
        self._kept: dict[str, OpenFile] = {}
        self._last_ns: dict[str, int] = {}
        self._ended_ns = 0
        # A kernel without these statistics reports "0 0 0" for a running thread.
        if (root / "proc/self/schedstat").read_text(encoding="ascii").startswith("0 "):
            raise OSError(errno.ENODATA, "this kernel has no scheduler statistics")

    def read(self) -> float:
        threads = os.listdir(self._folder)  # noqa: PTH208 - names, at every window
        for thread in self._last_ns.keys() - set(threads):
            self._end(thread)
        for thread in threads:
            try:
                _run_ns, waited, _slices = self._text(thread).split()
            except (FileNotFoundError, ProcessLookupError):
                self._end(thread)
                continue
            waited_ns = int(waited)
            if waited_ns < self._last_ns.get(thread, 0):
                self._end(thread)  # the id belongs to a new thread
            self._last_ns[thread] = waited_ns
        return (self._ended_ns + sum(self._last_ns.values())) / NS_PER_S

    def read_known(self) -> float:
        for thread, file in self._kept.items():
            with suppress(OSError, IndexError, ValueError):
                self._last_ns[thread] = int(file.read().split()[1])
        return (self._ended_ns + sum(self._last_ns.values())) / NS_PER_S

    def close(self) -> None:
        for file in self._kept.values():
            file.close()
        self._kept.clear()

    def _text(self, thread: str) -> str:
        file = self._kept.get(thread)
        if file is not None:
            try:
                return file.read()
            except ProcessLookupError:
                self._end(thread)  # the id belongs to a new thread
        file = OpenFile(self._folder / thread / "schedstat")
        if len(self._kept) < _MAX_THREADS:
            self._kept[thread] = file
            return file.read()
        with closing(file):
            return file.read()

    def _end(self, thread: str) -> None:
        self._ended_ns += self._last_ns.pop(thread, 0)
        file = self._kept.pop(thread, None)
        if file is not None:
            file.close()


def parse_pressure(pressure: str) -> float:
    """Return the time in which some thread waited, or raise ValueError; see proc_pressure(5)."""
    match = re.search(r"^some .*\btotal=(\d+)", pressure, re.MULTILINE)
    if match is None:
        raise ValueError("/proc/pressure/cpu has no total of some")
    return int(match[1]) / 1e6


def _pressure(root: Path) -> _Source:
    return _Files(open_files([root / "proc/pressure/cpu"]), lambda texts: parse_pressure(texts[0]))


def _quota(root: Path) -> _Source:
    groups = cgroups.cpu_quotas(root)
    if not groups:
        raise OSError(errno.ENODATA, "no control group of this process has a CPU quota")

    def value(texts: list[str]) -> float:
        return sum(group.throttled_s(text) for group, text in zip(groups, texts, strict=True))

    return _Files(open_files([group.cpu_stat for group in groups]), value)


def _throttles(root: Path) -> _Source:
    """Open the counter of every core, and of every package once, since its cores repeat it."""
    cpus = _cpu_folders(root)
    packages: dict[str, Path] = {}
    for cpu in cpus:
        count = cpu / "thermal_throttle/package_throttle_count"
        if count.exists():
            packages.setdefault((cpu / "topology/physical_package_id").read_text(), count)
    cores = [cpu / "thermal_throttle/core_throttle_count" for cpu in cpus]
    existing = [core for core in cores if core.exists()]
    if not existing and not packages:
        raise FileNotFoundError(errno.ENOENT, "", str(cores[0]))
    files = open_files([*_sample(existing), *packages.values()])
    return _Files(files, lambda texts: sum(int(text) for text in texts))


def _clock(root: Path) -> _Source:
    usable = Host(root).affinity()
    clocks = [
        cpu / "cpufreq/scaling_cur_freq"
        for cpu in _cpu_folders(root)
        if isinstance(usable, Unknown) or _number(cpu) in usable
    ]
    if not clocks:
        raise OSError(errno.ENODATA, "no usable processor has a clock")
    files = open_files(_sample(clocks))
    return _Files(files, lambda khz: sum(int(text) for text in khz) / len(khz) / 1000)


def _cpu_folders(root: Path) -> list[Path]:
    """Return the folders of the processors by number, at least one; else raise OSError."""
    folder = root / _CPUS
    folders = [path for path in folder.iterdir() if re.fullmatch(r"cpu\d+", path.name)]
    if not folders:
        raise FileNotFoundError(errno.ENOENT, "", str(folder / "cpu0"))
    return sorted(folders, key=_number)


def _number(cpu: Path) -> int:
    return int(cpu.name.removeprefix("cpu"))


def _sample(paths: list[Path]) -> list[Path]:
    """Return at most ``_MAX_CPUS`` of the paths, evenly spaced."""
    count = min(len(paths), _MAX_CPUS)
    return [paths[i * len(paths) // count] for i in range(count)]


_SOURCES: dict[str, Callable[[Path], _Source]] = {
    "delay_s": _Delays,
    "stalled_s": _pressure,
    "quota_wait_s": _quota,
    "throttles": _throttles,
    "clock_mhz": _clock,
}
