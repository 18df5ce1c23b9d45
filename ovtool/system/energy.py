"""Energy counters of Linux: RAPL for the CPU, hwmon for GPUs and NPUs.

The source of a counter says where it includes more than the device.  See the kernel documentation
of powercap, and the ABI files of the hwmon of the drivers i915 and xe.
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
"""Kind of device -> folder of the devices, and prefix of their names."""


@dataclass(frozen=True, slots=True)
class Counter:
    """A file with an increasing number of microjoules.

    ``name`` is the domain, such as ``RAPL package-0``.  The counter wraps to 0 at ``range_uj``;
    None for 64 bits, which never wraps.
    """

    name: str
    path: Path
    range_uj: int | None = None

    def used_uj(self, earlier_uj: int, later_uj: int) -> int:
        """Return the energy between two readings, or raise ValueError after more than one wrap."""
        used_uj = later_uj - earlier_uj
        if used_uj < 0:
            used_uj += self.range_uj or 0
        if used_uj < 0:
            raise ValueError(f"{self.name} decreased from {earlier_uj} to {later_uj}")
        return used_uj


@dataclass(frozen=True, slots=True)
class CounterSet:
    """The counters of a device, which are summed, and their description."""

    counters: tuple[Counter, ...]
    source: str


class Meter:
    """Reads the counters of a device.

    A reading is needed at least once per wrap, which takes minutes on a large package.
    """

    def __init__(self, counter_set: CounterSet) -> None:
        self.source = counter_set.source
        self._counters = counter_set.counters
        self._files: tuple[OpenFile, ...] = open_files(c.path for c in counter_set.counters)
        self._last_uj: list[int] | None = None
        self._total_uj = 0

    @classmethod
    def for_device(cls, root: Path, device: str) -> Meter | Unknown:
        """Return the meter of a device such as ``GPU.1``, or why the device has no meter."""
        counter_set = find_counters(root, device)
        if isinstance(counter_set, Unknown):
            return counter_set
        try:
            meter = cls(counter_set)
        except OSError as error:
            remedy = "; only root may read it: sudo chmod a+r"
            refused = isinstance(error, PermissionError)
            return Unknown(reason(error, root) + (remedy if refused else ""))
        first = meter.read()
        if isinstance(first, Unknown):
            meter.close()
            return first
        return meter

    def read(self) -> int | Unknown:
        """Return the microjoules since the first reading, or why a counter is not readable."""
        try:
            now_uj = [int(file.read()) for file in self._files]
            pairs = zip(self._counters, self._last_uj or now_uj, now_uj, strict=True)
            self._total_uj += sum(c.used_uj(earlier, later) for c, earlier, later in pairs)
        except (OSError, ValueError) as error:
            return Unknown(f"{self.source}: {getattr(error, 'strerror', None) or error}")
        self._last_uj = now_uj
        return self._total_uj

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()


def find_counters(root: Path, device: str) -> CounterSet | Unknown:
    """Find the counters of a device such as ``GPU.1``, without checking permissions."""
    kind, _, number = device.partition(".")
    if kind == "CPU":
        return _packages(root)
    if kind not in _CLASSES or not (number.isdigit() or not number):
        return Unknown(f"{device} may run on several devices and has no counter")
    folder, prefix = _CLASSES[kind]
    cards = [
        f"{folder}/{name}"
        for name in _numbered(root, folder, prefix)
        if read(root, f"{folder}/{name}/device/vendor") == _INTEL
    ]
    index = int(number or 0)
    if index >= len(cards):
        return Unknown(f"/{folder} has {len(cards)} Intel devices and no {device}")
    own = _hwmon(root, cards[index])
    if own is not None:
        return CounterSet((own,), own.name)
    if kind == "GPU" and not _integrated(root, cards[index]):
        return Unknown(f"/{cards[index]}/device/hwmon has no energy counter")
    return _shared(root, device)


def _shared(root: Path, device: str) -> CounterSet | Unknown:
    """Return the package's counters for a device that is part of the package."""
    package = _packages(root)
    if isinstance(package, Unknown):
        return Unknown(f"{device} has no energy counter; {package.because}")
    source = f"{package.source} (whole package with its cores; {device} has no counter)"
    return CounterSet(package.counters, source)


def _packages(root: Path) -> CounterSet | Unknown:
    """Return the RAPL domains of the packages, by MSRs or else by MMIO.

    Both interfaces count the same packages.  ``psys`` counts the whole machine including the
    packages, so it is the last resort.
    """
    for interface in ("intel-rapl:", "intel-rapl-mmio:"):
        zones = [f"{_POWERCAP}/{name}" for name in _numbered(root, _POWERCAP, interface)]
        names = {zone: read(root, f"{zone}/name") for zone in zones}
        domains = [
            (z, n) for z, n in names.items() if isinstance(n, str) and n.startswith("package")
        ]
        domains = domains or [(z, n) for z, n in names.items() if n == "psys"]
        if domains:
            return _sum_domains(root, domains)
    return Unknown(f"/{_POWERCAP} has no RAPL package")


def _sum_domains(root: Path, zones: list[tuple[str, str]]) -> CounterSet | Unknown:
    counters = []
    for zone, name in zones:
        top = read(root, f"{zone}/max_energy_range_uj")
        if isinstance(top, Unknown):
            return top
        if not top.isdigit():
            return Unknown(f"/{zone}/max_energy_range_uj holds {top!r}")
        counters.append(Counter(f"RAPL {name}", root / zone / "energy_uj", int(top)))
    source = "RAPL " + "+".join(name for _, name in zones)
    scope = " (whole machine)" if source == "RAPL psys" else ""
    return CounterSet(tuple(counters), source + scope)


def _hwmon(root: Path, card: str) -> Counter | None:
    """Return the counter of a card: ``energy1`` counts the card, ``energy2`` (xe) its package."""
    folder = f"{card}/device/hwmon"
    for energy in ("energy1_input", "energy2_input"):
        for monitor in _numbered(root, folder, "hwmon"):
            driver = read(root, f"{folder}/{monitor}/name")
            if isinstance(driver, Unknown) or "_gt" in driver:
                continue  # i915 also has one per tile, which the card includes
            path = root / folder / monitor / energy
            if path.exists():
                part = "" if energy == "energy1_input" else " (its package)"
                return Counter(f"hwmon {driver} {card.rpartition('/')[2]}{part}", path)
    return None


def _integrated(root: Path, card: str) -> bool:
    """Whether a GPU is integrated: always device 2 of the first PCI bus."""
    uevent = read(root, f"{card}/device/uevent")
    return isinstance(uevent, str) and "PCI_SLOT_NAME=0000:00:02.0" in uevent.splitlines()


def _numbered(root: Path, folder: str, prefix: str) -> list[str]:
    """Return the names of a folder with the prefix and a number, ordered by the number."""
    try:
        names = [path.name for path in (root / folder).iterdir()]
    except OSError:
        return []
    numbered = [n for n in names if re.fullmatch(rf"{re.escape(prefix)}\d+", n)]
    return sorted(numbered, key=lambda name: int(name.removeprefix(prefix)))
