"""Discovers the devices that OpenVINO sees, and why others are not available."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import psutil

from ovtool.core import device_names
from ovtool.core.device_names import KINDS, VIRTUAL, kind_of
from ovtool.core.errors import MissingDeviceError
from ovtool.core.notes import make_note
from ovtool.core.tabular import Tabular, TabularList
from ovtool.devices.diagnosis import DiagnosisStep, diagnose, find_cause
from ovtool.system.environment import environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ovtool.core.notes import Note
    from ovtool.core.sweep_folder import Environment
    from ovtool.devices.hardware import HardwareInventory


@dataclass(frozen=True, slots=True, repr=False)
class Device(Tabular):
    """A device of OpenVINO.

    Args:
        name: OpenVINO's name: ``CPU``, ``GPU.0``, ``NPU``.
        full_name: The plugin's description; empty for an unavailable device.
        unavailable_reason: Why the device is not available, on one line.
        plugin: Version of the plugin; None for an unavailable device.
        capabilities: Supported data types and features (``FP32``, ``BF16``, ``INT8`` ...).
        properties: Other properties: the ranges of ``streams`` and ``requests``, ``memory_bytes``,
            ``driver`` ...
    """

    name: str
    available: bool
    full_name: str = ""
    unavailable_reason: str = ""
    plugin: str | None = None
    capabilities: tuple[str, ...] = ()
    properties: dict[str, Any] = field(default_factory=dict)
    diagnosis: tuple[DiagnosisStep, ...] = ()

    @property
    def kind(self) -> str:
        """``CPU``, ``GPU``, ``NPU``, or a virtual device such as ``AUTO``."""
        return kind_of(self.name)

    @property
    def emulated(self) -> bool:
        """Whether the device is emulated, as in tests; its full name says so."""
        return "emulated" in self.full_name.lower()

    def _title(self) -> str:
        reason = self.full_name if self.available else f"not available: {self.unavailable_reason}"
        return f"{self.name}, {reason}"

    def _rows(self) -> list[dict[str, Any]]:
        row = self.to_json() | {"capabilities": " ".join(self.capabilities)}
        del row["diagnosis"], row["properties"]
        return [row]

    def to_json(self) -> dict[str, Any]:
        """Return the device as JSON types."""
        return {
            "kind": self.kind,
            "virtual": device_names.is_virtual(self.name),
            "emulated": self.emulated,
        } | asdict(self)


def discover(inventory: HardwareInventory | None = None) -> list[Device]:
    """Return every available device, and CPU, GPU and NPU with a diagnosis where unavailable."""
    import openvino as ov

    core = ov.Core()
    devices: list[Device] = []
    for kind in KINDS:
        error = ""
        try:
            ids = list(core.get_property(kind, "AVAILABLE_DEVICES"))
        except RuntimeError as exception:
            ids, error = [], str(exception)
        if not ids:
            devices.append(_unavailable(kind, error, inventory))
        numbered = len(ids) > 1 or kind == "GPU"
        devices += [_read_device(core, f"{kind}.{i}" if numbered and i else kind) for i in ids]
    return devices


def _unavailable(name: str, error: str, inventory: HardwareInventory | None = None) -> Device:
    diagnosis = diagnose(name, error, inventory)
    cause = find_cause(diagnosis)
    reason = "" if cause is None else cause.evidence
    return Device(name, available=False, unavailable_reason=reason, diagnosis=diagnosis)


def discover_virtual() -> list[Device]:
    """Return the devices that dispatch work to other devices."""
    import openvino as ov

    core = ov.Core()
    devices = []
    for name, description in VIRTUAL.items():
        try:
            devices.append(replace(_read_device(core, name), full_name=description))
        except RuntimeError as error:
            devices.append(_unavailable(name, str(error)))
    return devices


def resolve(
    requested: Sequence[str], devices: Sequence[Device]
) -> tuple[list[str], dict[str, str]]:
    """Split the requested devices into the available ones and the missing ones with a reason.

    ``GPU`` is the first GPU, as in OpenVINO, and ``NPU.4000`` an NPU of that platform.  A virtual
    device is available with all devices of its list; ``AUTO``, which selects one, with any of them.

    Raises:
        InputError: A device name is unknown.
    """
    available: list[str] = []
    missing: dict[str, str] = {}
    for name in dict.fromkeys(map(device_names.normalize, requested)):
        device_names.check(name)
        if not device_names.is_virtual(name):
            device = _find(name, devices)
            if device.available:
                available.append(device.name)
            else:
                missing[name] = device.unavailable_reason
            continue
        members = [_find(member, devices) for member in device_names.members(name)]
        absent = [m for m in members if not m.available]
        if absent and (kind_of(name) != "AUTO" or len(absent) == len(members)):
            missing[name] = "; ".join(f"{m.name}: {m.unavailable_reason}" for m in absent)
        else:
            available.append(name)
    return list(dict.fromkeys(available)), missing


def default_precisions(names: Iterable[str], devices: Iterable[Device]) -> dict[str, str]:
    """Return the precision that each named device uses by default, where it reports one."""
    reported = {d.name: d.properties.get("default_precision") for d in devices if d.available}
    return {name: str(value) for name in names if (value := reported.get(name))}


def devices() -> TabularList[Device]:
    """Return the devices that OpenVINO sees, virtual ones last.

    The list includes CPU, GPU and NPU where they are not available, with a diagnosis.
    """
    return TabularList([*discover(), *discover_virtual()])


def select_available(requested: Sequence[str], *, strict: bool) -> tuple[list[str], dict[str, str]]:
    """Return the available devices, and the reasons of the missing ones.

    Raises:
        InputError: A device name is unknown.
        MissingDeviceError: No device is available, or ``strict`` and a device is missing.
    """
    available, missing = resolve(requested, discover())
    require_devices(available, missing, strict=strict)
    return available, missing


def require_devices(available: Sequence[str], missing: Mapping[str, str], *, strict: bool) -> None:
    """Check that a device is available; raise as :func:`select_available` does."""
    if missing and (strict or not available):
        reasons = "; ".join(f"{name}: {reason}" for name, reason in missing.items())
        raise MissingDeviceError(f"not available: {reasons}", "see ovtool devices --why")


def find_caveats(names: Sequence[str]) -> dict[str, Note]:
    """Return a note for each device whose figures say nothing about real hardware."""
    emulated = [device.name for device in discover() if device.emulated]
    return {
        name: make_note("emulated", device_names.mark_device(name))
        for name in names
        if any(device_names.may_run_on(name, other) for other in emulated)
    }


def describe_environment(name: str = "") -> Environment:
    """Return the current environment, with the available devices.

    ``name`` is that of a host of a fleet.
    """
    facts = {
        d.name: {"name": d.full_name, "plugin": d.plugin, "driver": d.properties.get("driver")}
        for d in discover()
        if d.available
    }
    return environment(facts, name=name)


def _find(name: str, devices: Sequence[Device]) -> Device:
    """Return the device with a name, or an unavailable one with the reason."""
    same_kind = [d for d in devices if d.kind == kind_of(name)]
    match = next((d for d in same_kind if name in (d.name, _platform_name(d))), None) or next(
        (d for d in same_kind if "." not in name or not d.available), None
    )
    if match is not None:
        return match
    available = ", ".join(d.name for d in devices if d.available)
    reason = f"this machine has no {name}; available: {available}"
    return Device(name, available=False, unavailable_reason=reason)


def _platform_name(device: Device) -> str | None:
    """Return the name of an available NPU by its platform, such as ``NPU.4000``; else None."""
    platform = device.properties.get("architecture") if device.available else None
    return f"NPU.{platform}" if device.kind == "NPU" and platform is not None else None


def _read_device(core: Any, name: str) -> Device:
    supported = set(core.get_property(name, "SUPPORTED_PROPERTIES"))

    def read(prop: str) -> Any:
        return core.get_property(name, prop) if prop in supported else None

    system_memory = int(psutil.virtual_memory().total) if name == "CPU" else None
    properties = {
        "streams": read("RANGE_FOR_STREAMS"),
        "requests": read("RANGE_FOR_ASYNC_INFER_REQUESTS"),
        "default_precision": read("INFERENCE_PRECISION_HINT"),
        "memory_bytes": system_memory or read(f"{kind_of(name)}_DEVICE_TOTAL_MEM_SIZE"),
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
        properties={k: _to_json_type(v) for k, v in properties.items() if v is not None},
    )


def read_gpu_memory(name: str) -> int | None:
    """Return the bytes of memory of a GPU; None if unknown.  An integrated one has the host's."""
    import openvino as ov

    try:
        return int(ov.Core().get_property(name, "GPU_DEVICE_TOTAL_MEM_SIZE"))
    except RuntimeError:
        return None


def _to_json_type(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    if hasattr(value, "get_type_name"):
        return value.get_type_name()
    return value if isinstance(value, int | float | str) else str(value)
