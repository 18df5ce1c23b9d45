"""``ovtool devices``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ovtool.cli import console, options
from ovtool.cli.command import INSTALL, OUTPUT, WHAT
from ovtool.core import device_names as devicename
from ovtool.core import units

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovtool.compile_check.npu.install import Offer
    from ovtool.devices.discovery import Device
    from ovtool.roofline.calibration import Calibration, Overhead, Peak, Rate

EXAMPLES = (
    "ovtool devices",
    "ovtool devices --why",
    "ovtool devices --calibrate --device CPU",
)


def command(
    why: Annotated[
        bool,
        typer.Option(
            "--why",
            help="Diagnose each missing GPU or NPU step by step, with remedies.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate",
            help="Measure peaks of --device (some minutes on a quiet machine), for predictions and"
            " 'ovtool profile --roofline'.",
            rich_help_panel=WHAT,
        ),
    ] = False,
    device: options.Device = "CPU",
    install_npu_compiler: Annotated[
        bool,
        typer.Option(
            "--install-npu-compiler",
            help="Install the compiler that 'ovtool check' needs for an NPU that is not present;"
            " asks first.",
            rich_help_panel=INSTALL,
        ),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Install without asking.", rich_help_panel=INSTALL)
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the installation.", rich_help_panel=INSTALL)
    ] = False,
    json: options.Json = False,
) -> None:
    """List the devices that OpenVINO reports, and diagnose the missing ones."""
    from ovtool import api

    if install_npu_compiler:
        _install(yes=yes, force=force)
        return
    if calibrate:
        _calibrate(device, json=json)
        return
    print_devices(api.devices(), why=why, json=json)


def _calibrate(device: str, *, json: bool) -> None:
    from ovtool import api
    from ovtool.cli import progress

    with progress.show_progress() as shown:
        made = api.calibrate(device, progress=shown)
    print_calibration(made, json=json)


def _install(*, yes: bool, force: bool) -> None:
    from ovtool import api
    from ovtool.cli import progress

    there = api.npu_compiler_folder()
    if there is not None and not force:
        print(f"installed already: {there}")
        return
    offer = api.npu_compiler_offer()
    print_offer(offer)
    if not yes and not typer.confirm("Install it?", default=False, err=True):
        print("nothing was installed")
        return
    with progress.show_progress() as shown:
        folder = api.install_npu_compiler(offer, progress=shown, replace=force)
    print(f"installed: {folder}")


_GIGA = 1e9
_STATUS = {"ok": "ok", "missing": "MISSING", "unknown": "unknown"}


def print_devices(found: list[Device], *, why: bool, json: bool) -> None:
    """Print the devices, or with ``why`` what was looked at for those that are not there."""
    if json:
        console.print_json([device.to_json() for device in found])
        return
    if why:
        _why(found)
        return
    console.print_table(
        ("device", "kind", "what", "runs", "streams", "requests", "memory", "versions"),
        [_row(device) for device in found],
    )
    if not all(device.available for device in found):
        console.print_status("what is missing, and how to get it: --why")


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
        device.full_name if device.available else f"not available: {device.unavailable_reason}",
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
    from ovtool.devices.hardware import HardwareInventory

    inside = HardwareInventory().in_container()
    for device in found:
        if device.available:
            console.print_line(f"{device.name}: there: {device.full_name}")
            continue
        console.print_line(f"{device.name}: not available: {device.unavailable_reason}", "bold")
        for finding in device.diagnosis:
            console.print_line(f"  {_STATUS[finding.status]:7}  {finding.step}: {finding.evidence}")
            remedies = {
                "on this machine": finding.remedy,
                "in a container": finding.container_remedy,
            }
            if finding.status != "missing":
                continue
            if finding.remedy == finding.container_remedy:
                remedies = {"do": finding.remedy}
            elif inside:
                remedies = dict(reversed(remedies.items()))
            for where, remedy in remedies.items():
                if remedy:
                    console.print_line(f"           {where}: {remedy}")
    if inside and not all(device.available for device in found):
        console.print_status("this looks like a container")


def print_offer(found: Offer) -> None:
    """Print what installing the NPU's compiler downloads, from where, how large, its licence."""
    console.print_status("This downloads through pip:")
    for one in found.downloads:
        size = "size not told" if one.size_mib is None else f"{units.text(one.size_mib)} MiB"
        console.print_status(f"- {one.name}, {size}, licence {one.license}: {one.purpose}")
        console.print_status(f"  from {one.url}")
    if found.compiler:
        console.print_status(f"A small program is built with {found.compiler}.")
    console.print_status(f"It is installed into {found.target}")


def print_calibration(made: Calibration, *, json: bool) -> None:
    """Print what was measured of a device."""
    if json:
        console.print_json(made.model_dump(mode="json"))
        return
    console.print_line(f"{made.device}: {made.full_name}; environment {made.environment}")
    rows = [(f"matrix product in {p.precision}, {p.hint} hint", _peak(p)) for p in made.peaks]
    if (ends := made.bandwidth()) is not None:
        rows += [(f"moving {_mib(one)}", f"{_rate(one)} GB/s") for one in dict.fromkeys(ends)]
    rows += [
        ("overhead of a layer", _microseconds(made.layer)),
        ("overhead of an inference", _microseconds(made.inference)),
    ]
    console.print_table(("what", "reached"), rows)
    console.print_table(
        ("kind of layer", "in", "measured", "least", "most", "unit"),
        _kinds(made.rates),
        right=("measured", "least", "most"),
    )
    console.print_line(f"calibrated {made.summary}")
    for reason in made.left_out:
        console.print_status(f"left out: {reason}")
    disturbed = sum(rate.verdict != "stable" for rate in made.rates)
    if disturbed:
        console.print_status(
            f"warning: {disturbed} of {len(made.rates)} measurements are not stable; calibrate"
            " again on a quiet machine",
        )


def _peak(peak: Peak) -> str:
    value, low, high = (
        None if v is None else v / _GIGA for v in (peak.flops_per_s, peak.ci_low, peak.ci_high)
    )
    streams = "" if peak.streams is None else f" ({peak.streams} stream{'s' * (peak.streams > 1)})"
    return f"{units.interval_text(value, low, high)} GFLOP/s{streams}"


def _rate(rate: Rate) -> str:
    value, low, high = (
        None if v is None else v / _GIGA for v in (rate.value, rate.ci_low, rate.ci_high)
    )
    return units.interval_text(value, low, high)


def _mib(rate: Rate) -> str:
    return f"{units.text(units.mib(rate.sizes[0]))} MiB of activations"


def _microseconds(overhead: Overhead) -> str:
    value, low, high = (
        None if v is None else 1e6 * v
        for v in (overhead.value_s, overhead.ci_low_s, overhead.ci_high_s)
    )
    return f"{units.interval_text(value, low, high)} us"


def _kinds(rates: Sequence[Rate]) -> list[tuple[str, ...]]:
    """Return a row for each kind and precision: how far what it reached spreads over sizes."""
    from ovtool.roofline.model import COMPUTE_KINDS

    groups: dict[tuple[str, str], list[float]] = {}
    for rate in rates:
        groups.setdefault((rate.kind, rate.precision), []).append(rate.value / _GIGA)
    return [
        (
            kind,
            precision,
            str(len(values)),
            units.text(min(values)),
            units.text(max(values)),
            "GFLOP/s" if kind in COMPUTE_KINDS else "GB/s",
        )
        for (kind, precision), values in groups.items()
    ]
