"""What a machine tells of itself, and how its files are read.

What only Linux has (``/proc``, ``/sys``) is read below a root that tests replace with a folder of
theirs.  What cannot be read is an :class:`Unknown` with the reason, never a zero.
"""

from __future__ import annotations

import os
import platform
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import psutil

from ovtool.system import cgroups

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Unknown:
    """A fact that this machine does not tell."""

    because: str


def reason(error: OSError | ValueError, root: Path) -> str:
    """Say in one line why something below ``root`` could not be read."""
    if not isinstance(error, OSError):
        return f"not understood: {error}"
    if error.filename is None:
        return error.strerror or str(error)
    path = f"/{Path(error.filename).relative_to(root).as_posix()}"
    if isinstance(error, FileNotFoundError):
        return f"{path} is not there"
    return f"{path}: {error.strerror}"


def read(root: Path, path: str) -> str | Unknown:
    """Return the content of a file below ``root``, without the white space around it."""
    try:
        return (root / path).read_text(encoding="ascii", errors="replace").strip()
    except OSError as error:
        return Unknown(reason(OSError(error.errno, error.strerror, str(root / path)), root))


class OpenFile:
    """A file of ``/proc`` or ``/sys`` that stays open, and is read again from its start.

    Raises:
        OSError: It cannot be opened; :meth:`read` raises it too.  Both name the file.
    """

    __slots__ = ("_descriptor", "path")

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY)

    def read(self) -> str:
        """Return its content of now, up to 4 KiB."""
        try:
            return os.pread(self._descriptor, 4096, 0).decode("ascii", "replace")
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error

    def close(self) -> None:
        """Close it."""
        os.close(self._descriptor)


def open_files(paths: Iterable[Path]) -> tuple[OpenFile, ...]:
    """Open all of the files, or none.

    Raises:
        OSError: One of them cannot be opened.
    """
    with ExitStack() as stack:
        files = tuple(stack.enter_context(closing(OpenFile(path))) for path in paths)
        stack.pop_all()
    return files


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

    def affinity(self) -> list[int] | Unknown:
        """Return the numbers of the processors that this process may run on."""
        if hasattr(os, "sched_getaffinity"):
            return sorted(os.sched_getaffinity(0))
        ask = getattr(psutil.Process(), "cpu_affinity", None)
        return sorted(ask()) if ask else Unknown("this system does not tie processes to processors")

    def usable_cpus(self) -> int:
        """Return how many processors this process may run on."""
        found = self.affinity()
        return (os.cpu_count() or 1) if isinstance(found, Unknown) else len(found)

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

    def cgroup_cpus(self) -> float | Unknown | None:
        """Return the processors that its control groups allow this process; None: no limit."""
        return self._asked(cgroups.cpus)

    def cgroup_memory_bytes(self) -> int | Unknown | None:
        """Return the memory that its control groups allow this process; None: no limit."""
        return self._asked(cgroups.memory_bytes)

    def oom_kills(self) -> int | Unknown:
        """Return how many processes were killed for memory: of the own group, else of the machine.

        A difference tells such a death from another SIGKILL.
        """
        found = self._asked(cgroups.oom_kills)
        if isinstance(found, int):
            return found
        machine = cgroups.keyed("\n".join(self._lines("proc/vmstat")), "oom_kill")
        return Unknown("this system does not count them") if machine is None else machine

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
            "cgroup_memory_gib": _gib(self.cgroup_memory_bytes()),
            "governor": self.governor(),
            "system": platform.system(),
            "kernel": platform.release(),
            "architecture": platform.machine(),
            "host": platform.node(),
            "python": platform.python_version(),
        }
        unknown = {k: v.because for k, v in found.items() if isinstance(v, Unknown)}
        return {k: v for k, v in found.items() if not isinstance(v, Unknown)}, unknown

    def _asked(self, question: Callable[[Path], _T]) -> _T | Unknown:
        try:
            return question(self.root)
        except (OSError, ValueError) as error:
            return Unknown(reason(error, self.root))

    def _read(self, path: str) -> str | Unknown:
        return read(self.root, path)

    def _lines(self, path: str) -> list[str]:
        text = self._read(path)
        return [] if isinstance(text, Unknown) else text.splitlines()


def _gib(size_bytes: int | Unknown | None) -> float | Unknown | None:
    return round(size_bytes / 2**30, 2) if isinstance(size_bytes, int) else size_bytes
