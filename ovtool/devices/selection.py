"""The devices that were requested, and those of them that are available."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovtool.core.errors import MissingDeviceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovtool.core.sweep_folder import Environment
    from ovtool.devices.discovery import Device


def devices() -> list[Device]:
    """Return the devices that OpenVINO sees, virtual ones last.

    CPU, GPU and NPU are among them where they are missing, with why and what was looked at.
    """
    from ovtool.devices.discovery import discover, virtual

    return [*discover(), *virtual()]


def available(asked: Sequence[str], *, strict: bool) -> tuple[list[str], dict[str, str]]:
    """Return the devices that are there, and why the others are not.

    Raises:
        InputError: A name is none of OpenVINO's.
        MissingDeviceError: None is there, or ``strict`` and one is missing.
    """
    from ovtool.devices.discovery import discover, resolve

    there, missing = resolve(asked, discover())
    check_there(there, missing, strict=strict)
    return there, missing


def check_there(there: Sequence[str], missing: Mapping[str, str], *, strict: bool) -> None:
    """Check that there is a device to go on with.

    Raises:
        MissingDeviceError: None is there, or ``strict`` and one is missing.
    """
    if missing and (strict or not there):
        reasons = "; ".join(f"{name}: {why}" for name, why in missing.items())
        raise MissingDeviceError(
            f"not available: {reasons}", "ovtool devices --why says what to do"
        )


def emulated(names: Sequence[str]) -> frozenset[str]:
    """Return those of some devices that are emulated, or may hand work to one that is."""
    from ovtool.devices import discovery

    found = discovery.discover()
    return frozenset(name for name in names if discovery.emulated(name, found))


def environment_here() -> Environment:
    """Return the environment of now, with the devices that are there."""
    from ovtool.devices.discovery import discover
    from ovtool.system.environment import environment

    return environment(
        {
            d.name: {"name": d.full_name, "plugin": d.plugin, "driver": d.properties.get("driver")}
            for d in discover()
            if d.available
        }
    )
