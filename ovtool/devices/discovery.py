"""What devices OpenVINO sees here, and why it does not see the others."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import psutil

from ovtool.core import device_names as devicename
from ovtool.core.device_names import KINDS, VIRTUAL, kind_of
from ovtool.devices import diagnosis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovtool.devices.hardware import HardwareInventory


@dataclass(frozen=True, slots=True)
class Device:
    """A device that OpenVINO could use.

    Args:
        name: As OpenVINO calls it: ``CPU``, ``GPU.0``, ``NPU``.
        available: Whether it can be used now.
        full_name: What the plugin says it is; empty when it is not available.
        why_not: Why it is not available, in one line.
        plugin: Version of its plugin; None when the plugin did not load.
        capabilities: What it can run (``FP32``, ``BF16``, ``INT8`` ...).
        properties: Other facts that the plugin tells: ranges of ``streams`` and ``requests``,
            ``memory_bytes``, ``driver`` ...
        findings: What was looked at, step by step, when it is not available.
    """

    name: str
    available: bool
    full_name: str = ""
    why_not: str = ""
    plugin: str | None = None
    capabilities: tuple[str, ...] = ()
    properties: dict[str, Any] = field(default_factory=dict)
    findings: tuple[diagnosis.DiagnosisStep, ...] = ()

    @property
    def kind(self) -> str:
        """``CPU``, ``GPU``, ``NPU``, or the virtual one that hands the work to others."""
        return kind_of(self.name)

    @property
    def emulated(self) -> bool:
        """Whether something else plays this device, as in tests: its name has to say so."""
        return "emulated" in self.full_name.lower()

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        told = {
            "kind": self.kind,
            "virtual": devicename.is_virtual(self.name),
            "emulated": self.emulated,
        }
        return told | asdict(self)


def discover(machine: HardwareInventory | None = None) -> list[Device]:
    """Return every device that is there, and CPU, GPU and NPU with the reason where they are not.

    Args:
        machine: Where to look for why one is missing; a test gives one of its own.
    """
    import openvino as ov

    core = ov.Core()
    found: list[Device] = []
    for kind in KINDS:
        said = ""
        try:
            ids = list(core.get_property(kind, "AVAILABLE_DEVICES"))
        except RuntimeError as error:
            ids, said = [], str(error)
        if not ids:
            findings = diagnosis.diagnose(kind, said, machine)
            why_not = diagnosis.reason(findings)
            found.append(Device(kind, available=False, why_not=why_not, findings=findings))
        several = len(ids) > 1 or kind == "GPU"
        found += [_described(core, f"{kind}.{i}" if several and i else kind) for i in ids]
    return found


def virtual() -> list[Device]:
    """Return the devices that hand the work to others, as far as their plugins load."""
    import openvino as ov

    core = ov.Core()
    found = []
    for name, does in VIRTUAL.items():
        try:
            device = _described(core, name)
        except RuntimeError as error:
            findings = diagnosis.diagnose(name, str(error))
            why_not = diagnosis.reason(findings)
            device = Device(name, available=False, why_not=why_not, findings=findings)
        found.append(replace(device, full_name=does if device.available else ""))
    return found


def resolve(asked: Sequence[str], devices: Sequence[Device]) -> tuple[list[str], dict[str, str]]:
    """Sort the devices asked for into those that are there and those that are not, with why.

    ``GPU`` stands for the first GPU, as in OpenVINO, and ``NPU.4000`` for an NPU of that platform.
    A virtual device is there when every device of its list is; ``AUTO`` when one is, as it takes
    the first that can.

    Args:
        asked: Names as a user writes them.
        devices: What :func:`discover` found.

    Raises:
        InputError: A name is none of OpenVINO's.
    """
    there: list[str] = []
    missing: dict[str, str] = {}
    for name in dict.fromkeys(asked):
        devicename.check(name)
        if not devicename.is_virtual(name):
            found = _find(name, devices)
            if found.available:
                there.append(found.name)
            else:
                missing[name] = found.why_not
            continue
        members = [_find(member, devices) for member in devicename.members(name)]
        absent = [m for m in members if not m.available]
        if absent and (kind_of(name) != "AUTO" or len(absent) == len(members)):
            missing[name] = "; ".join(f"{m.name}: {m.why_not}" for m in absent)
        else:
            there.append(name)
    return list(dict.fromkeys(there)), missing


def emulated(name: str, devices: Sequence[Device]) -> bool:
    """Whether a device is emulated, or may hand work to one that is.

    Args:
        name: As OpenVINO calls it.
        devices: What :func:`discover` found.
    """
    return any(device.emulated and devicename.may_run_on(name, device.name) for device in devices)


def _find(name: str, devices: Sequence[Device]) -> Device:
    """Return the device of a name, or one that is not available with the reason."""
    alike = [d for d in devices if d.kind == kind_of(name)]
    match = next((d for d in alike if name in (d.name, _by_platform(d))), None) or next(
        (d for d in alike if "." not in name or not d.available), None
    )
    if match is not None:
        return match
    have = ", ".join(d.name for d in devices if d.available)
    return Device(name, available=False, why_not=f"there is no {name} here (there is {have})")


def _by_platform(device: Device) -> str | None:
    """Return the name of an NPU that is here by its platform: ``NPU.4000``; None for others."""
    platform = device.properties.get("architecture") if device.available else None
    return f"NPU.{platform}" if device.kind == "NPU" and platform is not None else None


def _described(core: Any, name: str) -> Device:
    supported = set(core.get_property(name, "SUPPORTED_PROPERTIES"))

    def read(prop: str) -> Any:
        return core.get_property(name, prop) if prop in supported else None

    told = {
        "streams": read("RANGE_FOR_STREAMS"),
        "requests": read("RANGE_FOR_ASYNC_INFER_REQUESTS"),
        "default_precision": read("INFERENCE_PRECISION_HINT"),
        "memory_bytes": _memory_bytes(name) or read(f"{kind_of(name)}_DEVICE_TOTAL_MEM_SIZE"),
        "driver": read(f"{kind_of(name)}_DRIVER_VERSION"),
        "architecture": read("DEVICE_ARCHITECTURE"),
    }
    plugin = core.get_versions(name)
    return Device(
        name,
        available=True,
        full_name=str(read("FULL_DEVICE_NAME") or ""),
        plugin=next((v.build_number for v in plugin.values()), None),
        capabilities=tuple(str(c) for c in read("OPTIMIZATION_CAPABILITIES") or ()),
        properties={k: _plain(v) for k, v in told.items() if v is not None},
    )


def _memory_bytes(name: str) -> int | None:
    """Return the machine's memory for the CPU, which has no other."""
    return int(psutil.virtual_memory().total) if name == "CPU" else None


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    if hasattr(value, "get_type_name"):
        return value.get_type_name()
    return value if isinstance(value, int | float | str) else str(value)
