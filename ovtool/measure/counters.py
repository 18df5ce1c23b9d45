"""Counters that a measuring process reads at the end of every window.

What only Linux tells sits below a root that tests replace; what is not told is None, and
:attr:`Counters.why` says why.  Files are opened once and read again from their start, which takes
some ten microseconds each.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass, field, fields
from pathlib import Path

import psutil

from ovtool.host import ControlGroup, Unknown, control_groups

_NOT_CUMULATIVE = ("clock_mhz",)
_TICKS_PER_S = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


@dataclass(frozen=True, slots=True)
class Reading:
    """Counters since some moment of the past, but for the clock, which is of now.

    Args:
        cpu_s: CPU time of this process.
        busy_s: CPU time of the whole machine.
        steal_s: What a hypervisor gave to others.
        delay_s: Time for which threads of this process were ready and waited for a processor,
            summed over them.
        stalled_s: Time for which some task of the machine waited for a processor.
        switches: Involuntary context switches of this process.
        quota_wait_s: Time for which CPU quotas held the control groups of this process.
        throttles: Times that cores and packages throttled themselves.
        clock_mhz: Mean clock of the processors that this process may use.
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


def since(later: Reading, earlier: Reading) -> Reading:
    """Return what happened between two readings, never less than nothing."""

    def difference(name: str) -> float | None:
        a, b = getattr(later, name), getattr(earlier, name)
        if a is None or name in _NOT_CUMULATIVE:
            return None if a is None else float(a)
        return None if b is None else max(0.0, float(a) - float(b))

    return Reading(**{f.name: difference(f.name) for f in fields(Reading)})


@dataclass(slots=True)
class Counters:
    """The counters of this process and its machine.

    Args:
        root: Where ``/proc`` and ``/sys`` are.
    """

    root: Path = Path("/")
    why: dict[str, str] = field(default_factory=dict)
    """Why a counter is not known here, by its name in :class:`Reading`."""
    _files: dict[Path, int] = field(default_factory=dict)
    _threads: dict[str, int] = field(default_factory=dict)
    _delays_ns: dict[str, int] = field(default_factory=dict)
    _quotas: list[ControlGroup] = field(default_factory=list)
    _clocks: list[Path] = field(default_factory=list)
    _throttles: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Find out what this system tells."""
        groups = control_groups(self.root, "cpu")
        if isinstance(groups, Unknown):
            self.why["quota_wait_s"] = groups.because
        else:
            self._quotas = [g for g in groups if g.cpu_quota() is not None]
            if not self._quotas:
                self.why["quota_wait_s"] = "no control group of this process has a CPU quota"
        cpus = self.root / "sys/devices/system/cpu"
        for cpu in _usable():
            if (clock := cpus / f"cpu{cpu}/cpufreq/scaling_cur_freq").exists():
                self._clocks.append(clock)
        if not self._clocks:
            self.why["clock_mhz"] = f"/{(cpus / 'cpu*/cpufreq').relative_to(self.root)} not there"
        self._throttles = _throttle_files(cpus)
        if not self._throttles:
            self.why["throttles"] = "no thermal_throttle below /sys/devices/system/cpu"

    def own(self) -> tuple[float, float]:
        """Return CPU time and delay of this process; the delay is 0 where it is not told.

        Quick enough for every few milliseconds: threads that came since the last :meth:`read` are
        not seen.
        """
        return time.process_time(), self._delay_ns() / 1e9

    def read(self) -> Reading:
        """Read everything."""
        cpu_s = time.process_time()
        busy, steal = self._machine()
        return Reading(
            cpu_s=cpu_s,
            busy_s=busy,
            steal_s=steal,
            delay_s=self._delay(),
            stalled_s=self._stalled(),
            switches=self._switches(),
            quota_wait_s=self._quota_wait(),
            throttles=self._sum(self._throttles),
            clock_mhz=self._clock(),
        )

    def close(self) -> None:
        """Close its files."""
        for descriptor in (*self._files.values(), *self._threads.values()):
            os.close(descriptor)
        self._files.clear()
        self._threads.clear()

    def _machine(self) -> tuple[float | None, float | None]:
        text = self._text(self.root / "proc/stat", "busy_s")
        if text is not None and text.startswith("cpu "):
            # user nice system idle iowait irq softirq steal guest guest_nice, in ticks
            ticks = [int(value) for value in text.partition("\n")[0].split()[1:9]]
            busy = ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6]
            return busy / _TICKS_PER_S, ticks[7] / _TICKS_PER_S
        if self.root != Path("/"):
            return None, None
        times = psutil.cpu_times()
        self.why.pop("busy_s", None)
        self.why["steal_s"] = "told by Linux alone"
        extra = sum(getattr(times, name, 0.0) for name in ("nice", "interrupt", "dpc"))
        return times.user + times.system + extra, None

    def _delay(self) -> float | None:
        folder = self.root / "proc/self/task"
        try:
            threads = os.listdir(folder)  # noqa: PTH208 - half the time of iterdir
        except OSError as error:
            self.why["delay_s"] = f"/proc/self/task: {error.strerror}"
            return None
        for gone in self._threads.keys() - set(threads):
            os.close(self._threads.pop(gone))
        for thread in threads:
            if thread not in self._threads:
                with contextlib.suppress(OSError):  # ended meanwhile, or not told by this kernel
                    self._threads[thread] = os.open(folder / thread / "schedstat", os.O_RDONLY)
        if not self._threads:
            self.why["delay_s"] = "/proc/self/task/*/schedstat is not there"
            return None
        return self._delay_ns() / 1e9

    def _delay_ns(self) -> int:
        """Sum over all threads there ever were: what one that ended had waited stays counted."""
        for thread, descriptor in self._threads.items():
            with contextlib.suppress(OSError, IndexError, ValueError):
                self._delays_ns[thread] = int(os.pread(descriptor, 128, 0).split()[1])
        return sum(self._delays_ns.values())

    def _stalled(self) -> float | None:
        text = self._text(self.root / "proc/pressure/cpu", "stalled_s")
        some, _, total = (text or "").partition("\n")[0].partition("total=")
        return int(total) / 1e6 if some.startswith("some") and total.isdigit() else None

    def _switches(self) -> float | None:
        try:
            import resource
        except ImportError:
            self.why["switches"] = "not told by Windows"
            return None
        return float(resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw)

    def _quota_wait(self) -> float | None:
        waits = []
        for group in self._quotas:
            text = self._text(group.path / "cpu.stat", "quota_wait_s") or ""
            told = dict(line.split() for line in text.splitlines() if line.count(" ") == 1)
            if group.version == 2 and "throttled_usec" in told:
                waits.append(int(told["throttled_usec"]) / 1e6)
            elif group.version == 1 and "throttled_time" in told:
                waits.append(int(told["throttled_time"]) / 1e9)
        return sum(waits) if waits else None

    def _clock(self) -> float | None:
        total = self._sum(self._clocks)
        return None if total is None else total / len(self._clocks) / 1000

    def _sum(self, paths: list[Path]) -> float | None:
        texts = [self._text(path, "") for path in paths]
        values = [int(text) for text in texts if text is not None and text.strip().isdigit()]
        return float(sum(values)) if values and len(values) == len(paths) else None

    def _text(self, path: Path, name: str) -> str | None:
        try:
            if path not in self._files:
                self._files[path] = os.open(path, os.O_RDONLY)
            return os.pread(self._files[path], 4096, 0).decode("ascii", "replace")
        except OSError as error:
            if name:
                self.why[name] = f"/{path.relative_to(self.root)}: {error.strerror}"
            return None


def _usable() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _throttle_files(cpus: Path) -> list[Path]:
    """Return a counter for each core, and one for each package: its cores all show the same."""
    found: list[Path] = []
    packages: set[str] = set()
    for cpu in sorted(cpus.glob("cpu[0-9]*")):
        core = cpu / "thermal_throttle/core_throttle_count"
        package = cpu / "thermal_throttle/package_throttle_count"
        if core.exists():
            found.append(core)
        with contextlib.suppress(OSError):
            number = (cpu / "topology/physical_package_id").read_text(encoding="ascii")
            if package.exists() and number not in packages:
                packages.add(number)
                found.append(package)
    return found
