"""The requested devices, and which of them are available."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovtool.core.errors import MissingDeviceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovtool.core.sweep_folder import Environment
    from ovtool.devices.discovery import Device


def devices() -> list[Device]:
    """Return the devices that OpenVINO sees, virtual ones last.

    The list includes CPU, GPU and NPU where they are not available, with a diagnosis.
    """
    from ovtool.devices.discovery import discover, discover_virtual

    return [*discover(), *discover_virtual()]


def select_available(requested: Sequence[str], *, strict: bool) -> tuple[list[str], dict[str, str]]:
    """Return the available devices, and the reasons of the missing ones.

    Raises:
        InputError: A device name is unknown.
        MissingDeviceError: No device is available, or ``strict`` and a device is missing.
    """
    from ovtool.devices.discovery import discover, resolve

    available, missing = resolve(requested, discover())
    require_devices(available, missing, strict=strict)
    return available, missing


def require_devices(available: Sequence[str], missing: Mapping[str, str], *, strict: bool) -> None:
    """Check that a device is available.

    Raises:
        MissingDeviceError: No device is available, or ``strict`` and a device is missing.
    """
    if missing and (strict or not available):
        reasons = "; ".join(f"{name}: {reason}" for name, reason in missing.items())
        raise MissingDeviceError(f"not available: {reasons}", "see ovtool devices --why")


def find_emulated(names: Sequence[str]) -> frozenset[str]:
    """Return the devices that are emulated, or may dispatch work to an emulated device."""
    from ovtool.devices import discovery

    devices = discovery.discover()
    return frozenset(name for name in names if discovery.may_be_emulated(name, devices))


def describe_environment() -> Environment:
    """Return the current environment, with the available devices."""
    from ovtool.devices.discovery import discover
    from ovtool.system.environment import environment

    return environment(
        {
            d.name: {"name": d.full_name, "plugin": d.plugin, "driver": d.properties.get("driver")}
            for d in discover()
            if d.available
        }
    )
