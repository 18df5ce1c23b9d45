"""How devices, and why one is missing, are printed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovtool.cli import console as terminal
from ovtool.core import device_names as devicename

if TYPE_CHECKING:
    from ovtool.devices.discovery import Device

_STATUS = {"ok": "ok", "missing": "MISSING", "unknown": "unknown"}


def devices(found: list[Device], *, why: bool, json: bool) -> None:
    """Print the devices, or with ``why`` what was looked at for those that are not there."""
    if json:
        terminal.answer_json([device.to_json() for device in found])
        return
    if why:
        _why(found)
        return
    terminal.table(
        ("device", "kind", "what", "runs", "streams", "requests", "memory", "versions"),
        [_row(device) for device in found],
    )
    if not all(device.available for device in found):
        terminal.say(terminal.console(stderr=True), "what is missing, and how to get it: --why")


def _row(device: Device) -> tuple[str, ...]:
    told = device.properties
    memory_bytes = told.get("memory_bytes")
    memory = "" if memory_bytes is None else f"{memory_bytes / 2**30:.1f} GiB"
    precision = told.get("default_precision")
    runs = " ".join(device.capabilities) + (f"\ndefault {precision}" if precision else "")
    kind = "virtual" if devicename.is_virtual(device.name) else device.kind
    return (
        device.name,
        kind,
        device.full_name if device.available else f"not available: {device.why_not}",
        runs.strip(),
        _range(told.get("streams")),
        _range(told.get("requests")),
        memory,
        "\n".join(
            f"{what} {str(version).partition('-')[0]}"
            for what, version in (("plugin", device.plugin), ("driver", told.get("driver")))
            if version
        ),
    )


def _range(told: Any) -> str:
    """Return a range as ``1 to 4``; OpenVINO gives the least, the greatest and maybe a step."""
    if not told or len(told) < 2:
        return ""
    return str(told[0]) if told[0] == told[1] else f"{told[0]} to {told[1]}"


def _why(found: list[Device]) -> None:
    from ovtool.devices.hardware import Machine

    inside = Machine().in_container()
    say = terminal.console()
    for device in found:
        if device.available:
            terminal.say(say, f"{device.name}: there: {device.full_name}")
            continue
        terminal.say(say, f"{device.name}: not available: {device.why_not}", "bold")
        for finding in device.findings:
            terminal.say(say, f"  {_STATUS[finding.status]:7}  {finding.step}: {finding.evidence}")
            remedies = {"on this machine": finding.remedy, "in a container": finding.in_container}
            if finding.status != "missing":
                continue
            if finding.remedy == finding.in_container:
                remedies = {"do": finding.remedy}
            elif inside:
                remedies = dict(reversed(remedies.items()))
            for where, remedy in remedies.items():
                if remedy:
                    terminal.say(say, f"           {where}: {remedy}")
    if inside and not all(device.available for device in found):
        terminal.say(terminal.console(stderr=True), "this looks like a container")
