"""What devices OpenVINO sees here, and why it does not see the others."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovtool.errors import InputError
from ovtool.registry import suggestion

if TYPE_CHECKING:
    from collections.abc import Sequence

KINDS = ("CPU", "GPU", "NPU")
VIRTUAL = ("AUTO", "MULTI", "HETERO", "BATCH")


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
        properties: Other facts that the plugin tells.
    """

    name: str
    available: bool
    full_name: str = ""
    why_not: str = ""
    plugin: str | None = None
    capabilities: tuple[str, ...] = ()
    properties: dict[str, Any] = field(default_factory=dict)

    @property
    def emulated(self) -> bool:
        """Whether something else plays this device, as in tests: its name has to say so."""
        return "emulated" in self.full_name.lower()

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return asdict(self) | {"emulated": self.emulated}


def discover(root: Path = Path("/")) -> list[Device]:
    """Return every device that is there, and CPU, GPU and NPU with the reason where they are not.

    Args:
        root: Where ``/dev`` is looked for (tests give a folder of theirs).
    """
    import openvino as ov

    core = ov.Core()
    found: list[Device] = []
    for kind in KINDS:
        try:
            ids = list(core.get_property(kind, "AVAILABLE_DEVICES"))
        except RuntimeError as error:
            found.append(Device(kind, available=False, why_not=_reason(kind, str(error), root)))
            continue
        if not ids:
            found.append(Device(kind, available=False, why_not=_reason(kind, "", root)))
        several = len(ids) > 1 or kind == "GPU"
        found += [_described(core, f"{kind}.{i}" if several and i else kind) for i in ids]
    return found


def resolve(asked: Sequence[str], devices: Sequence[Device]) -> tuple[list[str], dict[str, str]]:
    """Sort the devices asked for into those that are there and those that are not, with why.

    ``GPU`` stands for the first GPU, as in OpenVINO.  Virtual devices are taken as they are.

    Raises:
        InputError: A name is none of OpenVINO's.
    """
    there: list[str] = []
    missing: dict[str, str] = {}
    by_name = {d.name: d for d in devices}
    for name in dict.fromkeys(asked):
        kind = name.partition(":")[0].partition(".")[0]
        if kind not in (*KINDS, *VIRTUAL):
            raise InputError(f"unknown device {name!r}", suggestion(name, [*KINDS, *VIRTUAL]))
        if kind in VIRTUAL:
            there.append(name)
            continue
        alike = (d for d in devices if d.name.partition(".")[0] == kind)
        match = by_name.get(name) or next(
            (d for d in alike if "." not in name or not d.available), None
        )
        if match is None:
            have = ", ".join(d.name for d in devices if d.available)
            missing[name] = f"there is no {name} here (there is {have})"
        elif match.available:
            there.append(match.name)
        else:
            missing[name] = match.why_not
    return list(dict.fromkeys(there)), missing


def emulated(name: str, devices: Sequence[Device]) -> bool:
    """Whether a device is emulated, or may hand work to one that is.

    Args:
        name: As OpenVINO calls it.  A virtual device counts by what it names (``AUTO:GPU,CPU``);
            where it names nothing, or only what it shall not take (``AUTO:-CPU``), by every device
            that is there.
        devices: What :func:`discover` found.
    """
    played = [device.name for device in devices if device.emulated]
    kind, _, listed = name.partition(":")
    members = [
        m.strip().partition("(")[0] for m in (listed if kind in VIRTUAL else name).split(",")
    ]
    taken = [m for m in members if m and not m.startswith("-")]
    if not taken:
        excluded = {m.removeprefix("-") for m in members}
        return any(not {one, one.partition(".")[0]} & excluded for one in played)
    return any(one in taken or one.partition(".")[0] in taken for one in played)


def _described(core: Any, name: str) -> Device:
    supported = set(core.get_property(name, "SUPPORTED_PROPERTIES"))

    def read(prop: str) -> Any:
        return core.get_property(name, prop) if prop in supported else None

    told = {
        "streams": read("RANGE_FOR_STREAMS"),
        "requests": read("RANGE_FOR_ASYNC_INFER_REQUESTS"),
        "default_precision": read("INFERENCE_PRECISION_HINT"),
        "memory_bytes": read("GPU_DEVICE_TOTAL_MEM_SIZE") or read("NPU_DEVICE_TOTAL_MEM_SIZE"),
        "driver": read("NPU_DRIVER_VERSION"),
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


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    if hasattr(value, "get_type_name"):
        return value.get_type_name()
    return value if isinstance(value, int | float | str) else str(value)


def _reason(kind: str, said: str, root: Path) -> str:
    """Say why a device is missing: its node, its loader, or what the plugin says."""
    last = said.strip().rpartition("\n")[2].strip()
    if "Cannot load library" in said or "was not found" in said:
        if "libOpenCL" in said:
            return "no OpenCL loader (libOpenCL.so.1 is not installed)" + _node(kind, root)
        why = last.rpartition('": ')[2]
        return f"its plugin does not load: {why[:120]}" + _node(kind, root)
    if last:
        return f"its plugin says: {last[:120]}" + _node(kind, root)
    finds = {"GPU": "the OpenCL loader finds no Intel GPU", "NPU": "the plugin finds no NPU"}
    return finds.get(kind, "the plugin finds none") + _node(kind, root)


def _node(kind: str, root: Path) -> str:
    if kind == "CPU" or not sys.platform.startswith("linux"):
        return ""
    folder, pattern = ("dev/dri", "renderD*") if kind == "GPU" else ("dev/accel", "accel*")
    nodes = sorted((root / folder).glob(pattern)) if (root / folder).is_dir() else []
    if not nodes:
        return f"; no /{folder}/{pattern}: no hardware, no kernel driver, or not passed in"
    return f"; /{folder}/{nodes[0].name} is there: the user-space driver is missing, or no access"
