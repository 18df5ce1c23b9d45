"""Energy by the counters that a machine has: RAPL packages for the CPU, hwmon for cards and NPUs.

A counter that counts more than the device says so in its source.  All are of Linux; see powercap's
documentation in the kernel, and its ABI files of the i915 and xe drivers' hwmon.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovtool.system.host import OpenFile, Unknown, open_files, read, reason

if TYPE_CHECKING:
    from pathlib import Path

_POWERCAP = "sys/class/powercap"
_INTEL = "0x8086"
_CLASSES = {"GPU": ("sys/class/drm", "card"), "NPU": ("sys/class/accel", "accel")}
"""Kind of device -> the folder of such devices, and what their names begin with."""


@dataclass(frozen=True, slots=True)
class Counter:
    """A file that counts microjoules up.

    Args:
        name: What it counts, such as ``RAPL package-0``.
        path: The file.
        range_uj: Where it wraps to 0; None for one of 64 bits, which never does.
    """

    name: str
    path: Path
    range_uj: int | None = None

    def spent_uj(self, earlier_uj: int, later_uj: int) -> int:
        """Return the energy between two readings, across at most one wrap.

        Raises:
            ValueError: It went back by more than a wrap explains.
        """
        spent_uj = later_uj - earlier_uj
        if spent_uj < 0:
            spent_uj += self.range_uj or 0
        if spent_uj < 0:
            raise ValueError(f"{self.name} went back from {earlier_uj} to {later_uj}")
        return spent_uj


@dataclass(frozen=True, slots=True)
class CounterSet:
    """The counters of a device, which are added up, and what they count in words."""

    counters: tuple[Counter, ...]
    source: str


@dataclass(frozen=True, slots=True)
class Energy:
    """Energy since a meter was opened."""

    total_uj: int

    def since(self, earlier: Energy) -> float:
        """Return joules since an earlier reading of the same meter."""
        return (self.total_uj - earlier.total_uj) / 1e6


class Meter:
    """Reads the counters of a device.

    Each must be read at least once per wrap, which is minutes even of a large package.
    """

    def __init__(self, found: CounterSet) -> None:
        self.source = found.source
        self._counters = found.counters
        self._files: tuple[OpenFile, ...] = open_files(c.path for c in found.counters)
        self._last_uj: list[int] | None = None
        self._total_uj = 0

    @classmethod
    def for_device(cls, root: Path, device: str) -> Meter | Unknown:
        """Return the meter of a device, or why it has none.

        Args:
            root: Where ``/sys`` is.
            device: As OpenVINO calls it: ``CPU``, ``GPU.1``, ``NPU``.
        """
        found = counters(root, device)
        if isinstance(found, Unknown):
            return found
        try:
            meter = cls(found)
        except OSError as error:
            return _refused(error, root)
        first = meter.read()
        if isinstance(first, Unknown):
            meter.close()
            return first
        return meter

    def read(self) -> Energy | Unknown:
        """Return the energy so far, or why a counter could not be read."""
        try:
            now_uj = [int(file.read()) for file in self._files]
            pairs = zip(self._counters, self._last_uj or now_uj, now_uj, strict=True)
            self._total_uj += sum(c.spent_uj(earlier, later) for c, earlier, later in pairs)
        except (OSError, ValueError) as error:
            return Unknown(f"{self.source}: {getattr(error, 'strerror', None) or error}")
        self._last_uj = now_uj
        return Energy(self._total_uj)

    def close(self) -> None:
        """Close its files."""
        for file in self._files:
            file.close()


def counters(root: Path, device: str) -> CounterSet | Unknown:
    """Find the counters of a device; whether they may be read is not tried.

    Args:
        root: Where ``/sys`` is.
        device: As OpenVINO calls it: ``CPU``, ``GPU.1``, ``NPU``.
    """
    kind, _, number = device.partition(".")
    if kind == "CPU":
        return _packages(root)
    if kind not in _CLASSES or not (number.isdigit() or not number):
        return Unknown(f"{device} may run on several devices: no one counter is its own")
    folder, prefix = _CLASSES[kind]
    cards = [
        f"{folder}/{name}"
        for name in _numbered(root, folder, prefix)
        if read(root, f"{folder}/{name}/device/vendor") == _INTEL
    ]
    index = int(number or 0)
    if index >= len(cards):
        return Unknown(f"/{folder} has {len(cards)} Intel devices: none is {device}")
    own = _hwmon(root, cards[index])
    if own is not None:
        return CounterSet((own,), own.name)
    if kind == "NPU" or _integrated(root, cards[index]):
        return _shared(root, device)
    return Unknown(f"/{cards[index]}/device/hwmon has no energy counter")


def _shared(root: Path, device: str) -> CounterSet | Unknown:
    """Return the package's counters for a device that is a part of it."""
    package = _packages(root)
    if isinstance(package, Unknown):
        return Unknown(f"{device} has no energy counter of its own; {package.because}")
    words = f"{package.source} (the whole package, its cores too: {device} has no counter)"
    return CounterSet(package.counters, words)


def _packages(root: Path) -> CounterSet | Unknown:
    """Return the RAPL domains of the packages, by the MSRs, or by MMIO where those are not there.

    Both interfaces count the same package.  ``psys`` counts the whole machine, packages included,
    so it is taken only where there is nothing else.
    """
    for interface in ("intel-rapl:", "intel-rapl-mmio:"):
        zones = [f"{_POWERCAP}/{name}" for name in _numbered(root, _POWERCAP, interface)]
        names = {zone: read(root, f"{zone}/name") for zone in zones}
        found = [(z, n) for z, n in names.items() if isinstance(n, str) and n.startswith("package")]
        found = found or [(z, n) for z, n in names.items() if n == "psys"]
        if found:
            return _summed(root, found)
    return Unknown(f"/{_POWERCAP} has no package of RAPL")


def _summed(root: Path, zones: list[tuple[str, str]]) -> CounterSet | Unknown:
    made = []
    for zone, name in zones:
        top = read(root, f"{zone}/max_energy_range_uj")
        if isinstance(top, Unknown):
            return top
        if not top.isdigit():
            return Unknown(f"/{zone}/max_energy_range_uj holds {top!r}")
        made.append(Counter(f"RAPL {name}", root / zone / "energy_uj", int(top)))
    source = "RAPL " + "+".join(name for _, name in zones)
    whole = " (the whole machine)" if source == "RAPL psys" else ""
    return CounterSet(tuple(made), source + whole)


def _hwmon(root: Path, card: str) -> Counter | None:
    """Return a card's own counter: ``energy1`` counts the card, ``energy2`` (xe) its package."""
    folder = f"{card}/device/hwmon"
    for energy in ("energy1_input", "energy2_input"):
        for monitor in _numbered(root, folder, "hwmon"):
            driver = read(root, f"{folder}/{monitor}/name")
            if isinstance(driver, Unknown) or "_gt" in driver:
                continue  # i915 has one for each tile too, which the card's includes
            path = root / folder / monitor / energy
            if path.exists():
                part = "" if energy == "energy1_input" else " (its package)"
                return Counter(f"hwmon {driver} {card.rpartition('/')[2]}{part}", path)
    return None


def _integrated(root: Path, card: str) -> bool:
    """Whether a GPU is the processor's own, which is always device 2 of the first PCI bus."""
    told = read(root, f"{card}/device/uevent")
    return isinstance(told, str) and "PCI_SLOT_NAME=0000:00:02.0" in told.splitlines()


def _numbered(root: Path, folder: str, prefix: str) -> list[str]:
    """Return the names in a folder that are the prefix and a number, in order of it."""
    try:
        names = [path.name for path in (root / folder).iterdir()]
    except OSError:
        return []
    found = [n for n in names if re.fullmatch(rf"{re.escape(prefix)}\d+", n)]
    return sorted(found, key=lambda name: int(name.removeprefix(prefix)))


def _refused(error: OSError, root: Path) -> Unknown:
    said = reason(error, root)
    if isinstance(error, PermissionError):
        said += "; readable by root only: sudo chmod a+r it"
    return Unknown(said)
