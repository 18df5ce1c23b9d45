"""The control groups of this process: their limits and counters; see cgroups(7).

A system may use both versions, with each controller, such as ``cpu``, in one of them.  The limits
of all ancestors apply.  Functions raise ``OSError`` or ``ValueError`` where the files are missing
or not understood.
"""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

Version = Literal[1, 2]

_V1_NO_LIMIT = 2**62
"""Version 1 stores the absence of a memory limit as a number just under 2**63 bytes."""


@dataclass(frozen=True, slots=True)
class Group:
    """A control group, by its folder."""

    folder: Path
    version: Version

    @property
    def cpus(self) -> float | None:
        """CPU quota in processors; None without a quota."""
        if self.version == 2:
            quota, _, period = (self._read("cpu.max") or "max").partition(" ")
        else:
            quota = self._read("cpu.cfs_quota_us") or "-1"
            period = self._read("cpu.cfs_period_us") or ""
        return None if quota in ("max", "-1") else int(quota) / int(period or 100_000)

    @property
    def memory_bytes(self) -> int | None:
        """Memory limit; None without a limit."""
        name = "memory.max" if self.version == 2 else "memory.limit_in_bytes"
        limit = self._read(name) or "max"
        return None if limit == "max" or int(limit) >= _V1_NO_LIMIT else int(limit)

    @property
    def oom_kills(self) -> int | None:
        """Number of out-of-memory kills; None without a counter."""
        name = "memory.events" if self.version == 2 else "memory.oom_control"
        return parse_keyed(self._read(name) or "", "oom_kill")

    @property
    def cpu_stat(self) -> Path:
        """The file with the throttled time."""
        return self.folder / "cpu.stat"

    def throttled_s(self, cpu_stat: str) -> float:
        """Return the time for which the quota throttled threads, from the content of the file."""
        name, per_s = ("throttled_usec", 1e6) if self.version == 2 else ("throttled_time", 1e9)
        value = parse_keyed(cpu_stat, name)
        if value is None:
            raise ValueError(f"no {name} in cpu.stat")
        return value / per_s

    def _read(self, name: str) -> str | None:
        try:
            return (self.folder / name).read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return None  # root groups have no limits; controllers may be disabled below a group


def parse_keyed(content: str, name: str) -> int | None:
    """Return the number after a name, in a file with a name and a number per line."""
    for line in content.splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return None


def cpu_quotas(root: Path) -> list[Group]:
    """Return the groups of this process, with their ancestors, that have a CPU quota."""
    return [group for group in groups(root, "cpu") if group.cpus is not None]


def cpus(root: Path) -> float | None:
    """Return the smallest CPU quota in processors; None without a quota."""
    values = [group.cpus for group in groups(root, "cpu")]
    return min((quota for quota in values if quota is not None), default=None)


def memory_bytes(root: Path) -> int | None:
    """Return the smallest memory limit; None without a limit."""
    values = [group.memory_bytes for group in groups(root, "memory")]
    return min((limit for limit in values if limit is not None), default=None)


def oom_kills(root: Path) -> int | None:
    """Return the out-of-memory kills of the nearest group with a counter; None without one."""
    values = (group.oom_kills for group in groups(root, "memory"))
    return next((kills for kills in values if kills is not None), None)


def groups(root: Path, controller: str) -> list[Group]:
    """Return the group of this process for a controller, then its visible ancestors.

    A container sees its own group as the root of the mount.  The list is empty where the system
    has no such controller.

    Raises:
        OSError: ``/proc`` is not readable, or the groups are not mounted.
    """
    place = _place(_read_text(root / "proc/self/cgroup"), controller)
    if place is None:
        return []
    mounts = [
        mount
        for mount in _mounts(_read_text(root / "proc/self/mountinfo"))
        if mount.version == place.version
        and (place.version == 2 or controller in mount.options)
        and ".." not in mount.shows.parts  # it shows ancestors of the own group only
    ]
    if not mounts:
        raise FileNotFoundError(errno.ENOENT, f"the control groups of {controller} are not mounted")
    for mount in mounts:
        top = root / mount.point.relative_to("/")
        if place.path.is_relative_to(mount.shows):
            below = place.path.relative_to(mount.shows)
            if ".." not in below.parts and (top / below).is_dir():
                chain = [below, *below.parents] if below.parts else [below]
                return [Group(top / part, place.version) for part in chain]
    return [Group(root / mounts[0].point.relative_to("/"), place.version)]


@dataclass(frozen=True, slots=True)
class _Place:
    version: Version
    path: PurePosixPath


@dataclass(frozen=True, slots=True)
class _Mount:
    """A mounted hierarchy: ``point`` shows the groups below ``shows``."""

    version: Version
    shows: PurePosixPath
    point: PurePosixPath
    options: tuple[str, ...]


def _place(content: str, controller: str) -> _Place | None:
    """Find a controller in ``/proc/self/cgroup``: in version 1 where present, else in version 2."""
    unified = None
    for line in content.splitlines():
        number, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return _Place(1, PurePosixPath(path))
        if number == "0":
            unified = _Place(2, PurePosixPath(path))
    return unified


def _mounts(content: str) -> list[_Mount]:
    """Find the mounted control groups in ``/proc/self/mountinfo`` (proc_pid_mountinfo(5))."""
    mounts = []
    for line in content.splitlines():
        place, _, filesystem = line.partition(" - ")
        kind, _, source_and_options = filesystem.partition(" ")
        if kind not in ("cgroup", "cgroup2"):
            continue
        shows, point = (PurePosixPath(_unescaped(text)) for text in place.split(" ")[3:5])
        options = tuple(source_and_options.rpartition(" ")[2].split(","))
        mounts.append(_Mount(2 if kind == "cgroup2" else 1, shows, point, options))
    return mounts


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), text)


def _read_text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="surrogateescape")
