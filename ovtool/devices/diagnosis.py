"""Diagnoses why a GPU or an NPU is not available.

The steps, in this order: hardware on the PCI bus, kernel module, device nodes and their
permissions, user-space loader and driver, the error of OpenVINO's plugin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ovtool.core.third_party import condense
from ovtool.devices import plugin_errors
from ovtool.devices.hardware import INTEL, NPUS, HardwareInventory, PciDevice
from ovtool.system.host import Unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Status = Literal["ok", "missing", "unknown"]


@dataclass(frozen=True, slots=True)
class DiagnosisStep:
    """The result of one step; the remedies are empty where nothing is missing.

    Args:
        step: The component.
        evidence: What the step observed.
        remedy: The remedy on Debian or Ubuntu.
        container_remedy: The remedy for a container.
    """

    step: str
    status: Status
    evidence: str
    remedy: str = ""
    container_remedy: str = ""


@dataclass(frozen=True, slots=True)
class _Library:
    """A library that the plugin needs, under one of several names."""

    step: str
    names: tuple[str, ...]
    remedy: str
    container_remedy: str


@dataclass(frozen=True, slots=True)
class _Kind:
    title: str
    matches: Callable[[PciDevice], bool]
    hardware_remedy: str
    modules: tuple[str, ...]
    module_remedy: str
    nodes: str
    node_remedy: str
    docker_options: str
    libraries: tuple[_Library, ...]
    uses_opencl: bool = False


_IN_IMAGE = "in the image: RUN apt-get update && apt-get install -y --no-install-recommends {}"
_KINDS = {
    "GPU": _Kind(
        title="Intel GPU",
        matches=lambda pci: pci.code.startswith("0x03"),
        hardware_remedy="enable the GPU in the firmware settings, or use another machine;"
        " a virtual machine needs PCI passthrough",
        modules=("i915", "xe"),
        module_remedy="sudo modprobe i915, or xe for Lunar Lake, Battlemage and later; a recent GPU"
        " needs a recent kernel",
        nodes="dri/renderD*",
        node_remedy="search sudo dmesg for i915 or xe; the firmware package is"
        " firmware-misc-nonfree (Debian) or linux-firmware (Ubuntu)",
        docker_options="docker run --device /dev/dri --group-add $(stat -c %g /dev/dri/renderD128)",
        libraries=(
            _Library(
                "OpenCL loader",
                ("libOpenCL.so.1",),
                "sudo apt-get install ocl-icd-libopencl1",
                _IN_IMAGE.format("ocl-icd-libopencl1 intel-opencl-icd"),
            ),
        ),
        uses_opencl=True,
    ),
    "NPU": _Kind(
        title="Intel NPU",
        matches=lambda pci: pci.device in NPUS or pci.code.startswith("0x1200"),
        hardware_remedy="use a Core Ultra processor (Meteor Lake or later), and enable its NPU in"
        " the firmware settings; a virtual machine needs PCI passthrough",
        modules=("intel_vpu",),
        module_remedy="sudo modprobe intel_vpu; the module requires Linux 6.3, and a recent NPU"
        " needs a recent kernel",
        nodes="accel/accel*",
        node_remedy="search sudo dmesg for intel_vpu; the firmware (intel/vpu/*.bin) is part of"
        " linux-firmware, or of intel-fw-npu from github.com/intel/linux-npu-driver/releases",
        docker_options="docker run --device /dev/accel/accel0"
        " --group-add $(stat -c %g /dev/accel/accel0)",
        libraries=(
            _Library(
                "Level Zero loader",
                ("libze_loader.so.1",),
                "sudo apt-get install libze1",
                _IN_IMAGE.format("libze1"),
            ),
            _Library(
                "NPU driver in user space",
                ("libze_intel_npu.so.1", "libze_intel_vpu.so.1"),
                plugin_errors.NPU_DRIVER,
                "in the image: install the same packages, or mount libze_intel_npu.so.1 and"
                " libnpu_driver_compiler.so of the host",
            ),
        ),
    ),
}


def diagnose(
    kind: str, plugin_error: str, inventory: HardwareInventory | None = None
) -> tuple[DiagnosisStep, ...]:
    """Return the diagnosis of a device that OpenVINO does not list.

    ``plugin_error`` is empty where the plugin loads and lists no device.
    """
    known = _KINDS.get(kind)
    steps = [] if known is None else list(_run_steps(known, inventory or HardwareInventory()))
    return (*steps, _check_plugin(kind, plugin_error))


def find_cause(diagnosis: Sequence[DiagnosisStep]) -> DiagnosisStep | None:
    """Return the first missing component, else the first unknown one."""
    missing = [step for step in diagnosis if step.status == "missing"]
    return next(iter(missing or [step for step in diagnosis if step.status != "ok"]), None)


def _run_steps(kind: _Kind, inventory: HardwareInventory) -> Iterator[DiagnosisStep]:
    if inventory.not_linux is not None:
        libraries = [library.step for library in kind.libraries]
        for step in ("hardware", "kernel module", "device node", *libraries):
            yield DiagnosisStep(step, "unknown", inventory.not_linux.because)
        return
    yield _check_hardware(kind, inventory)
    yield _check_module(kind, inventory)
    yield _check_node(kind, inventory)
    for library in kind.libraries:
        yield _check_library(library, inventory)
    if kind.uses_opencl:
        yield _check_opencl_driver(inventory)


def _check_hardware(kind: _Kind, inventory: HardwareInventory) -> DiagnosisStep:
    devices = inventory.pci()
    if isinstance(devices, Unknown):
        return DiagnosisStep("hardware", "unknown", f"unknown: {devices.because}")
    matching = [d for d in devices if d.vendor == INTEL and kind.matches(d)]
    if matching:
        return DiagnosisStep("hardware", "ok", "; ".join(device.text for device in matching))
    displays = [d for d in devices if kind.uses_opencl and d.code.startswith("0x03")]
    other = f"; other display controller: {displays[0].text}" if displays else ""
    return DiagnosisStep(
        "hardware",
        "missing",
        f"no {kind.title} on the PCI bus ({len(devices)} devices{other})",
        kind.hardware_remedy,
        "the same on the host: a container sees the host's PCI bus",
    )


def _check_module(kind: _Kind, inventory: HardwareInventory) -> DiagnosisStep:
    modules = inventory.modules()
    if isinstance(modules, Unknown):
        return DiagnosisStep("kernel module", "unknown", f"unknown: {modules.because}")
    loaded = [name for name in kind.modules if name in modules]
    if loaded:
        return DiagnosisStep("kernel module", "ok", f"{', '.join(loaded)} loaded")
    return DiagnosisStep(
        "kernel module",
        "missing",
        f"the kernel module {' or '.join(kind.modules)} is not loaded",
        kind.module_remedy,
        "the same on the host: a container uses the host's kernel",
    )


def _check_node(kind: _Kind, inventory: HardwareInventory) -> DiagnosisStep:
    nodes = inventory.nodes(kind.nodes)
    if not nodes:
        return DiagnosisStep(
            "device node",
            "missing",
            f"no /dev/{kind.nodes}: no hardware, no kernel driver, or not passed to the container",
            kind.node_remedy,
            kind.docker_options,
        )
    listed = ", ".join(f"{node.path} (group {node.group})" for node in nodes)
    if any(node.may_open for node in nodes):
        return DiagnosisStep("device node", "ok", f"{listed}; {inventory.user} has access")
    group = nodes[0].group or "render"
    return DiagnosisStep(
        "device node",
        "missing",
        f"{inventory.user} has no access to {listed}",
        f"sudo usermod -aG {group} {inventory.user}, then log in again",
        kind.docker_options,
    )


def _check_library(library: _Library, inventory: HardwareInventory) -> DiagnosisStep:
    problems = []
    for name in library.names:
        problem = inventory.load(name)
        if problem is None:
            return DiagnosisStep(library.step, "ok", f"{name} loads")
        problems.append(" ".join(problem.split()))
    evidence = f"{' or '.join(library.names)} is not installed"
    if not all("No such file" in problem for problem in problems):
        evidence = f"{library.names[0]} does not load: {problems[0]}"
    return DiagnosisStep(
        library.step, "missing", evidence, library.remedy, library.container_remedy
    )


def _check_opencl_driver(inventory: HardwareInventory) -> DiagnosisStep:
    drivers = inventory.opencl_drivers()
    listed = ", ".join(f"{name} ({library})" for name, library in drivers.items())
    if any("igdrcl" in library for library in drivers.values()):
        return DiagnosisStep("OpenCL driver", "ok", listed)
    others = f"; other drivers: {listed}" if drivers else ""
    return DiagnosisStep(
        "OpenCL driver",
        "missing",
        f"no OpenCL driver for Intel GPUs in /etc/OpenCL/vendors{others}",
        plugin_errors.OPENCL_DRIVER,
        _IN_IMAGE.format("intel-opencl-icd"),
    )


def _check_plugin(kind: str, error: str) -> DiagnosisStep:
    explanation = plugin_errors.explain(error)
    if explanation is not None:
        remedy = explanation.remedy
        return DiagnosisStep("plugin", "missing", explanation.meaning, remedy, remedy)
    evidence, remedy = f"the {kind} plugin loads but lists no device", "see the first missing step"
    if error.strip():
        evidence = f"the {kind} plugin reports: {condense(error, 200)}"
        remedy = "see the first missing step, else the documentation of the plugin"
    return DiagnosisStep("plugin", "missing", evidence, remedy, remedy)
