"""The hardware and drivers of GPUs and NPUs: PCI bus, kernel modules, device nodes, libraries.

The files of Linux are read below a root folder, which tests replace.
"""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ovtool.system.host import Unknown, read

if TYPE_CHECKING:
    from collections.abc import Callable

INTEL = "0x8086"
NPUS = {
    "0x7d1d": "Meteor Lake",
    "0xad1d": "Arrow Lake",
    "0x643e": "Lunar Lake",
    "0xb03e": "Panther Lake",
    "0xfd3e": "Wildcat Lake",
    "0xd71d": "Nova Lake",
}
"""PCI ids of the kernel's NPU driver (Linux, drivers/accel/ivpu/ivpu_drv.h)."""


@dataclass(frozen=True, slots=True)
class PciDevice:
    """A device on the PCI bus; ids as in ``/sys``, such as ``0x8086``."""

    address: str
    vendor: str
    device: str
    code: str
    """Class, subclass and interface: ``0x030000`` is a VGA controller."""
    driver: str | None

    @property
    def text(self) -> str:
        """Description on one line."""
        name = NPUS.get(self.device)
        bound = f", driver {self.driver}" if self.driver else ", no driver"
        ids = f"{self.vendor.removeprefix('0x')}:{self.device.removeprefix('0x')}"
        return f"{ids}{f' ({name})' if name else ''} at {self.address}{bound}"


@dataclass(frozen=True, slots=True)
class Node:
    """A device node: a file of ``/dev``."""

    path: str
    group: str | None
    """Name of the group with access; its number where the group has no name."""
    may_open: bool


def _load(name: str) -> str | None:
    """Load a shared library; return the error, None after success."""
    try:
        ctypes.CDLL(name)
    except OSError as error:
        return str(error)
    return None


def _may_open(path: Path) -> bool:
    return os.access(path, os.R_OK | os.W_OK)


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in many containers
        return "$USER"


@dataclass(frozen=True, slots=True)
class HardwareInventory:
    """The hardware of a machine; tests give their own files, user and libraries.

    ``load`` loads a library and returns the error; None after success.
    """

    root: Path = field(default_factory=lambda: Path("/"))
    system: str = sys.platform
    load: Callable[[str], str | None] = _load
    may_open: Callable[[Path], bool] = _may_open
    user: str = field(default_factory=_user)

    @property
    def not_linux(self) -> Unknown | None:
        """Why the hardware cannot be read; None on Linux."""
        if self.system.startswith("linux"):
            return None
        return Unknown(f"unknown: only Linux has these files (system: {self.system})")

    def in_container(self) -> bool:
        """Whether this is a container, according to its files."""
        markers = (".dockerenv", "run/.containerenv")
        if any((self.root / marker).exists() for marker in markers):
            return True
        groups = read(self.root, "proc/1/cgroup")
        names = ("docker", "kubepods", "containerd", "libpod", "lxc")
        return not isinstance(groups, Unknown) and any(name in groups for name in names)

    def pci(self) -> list[PciDevice] | Unknown:
        """Return the devices of the PCI bus."""
        folder = self.root / "sys/bus/pci/devices"
        try:
            paths = sorted(folder.iterdir())
        except OSError as error:
            return Unknown(f"/sys/bus/pci/devices: {error.strerror}")
        return [
            PciDevice(
                path.name,
                self._text(path / "vendor"),
                self._text(path / "device"),
                self._text(path / "class"),
                (path / "driver").resolve().name if (path / "driver").exists() else None,
            )
            for path in paths
        ]

    def modules(self) -> set[str] | Unknown:
        """Return the loaded kernel modules, and the built-in ones with a folder."""
        folder = self.root / "sys/module"
        if folder.is_dir():
            return {path.name for path in folder.iterdir()}
        listed = read(self.root, "proc/modules")
        if isinstance(listed, Unknown):
            return Unknown("/sys/module and /proc/modules are not readable")
        return {line.split()[0] for line in listed.splitlines() if line}

    def nodes(self, pattern: str) -> list[Node]:
        """Return the files of ``/dev`` that match a pattern such as ``dri/renderD*``."""
        return [
            Node(f"/{path.relative_to(self.root).as_posix()}", _group(path), self.may_open(path))
            for path in sorted((self.root / "dev").glob(pattern))
        ]

    def opencl_drivers(self) -> dict[str, str]:
        """Return the libraries of ``/etc/OpenCL/vendors/*.icd`` by file name."""
        folder = self.root / "etc/OpenCL/vendors"
        return {path.name: self._text(path) for path in sorted(folder.glob("*.icd"))}

    def _text(self, path: Path) -> str:
        content = read(self.root, path.relative_to(self.root).as_posix())
        return "" if isinstance(content, Unknown) else content


def _group(path: Path) -> str | None:
    if sys.platform == "win32":
        return None
    import grp

    number = path.stat().st_gid
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
