"""The hardware and software of a measurement, with a hash that identifies them."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ovtool.core.sweep_folder import Environment
from ovtool.core.variant import versions
from ovtool.system.counters import Counters
from ovtool.system.energy import Meter
from ovtool.system.host import Host, Unknown

if TYPE_CHECKING:
    from collections.abc import Mapping


def environment(
    devices: Mapping[str, Mapping[str, Any]], host: Host | None = None, name: str = ""
) -> Environment:
    """Return the current environment, with facts of each device (full name, plugin, driver).

    ``name`` is that of a host of a fleet, which tells equal machines apart.
    """
    import openvino as ov

    hardware = host or Host()
    facts, unknown = hardware.facts()
    facts |= {
        "devices": {name: dict(values) for name, values in devices.items()},
        "openvino": ov.get_version(),
        "versions": versions("openvino-genai"),
    }
    if name:
        facts["host"] = name
    moment: dict[str, Any] = {"started": datetime.now(UTC).isoformat(timespec="seconds")}
    with closing(Counters(hardware.root)) as counters:
        clock_mhz = counters.read().clock_mhz
        if clock_mhz is None:
            unknown["clock_mhz"] = counters.unknown["clock_mhz"]
        else:
            moment["clock_mhz"] = round(clock_mhz)
    meter = Meter.for_device(hardware.root, "CPU")
    if isinstance(meter, Unknown):
        unknown["energy"] = meter.because
    else:
        moment["energy"] = meter.source
        meter.close()
    if hasattr(os, "getloadavg"):
        moment["load_average"] = [round(v, 2) for v in os.getloadavg()]
    line = (
        f"{facts['cpu']}, {facts['usable_cpus']} of {facts['logical_cpus']} CPUs usable,"
        f" {facts['memory_gib']} GiB, {facts['system']} {facts['kernel']}"
    )
    if name:
        line = f"{name}: {line}"
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    return Environment(
        id=digest.hexdigest()[:12], machine=line, facts=facts, unknown=unknown, moment=moment
    )
