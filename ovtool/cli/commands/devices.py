"""``ovtool devices``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ovtool.cli import console, options, progress
from ovtool.cli.command import INSTALL, OUTPUT, TARGET, option
from ovtool.cli.console import print_unwrapped
from ovtool.core import units
from ovtool.core.device_names import is_virtual
from ovtool.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovtool.compile_check.npu.install import Offer
    from ovtool.devices.diagnosis import DiagnosisStep
    from ovtool.devices.discovery import Device
    from ovtool.roofline.calibration import Calibration, Peak, Rate

EXAMPLES = (
    "ovtool devices",
    "ovtool devices --why",
    "ovtool devices --why --all",
    "ovtool devices --calibrate --device CPU",
)


def command(
    why: Annotated[
        bool,
        option(
            OUTPUT,
            "",
            "Print the first cause of each missing device, and the isolation of commands.",
            "--why",
        ),
    ] = False,
    every: Annotated[
        bool, option(OUTPUT, "", "With --why: every step, with all remedies.", "--all")
    ] = False,
    calibrate: Annotated[
        bool,
        option(
            TARGET,
            "",
            "Measure peaks of --device (some minutes on a quiet machine), for predictions and"
            " 'ovtool profile --roofline'.",
            "--calibrate",
        ),
    ] = False,
    device: options.Device = "CPU",
    install_npu_compiler: Annotated[
        bool,
        option(
            INSTALL,
            "",
            "Install the compiler that 'ovtool check' needs for an NPU that is not present;"
            " asks first.",
            "--install-npu-compiler",
        ),
    ] = False,
    yes: Annotated[bool, option(INSTALL, "", "Install without asking.", "--yes")] = False,
    force: Annotated[bool, option(INSTALL, "", "Replace the installation.", "--force")] = False,
    json: options.Json = False,
) -> None:
    """List the devices that OpenVINO reports, and diagnose the missing ones."""
    from ovtool import api

    if every and not why:
        raise InputError("--all requires --why", "ovtool devices --why --all")
    if install_npu_compiler:
        _install(yes=yes, force=force)
        return
    if calibrate:
        with progress.show_progress() as bar:
            calibration = api.calibrate(device, progress=bar)
        print_calibration(calibration, json=json)
        return
    print_devices(api.devices(), why=why, every=every, json=json)


def _install(*, yes: bool, force: bool) -> None:
    from ovtool import api

    installed = api.npu_compiler_folder()
    if installed is not None and not force:
        print_unwrapped(f"already installed: {installed}")
        return
    offer = api.npu_compiler_offer()
    print_offer(offer)
    if not yes and not typer.confirm("Install it?", default=False, err=True):
        print_unwrapped("not installed")
        return
    with progress.show_progress() as bar:
        folder = api.install_npu_compiler(offer, progress=bar, force=force)
    print_unwrapped(f"installed: {folder}")


_GIGA, _MICRO = 1e9, 1e-6
_STATUS = {"ok": "ok", "missing": "MISSING", "unknown": "unknown"}


def print_devices(
    devices: list[Device], *, why: bool = False, every: bool = False, json: bool = False
) -> None:
    """Print the devices; with ``why``, the first cause of each missing one, or every step."""
    if json:
        console.print_json({"devices": [device.to_json() for device in devices]})
        return
    if why:
        _print_diagnosis(devices, every=every)
        _print_isolation()
        return
    headings = ("device", "kind", "name", "precisions", "streams", "requests", "memory", "versions")
    console.print_table(headings, [_device_row(device) for device in devices])
    if not all(device.available for device in devices):
        console.print_status(
            "some devices are not available; ovtool devices --why shows the reasons and remedies"
        )


def _device_row(device: Device) -> tuple[str, ...]:
    properties = device.properties
    memory_bytes = properties.get("memory_bytes")
    memory = "" if memory_bytes is None else f"{memory_bytes / 2**30:.1f} GiB"
    precision = properties.get("default_precision")
    precisions = " ".join(device.capabilities) + (f"\ndefault {precision}" if precision else "")
    versions = {"plugin": device.plugin, "driver": properties.get("driver")}
    return (
        device.name,
        "virtual" if is_virtual(device.name) else device.kind,
        device.full_name if device.available else f"not available: {device.unavailable_reason}",
        precisions.strip(),
        _range_text(properties.get("streams")),
        _range_text(properties.get("requests")),
        memory,
        "\n".join(f"{k} {str(v).partition('-')[0]}" for k, v in versions.items() if v),
    )


def _range_text(values: Any) -> str:
    """Return a range as ``1 to 4``; OpenVINO gives minimum, maximum and sometimes a step."""
    if not values or len(values) < 2:
        return ""
    low, high = values[:2]
    return str(low) if low == high else f"{low} to {high}"


def _print_diagnosis(devices: list[Device], *, every: bool) -> None:
    from ovtool.devices.hardware import HardwareInventory

    in_container = HardwareInventory().in_container()
    hidden = 0
    for device in devices:
        if device.available:
            console.print_line(f"{device.name}: available: {device.full_name}", "green")
            continue
        console.print_line(f"{device.name}: not available: {device.unavailable_reason}", "bold")
        shown = device.diagnosis if every else _first_missing(device.diagnosis)
        hidden += len(device.diagnosis) - len(shown)
        for finding in shown:
            remedies = _remedies(finding, in_container=in_container)
            if every or finding.evidence != device.unavailable_reason:
                step = f"  {_STATUS[finding.status]:7}  {finding.step}: {finding.evidence}"
                console.print_line(step)
            for where, remedy in remedies if every else remedies[:1]:
                console.print_line(f"           {where}: {remedy}")
    if hidden:
        more = units.count_text(hidden, "more step")
        console.print_status(f"{more} with all remedies: ovtool devices --why --all")
    if in_container and not all(device.available for device in devices):
        console.print_status("ovtool runs in a container")


def _first_missing(steps: Sequence[DiagnosisStep]) -> Sequence[DiagnosisStep]:
    """Return the first missing step, on which the later ones depend; all if none is missing."""
    missing = [step for step in steps if step.status == "missing"]
    return missing[:1] or steps


def _remedies(step: DiagnosisStep, *, in_container: bool) -> list[tuple[str, str]]:
    """Return the places and texts of the remedies of a missing step, the likelier first."""
    if step.status != "missing":
        return []
    remedies = [("on this machine", step.remedy), ("in a container", step.container_remedy)]
    if step.remedy == step.container_remedy:
        remedies = [("remedy", step.remedy)]
    elif in_container:
        remedies.reverse()
    return [(where, remedy) for where, remedy in remedies if remedy]


def _print_isolation() -> None:
    """Print in a line how a command is protected from files that crash or attack a library."""
    from ovtool.cli.isolation import describe_isolation
    from ovtool.system.memory_limit import select_limit

    protections = []
    for name, missing in describe_isolation().items():
        limit = select_limit() if name == "memory limit" and missing is None else None
        yes = "yes" if limit is None else f"{limit / 2**30:.3g} GiB"
        protections.append(f"{name} {yes if missing is None else f'no ({missing})'}")
    console.print_line(f"isolation of commands: {', '.join(protections)}")


def print_offer(offer: Offer) -> None:
    """Print the downloads of the NPU compiler: purpose, source, size and license."""
    console.print_question("Downloads through pip:")
    for download in offer.downloads:
        mib = download.size_mib
        size = "unknown size" if mib is None else f"{units.text(mib)} MiB"
        facts = f"{download.name}, {size}, license {download.license}: {download.purpose}"
        console.print_question(f"- {facts}\n  {download.url}")
    if offer.compiler:
        console.print_question(f"Builds a small program with {offer.compiler}.")
    console.print_question(f"Target folder: {offer.target}")


def print_calibration(calibration: Calibration, *, json: bool) -> None:
    """Print the calibration of a device."""
    if json:
        console.print_json({"calibration": calibration.model_dump(mode="json")})
        return
    console.print_line(
        f"{calibration.device}: {calibration.full_name}; environment {calibration.environment}"
    )
    rows = [
        (f"matrix product, {p.precision}, {p.hint} hint", _peak_text(p)) for p in calibration.peaks
    ]
    for rate in dict.fromkeys(calibration.bandwidths().values()):
        speed = _interval_text(_GIGA, rate.value, rate.ci_low, rate.ci_high)
        size = f"{units.text(units.mib(rate.sizes[0]))} MiB of activations"
        rows.append((f"bandwidth, {size}", f"{speed} GB/s"))
    for part, overhead in (("layer", calibration.layer), ("inference", calibration.inference)):
        figures = (overhead.value_s, overhead.ci_low_s, overhead.ci_high_s)
        rows.append((f"overhead per {part}", f"{_interval_text(_MICRO, *figures)} us"))
    console.print_table(("quantity", "measured"), rows)
    console.print_table(
        ("layer kind", "precision", "measurements", "min", "max", "unit"),
        _kind_rows(calibration.rates),
        right=("measurements", "min", "max"),
    )
    console.print_line(f"calibrated {calibration.summary}")
    for reason in calibration.left_out:
        console.print_status(f"left out: {reason}")
    if disturbed := sum(rate.verdict != "stable" for rate in calibration.rates):
        console.print_status(
            f"warning: {disturbed} of {len(calibration.rates)} measurements are not stable;"
            " calibrate again on a quiet machine"
        )


def _interval_text(unit: float, *figures: float | None) -> str:
    """Return a value and the ends of its interval in a unit."""
    value, low, high = (None if figure is None else figure / unit for figure in figures)
    return units.interval_text(value, low, high)


def _peak_text(peak: Peak) -> str:
    streams = "" if peak.streams is None else f" ({units.count_text(peak.streams, 'stream')})"
    speed = _interval_text(_GIGA, peak.flops_per_s, peak.ci_low, peak.ci_high)
    return f"{speed} GFLOP/s{streams}"


def _kind_rows(rates: Sequence[Rate]) -> list[tuple[str, ...]]:
    """Return a row for each kind and precision, with the range of the rates over sizes."""
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
