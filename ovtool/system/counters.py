"""What a measuring process reads at the end of every window: who had the processors, and how fast.

A reading takes some tens of microseconds.  What this system does not tell is None, with the reason
in :attr:`Counters.why`.
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
_MOST_CPUS = 64
"""Processors whose clock and heat are read: a larger machine is sampled, for the cost of it."""
_MOST_THREADS = 256
"""Threads whose files stay open: a process may often have no more than 1024 open files."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Counters that go up, but for ``clock_mhz``; None is what this system does not tell.

    Args:
        cpu_s: CPU time of this process.
        busy_s: Time that the processors of the machine worked, for whomever; in steps of 10 ms.
        steal_s: Time that a hypervisor gave to others, all processors together; in steps of 10 ms.
        delay_s: Time that threads of this process could run but waited for a processor.
        stalled_s: Time that any thread of the machine so waited (CPU pressure).
        switches: Times that a thread of this process was taken off its processor.
        quota_wait_s: Time that the CPU quotas above this process held their groups' threads back,
            all processors together.
        throttles: Times that heat slowed a core or a package down.
        clock_mhz: The mean clock of the usable processors, now.
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
        """Return what was counted since an earlier reading, and the clock of this one."""
        counted = {
            f.name: _more(getattr(self, f.name), getattr(earlier, f.name))
            for f in fields(self)
            if f.name != "clock_mhz"
        }
        return Reading(**counted, clock_mhz=self.clock_mhz)


def _more(later: float | None, earlier: float | None) -> float | None:
    """Return a difference of at least 0: counters of the kernel may step back a little."""
    return None if later is None or earlier is None else max(0.0, later - earlier)


class OwnTimes(NamedTuple):
    """CPU time of this process, and what its threads waited; 0 where that is not told."""

    cpu_s: float
    delay_s: float


class Counters:
    """Opens once what it reads at every reading.

    Args:
        root: Where ``/proc`` and ``/sys`` are.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self.why: dict[str, str] = {}
        """Name of a counter -> why it was not known in a reading, or never will be."""
        try:
            self._stat: OpenFile | None = OpenFile(root / "proc/stat")
        except OSError:
            self._stat = None  # not Linux: psutil is asked
        self._sources: dict[str, _Source] = {}
        for name, open_source in _SOURCES.items():
            try:
                self._sources[name] = open_source(root)
            except (OSError, ValueError) as error:
                self.why[name] = reason(error, root)

    def read(self) -> Reading:
        """Return the counters of now."""
        cpu_s, machine = time.process_time(), self._machine()
        values = {name: self._value(name) for name in _SOURCES}
        return Reading(
            cpu_s=cpu_s,
            busy_s=machine.busy_s,
            steal_s=machine.steal_s,
            switches=self._switches(),
            **values,
        )

    def own(self) -> OwnTimes:
        """Return the times of this process alone, quick enough for every few milliseconds.

        Threads that came since the last :meth:`read` are not seen.
        """
        waited = self._sources.get("delay_s")
        delay_s = waited.seen() if isinstance(waited, _Delays) else 0.0
        return OwnTimes(time.process_time(), delay_s)

    def close(self) -> None:
        """Close its files; they are not read again."""
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
            self.why[name] = reason(error, self._root)
            return None

    def _machine(self) -> _Machine:
        try:
            found = machine_times(self._stat.read()) if self._stat else _by_psutil()
        except (OSError, ValueError) as error:
            self.why["busy_s"] = self.why["steal_s"] = reason(error, self._root)
            return _Machine(None, None)
        if found.steal_s is None:
            self.why["steal_s"] = "this system does not tell what a hypervisor took"
        return found

    def _switches(self) -> float | None:
        if sys.platform == "win32":
            self.why["switches"] = "Windows does not tell"
            return None
        import resource

        return float(resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw)


@dataclass(frozen=True, slots=True)
class _Machine:
    busy_s: float | None
    steal_s: float | None


def machine_times(stat: str) -> _Machine:
    """Return the busy and stolen seconds since boot by ``/proc/stat`` (proc_stat(5)).

    Raises:
        ValueError: It has not the fields of a Linux since 2.6.
    """
    name, *ticks = stat.partition("\n")[0].split()
    if name != "cpu" or len(ticks) < 7:
        raise ValueError(f"/proc/stat begins with {stat[:40]!r}")
    user, nice, system, _idle, _waiting, irq, softirq, *more = (int(v) for v in ticks)
    a_second = os.sysconf("SC_CLK_TCK")
    busy = (user + nice + system + irq + softirq) / a_second
    return _Machine(busy, more[0] / a_second if more else None)


def _by_psutil() -> _Machine:
    found = psutil.cpu_times()
    names = ("user", "nice", "system", "irq", "softirq")
    busy = sum(getattr(found, name, 0.0) for name in names)
    return _Machine(busy, getattr(found, "steal", None))


class _Source(Protocol):
    """Where one counter is read."""

    def read(self) -> float:
        """Return its value, or raise OSError or ValueError."""

    def close(self) -> None:
        """Close its files."""


@dataclass(frozen=True, slots=True)
class _Files:
    """Files that stay open, and what their contents come to."""

    files: Sequence[OpenFile]
    value: Callable[[list[str]], float]

    def read(self) -> float:
        return self.value([file.read() for file in self.files])

    def close(self) -> None:
        for file in self.files:
            file.close()


class _Delays:
    """Waiting time of all threads, those that ended included as far as it was read.

    The kernel keeps it by thread and forgets it with the thread, so what each had when last seen is
    kept here: the sum never goes back.
    """

    def __init__(self, root: Path) -> None:
        self._folder = root / "proc/self/task"
        self._kept: dict[str, OpenFile] = {}
        self._last_ns: dict[str, int] = {}
        self._ended_ns = 0
        # A kernel that keeps no such statistics says "0 0 0" of a thread that runs.
        if (root / "proc/self/schedstat").read_text(encoding="ascii").startswith("0 "):
            raise OSError(errno.ENODATA, "this kernel keeps no statistics of its scheduler")

    def read(self) -> float:
        threads = os.listdir(self._folder)  # noqa: PTH208 - names, at every window
        for thread in self._last_ns.keys() - set(threads):
            self._end(thread)
        for thread in threads:
            try:
                _ran, waited, _times = self._text(thread).split()
            except (FileNotFoundError, ProcessLookupError):
                self._end(thread)
                continue
            waited_ns = int(waited)
            if waited_ns < self._last_ns.get(thread, 0):
                self._end(thread)  # its number was given to a new one
            self._last_ns[thread] = waited_ns
        return (self._ended_ns + sum(self._last_ns.values())) / NS_PER_S

    def seen(self) -> float:
        """Return the sum without looking for new threads."""
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
                self._end(thread)  # but its number is there: a new thread has it
        file = OpenFile(self._folder / thread / "schedstat")
        if len(self._kept) < _MOST_THREADS:
            self._kept[thread] = file
            return file.read()
        with closing(file):
            return file.read()

    def _end(self, thread: str) -> None:
        self._ended_ns += self._last_ns.pop(thread, 0)
        file = self._kept.pop(thread, None)
        if file is not None:
            file.close()


def stalled_s(pressure: str) -> float:
    """Return the time that some thread waited, by ``/proc/pressure/cpu``.

    Raises:
        ValueError: It has no such line.
    """
    found = re.search(r"^some .*\btotal=(\d+)", pressure, re.MULTILINE)
    if found is None:
        raise ValueError("no total of some in /proc/pressure/cpu")
    return int(found[1]) / 1e6


def _pressure(root: Path) -> _Source:
    return _Files(open_files([root / "proc/pressure/cpu"]), lambda texts: stalled_s(texts[0]))


def _quota(root: Path) -> _Source:
    groups = cgroups.cpu_quotas(root)
    if not groups:
        raise OSError(errno.ENODATA, "no control group above this process has a CPU quota")

    def value(texts: list[str]) -> float:
        return sum(group.held_back_s(text) for group, text in zip(groups, texts, strict=True))

    return _Files(open_files([group.cpu_stat for group in groups]), value)


def _throttles(root: Path) -> _Source:
    """Open the count of every core, and that of every package once: its cores repeat it."""
    cpus = _cpu_folders(root)
    packages: dict[str, Path] = {}
    for cpu in cpus:
        count = cpu / "thermal_throttle/package_throttle_count"
        if count.exists():
            packages.setdefault((cpu / "topology/physical_package_id").read_text(), count)
    cores = [cpu / "thermal_throttle/core_throttle_count" for cpu in cpus]
    there = [core for core in cores if core.exists()]
    if not there and not packages:
        raise FileNotFoundError(errno.ENOENT, "", str(cores[0]))
    files = open_files([*_sampled(there), *packages.values()])
    return _Files(files, lambda texts: sum(int(text) for text in texts))


def _clock(root: Path) -> _Source:
    usable = Host(root).affinity()
    clocks = [
        cpu / "cpufreq/scaling_cur_freq"
        for cpu in _cpu_folders(root)
        if isinstance(usable, Unknown) or _number(cpu) in usable
    ]
    if not clocks:
        raise OSError(errno.ENODATA, "no usable processor has a folder")
    files = open_files(_sampled(clocks))
    return _Files(files, lambda khz: sum(int(text) for text in khz) / len(khz) / 1000)


def _cpu_folders(root: Path) -> list[Path]:
    """Return the folder of every processor, by number; at least one.

    Raises:
        OSError: There are none.
    """
    folder = root / _CPUS
    found = [path for path in folder.iterdir() if re.fullmatch(r"cpu\d+", path.name)]
    if not found:
        raise FileNotFoundError(errno.ENOENT, "", str(folder / "cpu0"))
    return sorted(found, key=_number)


def _number(cpu: Path) -> int:
    return int(cpu.name.removeprefix("cpu"))


def _sampled(paths: list[Path]) -> list[Path]:
    """Return at most ``_MOST_CPUS`` of them, evenly spread."""
    count = min(len(paths), _MOST_CPUS)
    return [paths[i * len(paths) // count] for i in range(count)]


_SOURCES: dict[str, Callable[[Path], _Source]] = {
    "delay_s": _Delays,
    "stalled_s": _pressure,
    "quota_wait_s": _quota,
    "throttles": _throttles,
    "clock_mhz": _clock,
}
