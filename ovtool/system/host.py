"""Facts of the host, and reading of its files.

The files of Linux (``/proc``, ``/sys``) are read below a root folder, which tests replace.  A fact
that cannot be read is an :class:`Unknown` with a reason, never zero.
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
    """A fact that this host does not provide."""

    because: str


def reason(error: OSError | ValueError, root: Path) -> str:
    """Return on one line why a file below ``root`` could not be read."""
    if not isinstance(error, OSError):
        return f"not understood: {error}"
    if error.filename is None:
        return error.strerror or str(error)
    path = f"/{Path(error.filename).relative_to(root).as_posix()}"
    if isinstance(error, FileNotFoundError):
        return f"{path} does not exist"
    return f"{path}: {error.strerror}"


def read(root: Path, path: str) -> str | Unknown:
    """Return the content of a file below ``root``, without surrounding white space."""
    try:
        return (root / path).read_text(encoding="ascii", errors="replace").strip()
    except OSError as error:
        return Unknown(reason(OSError(error.errno, error.strerror, str(root / path)), root))


class OpenFile:
    """A file of ``/proc`` or ``/sys`` that stays open and is read repeatedly from its start.

    Raises:
        OSError: The file cannot be opened, or read by :meth:`read`; the error names the file.
    """

    __slots__ = ("_descriptor", "path")

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = -1
        self._descriptor = os.open(path, os.O_RDONLY)

    def read(self) -> str:
        """Return the current content, up to 4 KiB."""
        try:
            return os.pread(self._descriptor, 4096, 0).decode("ascii", "replace")
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error

    def close(self) -> None:
        """Close the file; garbage collection does it too."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    __del__ = close


def open_files(paths: Iterable[Path]) -> tuple[OpenFile, ...]:
    """Open all files, or none and raise OSError."""
    with ExitStack() as stack:
        files = tuple(stack.enter_context(closing(OpenFile(path))) for path in paths)
        stack.pop_all()
    return files


@dataclass(frozen=True, slots=True)
class Host:
    """The host, with its files below ``root``."""

    root: Path = field(default_factory=lambda: Path("/"))

    def rss_bytes(self) -> int:
        """Return the resident memory of this process."""
        return int(psutil.Process().memory_info().rss)

    def peak_rss_bytes(self) -> int | Unknown:
        """Return the peak resident memory of this process.

        The figure of ``getrusage`` survives ``exec`` on Linux, so a child would report the peak of
        its parent.
        """
        for line in self._lines("proc/self/status"):
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        peak = getattr(psutil.Process().memory_info(), "peak_wset", None)
        if peak is not None:
            return int(peak)
        return Unknown("no /proc/self/status and no peak working set")

    def reset_peak_rss(self) -> bool:
        """Set the peak resident memory of this process to its present one; False if it cannot be.

        Linux does so for 5 in ``/proc/self/clear_refs`` (proc(5)).
        """
        try:
            (self.root / "proc/self/clear_refs").write_text("5")
        except OSError:
            return False
        return True

    def affinity(self) -> list[int] | Unknown:
        """Return the numbers of the processors that this process may use."""
        if hasattr(os, "sched_getaffinity"):
            return sorted(os.sched_getaffinity(0))
        cpu_affinity = getattr(psutil.Process(), "cpu_affinity", None)
        return sorted(cpu_affinity()) if cpu_affinity else Unknown("no affinity on this system")

    def usable_cpus(self) -> int:
        """Return the number of processors that this process may use."""
        usable = self.affinity()
        return (os.cpu_count() or 1) if isinstance(usable, Unknown) else len(usable)

    def cpu_model(self) -> str:
        """Return the processor's name."""
        for line in self._lines("proc/cpuinfo"):
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
        return platform.processor() or platform.machine()

    def cpu_flags(self) -> list[str] | Unknown:
        """Return the instruction sets that matter for inference."""
        relevant = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_", "sse4_2")
        for line in self._lines("proc/cpuinfo"):
            if line.startswith("flags"):
                return sorted(f for f in line.partition(":")[2].split() if f.startswith(relevant))
        return Unknown("no /proc/cpuinfo on this system")

    def governor(self) -> str | Unknown:
        """Return the frequency governor of the first processor."""
        return read(self.root, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")

    def cgroup_cpus(self) -> float | Unknown | None:
        """Return the CPU quota of the control groups in processors; None without a quota."""
        return self._query(cgroups.cpus)

    def cgroup_memory_bytes(self) -> int | Unknown | None:
        """Return the memory limit of the control groups; None without a limit."""
        return self._query(cgroups.memory_bytes)

    def oom_kills(self) -> int | Unknown:
        """Return the number of out-of-memory kills: of the own group, else of the machine.

        A difference distinguishes an out-of-memory kill from another SIGKILL.
        """
        kills = self._query(cgroups.oom_kills)
        if isinstance(kills, int):
            return kills
        machine = cgroups.parse_keyed("\n".join(self._lines("proc/vmstat")), "oom_kill")
        return Unknown("no counter on this system") if machine is None else machine

    def facts(self) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the facts that do not change between runs, and why the rest is unknown."""
        facts: dict[str, Any] = {
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
        unknown = {k: v.because for k, v in facts.items() if isinstance(v, Unknown)}
        return {k: v for k, v in facts.items() if not isinstance(v, Unknown)}, unknown

    def _query(self, query: Callable[[Path], _T]) -> _T | Unknown:
        try:
            return query(self.root)
        except (OSError, ValueError) as error:
            return Unknown(reason(error, self.root))

    def _lines(self, path: str) -> list[str]:
        text = read(self.root, path)
        return [] if isinstance(text, Unknown) else text.splitlines()


def _gib(size_bytes: int | Unknown | None) -> float | Unknown | None:
    return round(size_bytes / 2**30, 2) if isinstance(size_bytes, int) else size_bytes
