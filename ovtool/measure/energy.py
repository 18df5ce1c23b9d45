"""Energy from the counters of a machine: RAPL of the processor, hwmon of a GPU or NPU."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovtool.host import Unknown

if TYPE_CHECKING:
    from pathlib import Path

INTEL = "0x8086"
_POWERCAP = "sys/class/powercap"


@dataclass(frozen=True, slots=True)
class Counter:
    """A counter of microjoules; ``range_uj`` is where it wraps to 0, None where it never does."""

    path: Path
    range_uj: int | None = None


@dataclass(frozen=True, slots=True)
class Energy:
    """Readings of a meter's counters, in microjoules, and where each wraps."""

    values_uj: tuple[int, ...]
    ranges_uj: tuple[int | None, ...]

    def since(self, earlier: Energy) -> float:
        """Return joules since an earlier reading, across at most one wrap of each counter."""
        joules = 0.0
        for now, before, top in zip(self.values_uj, earlier.values_uj, self.ranges_uj, strict=True):
            spent = now - before
            joules += (spent if spent >= 0 or top is None else spent + top) / 1e6
        return joules


@dataclass(frozen=True, slots=True)
class Meter:
    """What counts the energy of a device.

    Args:
        source: In words.
        counters: At least one.
    """

    source: str
    counters: tuple[Counter, ...]

    @classmethod
    def for_device(cls, root: Path, device: str) -> Meter | Unknown:
        """Return the meter of a device, or why there is none.

        The processor's package counts what is built into it, so it stands for an integrated GPU
        or an NPU that has no counter of its own, which ``source`` then says.

        Args:
            root: Where ``/sys`` is.
            device: As OpenVINO calls it.
        """
        kind, _, number = device.partition(".")
        package = _package(root)
        if kind == "CPU":
            found = package
        elif kind in {"GPU", "NPU"}:
            own = _gpu(root, int(number or 0)) if kind == "GPU" else _npu(root)
            if own is None and isinstance(package, Meter):
                package = cls(f"{package.source}, the whole processor", package.counters)
            found = own or package
        else:
            return Unknown(f"{device} may run on several devices")
        if isinstance(found, Unknown):
            return found
        first = found.read()
        return first if isinstance(first, Unknown) else found

    def read(self) -> Energy | Unknown:
        """Read its counters."""
        values = []
        for counter in self.counters:
            value = _number(counter.path)
            if isinstance(value, Unknown):
                return value
            values.append(value)
        return Energy(tuple(values), tuple(c.range_uj for c in self.counters))


def _package(root: Path) -> Meter | Unknown:
    """Return RAPL's package domains; ``intel-rapl-mmio`` counts the same ones once more."""
    for prefix in ("intel-rapl", "intel-rapl-mmio"):
        domains = sorted((root / _POWERCAP).glob(f"{prefix}:[0-9]*"))
        packages = [d for d in domains if d.name.count(":") == 1 and _name(d).startswith("package")]
        if not packages:
            continue
        counters = []
        for domain in packages:
            top = _number(domain / "max_energy_range_uj")
            if isinstance(top, Unknown):
                return top
            counters.append(Counter(domain / "energy_uj", top))
        return Meter("RAPL " + "+".join(map(_name, packages)), tuple(counters))
    return Unknown(f"no package domain of RAPL below /{_POWERCAP}")


def _gpu(root: Path, index: int) -> Meter | None:
    """Return the counter of the ``index``-th Intel card."""
    cards = sorted(
        (c for c in (root / "sys/class/drm").glob("card[0-9]*") if "-" not in c.name),
        key=lambda c: int(c.name.removeprefix("card")),
    )
    intel = [c for c in cards if _word(c / "device/vendor") == INTEL]
    return _hwmon(intel[index] / "device", intel[index].name) if index < len(intel) else None


def _npu(root: Path) -> Meter | None:
    for accelerator in sorted((root / "sys/class/accel").glob("accel*")):
        found = _hwmon(accelerator / "device", accelerator.name)
        if found is not None:
            return found
    return None


def _hwmon(device: Path, name: str) -> Meter | None:
    for monitor in sorted((device / "hwmon").glob("hwmon*")):
        if (monitor / "energy1_input").exists():
            source = f"hwmon {_name(monitor)} of {name}"
            return Meter(source, (Counter(monitor / "energy1_input"),))
    return None


def _name(folder: Path) -> str:
    return _word(folder / "name")


def _word(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _number(path: Path) -> int | Unknown:
    try:
        return int(path.read_text(encoding="ascii"))
    except OSError as error:
        remedy = f": sudo chmod a+r {path}" if error.errno == errno.EACCES else ""
        return Unknown(f"{path}: {error.strerror}{remedy}")
    except ValueError:
        return Unknown(f"{path}: not a number")
