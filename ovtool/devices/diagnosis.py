"""Why a GPU or an NPU is not there: what a person would look at, in that order, as data.

Hardware on the PCI bus, kernel module, device nodes and who may open them, the loader and the
driver in user space, and what OpenVINO's plugin says.  Each step says what it saw and what to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ovtool.devices import plugin_errors
from ovtool.devices.hardware import INTEL, NPUS, HardwareInventory, PciDevice
from ovtool.system.host import Unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Status = Literal["ok", "missing", "unknown"]


@dataclass(frozen=True, slots=True)
class DiagnosisStep:
    """One step of the way.

    Args:
        step: What was looked at.
        status: Whether it is there.
        evidence: What was seen.
        remedy: What to do on Debian or Ubuntu; empty where nothing is missing.
        in_container: What to do when this runs in a container; empty where nothing is missing.
    """

    step: str
    status: Status
    evidence: str
    remedy: str = ""
    in_container: str = ""


@dataclass(frozen=True, slots=True)
class _Library:
    """A library that the plugin needs; it may have several names."""

    step: str
    names: tuple[str, ...]
    remedy: str
    in_container: str


@dataclass(frozen=True, slots=True)
class _Kind:
    """What to look for, for one kind of device."""

    title: str
    is_it: Callable[[PciDevice], bool]
    no_hardware: str
    modules: tuple[str, ...]
    module_remedy: str
    nodes: str
    node_remedy: str
    pass_in: str
    libraries: tuple[_Library, ...]
    opencl: bool = False
    """Whether its driver is one of OpenCL's."""


def _is_gpu(pci: PciDevice) -> bool:
    return pci.vendor == INTEL and pci.code.startswith("0x03")


def _is_npu(pci: PciDevice) -> bool:
    return pci.vendor == INTEL and (pci.device in NPUS or pci.code.startswith("0x1200"))


_IN_IMAGE = "in the image: RUN apt-get update && apt-get install -y --no-install-recommends {}"
_NPU_LIBRARIES = (
    "in the image: install the same packages, or mount the host's"
    " libze_intel_npu.so.1 and libnpu_driver_compiler.so"
)
_KINDS = {
    "GPU": _Kind(
        title="Intel GPU",
        is_it=_is_gpu,
        no_hardware="enable it in the firmware's settings, or use a machine that has one; a virtual"
        " machine needs it passed through",
        modules=("i915", "xe"),
        module_remedy="sudo modprobe i915, or xe for Lunar Lake, Battlemage and later; a GPU newer"
        " than the kernel needs a newer kernel",
        nodes="dri/renderD*",
        node_remedy="look for i915 or xe in sudo dmesg: firmware comes with firmware-misc-nonfree"
        " (Debian) or linux-firmware (Ubuntu)",
        pass_in="docker run --device /dev/dri"  # noqa: S106 - no password
        " --group-add $(stat -c %g /dev/dri/renderD128)",
        libraries=(
            _Library(
                "OpenCL loader",
                ("libOpenCL.so.1",),
                "sudo apt-get install ocl-icd-libopencl1",
                _IN_IMAGE.format("ocl-icd-libopencl1 intel-opencl-icd"),
            ),
        ),
        opencl=True,
    ),
    "NPU": _Kind(
        title="Intel NPU",
        is_it=_is_npu,
        no_hardware="Core Ultra processors have one (Meteor Lake and later): enable it in the"
        " firmware's settings, or use such a machine; a virtual machine needs it passed through",
        modules=("intel_vpu",),
        module_remedy="sudo modprobe intel_vpu; it is part of Linux since 6.3, and newer NPUs need"
        " newer kernels",
        nodes="accel/accel*",
        node_remedy="look for intel_vpu in sudo dmesg: its firmware (intel/vpu/*.bin) comes with"
        " intel-fw-npu of github.com/intel/linux-npu-driver/releases, or linux-firmware",
        pass_in="docker run --device /dev/accel/accel0"  # noqa: S106 - no password
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
                _NPU_LIBRARIES,
            ),
        ),
    ),
}


def diagnose(
    kind: str, said: str, machine: HardwareInventory | None = None
) -> tuple[DiagnosisStep, ...]:
    """Return the findings for a device that OpenVINO does not list.

    Args:
        kind: ``CPU``, ``GPU`` or ``NPU``.
        said: What its plugin said when it was asked; empty when it just lists no device.
        machine: Where to look.
    """
    here = machine or HardwareInventory()
    known = _KINDS.get(kind)
    found = [] if known is None else list(_steps(known, here))
    return (*found, _plugin(kind, said))


def reason(findings: Sequence[DiagnosisStep]) -> str:
    """Return why a device is not there, in one line: the first finding that says what is missing.

    What cannot be known here is passed over while a later finding tells more.
    """
    missing = [f for f in findings if f.status == "missing"]
    first = next(iter(missing or [f for f in findings if f.status != "ok"]), None)
    return "" if first is None else first.evidence


def _steps(kind: _Kind, machine: HardwareInventory) -> Iterator[DiagnosisStep]:
    if machine.not_linux is not None:
        libraries = [library.step for library in kind.libraries]
        for step in ("hardware", "kernel module", "device node", *libraries):
            yield DiagnosisStep(step, "unknown", machine.not_linux.because)
        return
    yield _hardware(kind, machine)
    yield _module(kind, machine)
    yield _node(kind, machine)
    for library in kind.libraries:
        yield _library(library, machine)
    if kind.opencl:
        yield _opencl_driver(machine)


def _hardware(kind: _Kind, machine: HardwareInventory) -> DiagnosisStep:
    found = machine.pci()
    if isinstance(found, Unknown):
        return DiagnosisStep("hardware", "unknown", f"not known here, because of {found.because}")
    mine = [device for device in found if kind.is_it(device)]
    if mine:
        return DiagnosisStep("hardware", "ok", "; ".join(device.text for device in mine))
    others = [d for d in found if kind.opencl and d.code.startswith("0x03")]
    beside = f"; another maker's display: {others[0].text}" if others else ""
    return DiagnosisStep(
        "hardware",
        "missing",
        f"no {kind.title} on the PCI bus (devices looked at: {len(found)}{beside})",
        kind.no_hardware,
        "the same on the host: a container sees the host's bus",
    )


def _module(kind: _Kind, machine: HardwareInventory) -> DiagnosisStep:
    names = " or ".join(kind.modules)
    found = machine.modules()
    if isinstance(found, Unknown):
        return DiagnosisStep("kernel module", "unknown", f"not known here, because {found.because}")
    there = [name for name in kind.modules if name in found]
    if there:
        return DiagnosisStep("kernel module", "ok", f"{', '.join(there)} loaded")
    return DiagnosisStep(
        "kernel module",
        "missing",
        f"the kernel module {names} is not loaded",
        kind.module_remedy,
        "the same on the host: a container has the host's kernel",
    )


def _node(kind: _Kind, machine: HardwareInventory) -> DiagnosisStep:
    nodes = machine.nodes(kind.nodes)
    if not nodes:
        return DiagnosisStep(
            "device node",
            "missing",
            f"no /dev/{kind.nodes}: no hardware, no kernel driver, or not passed in",
            kind.node_remedy,
            kind.pass_in,
        )
    listed = ", ".join(f"{n.path} (group {n.group})" for n in nodes)
    if any(node.may_open for node in nodes):
        return DiagnosisStep("device node", "ok", f"{listed}, {machine.user} may open it")
    group = nodes[0].group or "render"
    return DiagnosisStep(
        "device node",
        "missing",
        f"{machine.user} may not open {listed}",
        f"sudo usermod -aG {group} {machine.user}, then log in again",
        kind.pass_in,
    )


def _library(library: _Library, machine: HardwareInventory) -> DiagnosisStep:
    problems = []
    for name in library.names:
        problem = machine.load(name)
        if problem is None:
            return DiagnosisStep(library.step, "ok", f"{name} loads")
        problems.append(_one_line(problem))
    if not all("No such file" in problem for problem in problems):
        said = f"{library.names[0]} does not load: {problems[0]}"
    elif len(library.names) > 1:
        said = f"neither {' nor '.join(library.names)} is installed"
    else:
        said = f"{library.names[0]} is not installed"
    return DiagnosisStep(library.step, "missing", said, library.remedy, library.in_container)


def _opencl_driver(machine: HardwareInventory) -> DiagnosisStep:
    drivers = machine.opencl_drivers()
    listed = ", ".join(f"{name} ({library})" for name, library in drivers.items())
    if any("igdrcl" in library for library in drivers.values()):
        return DiagnosisStep("OpenCL driver", "ok", listed)
    beside = f"; there is {listed}" if drivers else ""
    return DiagnosisStep(
        "OpenCL driver",
        "missing",
        f"no OpenCL driver of Intel's GPUs in /etc/OpenCL/vendors{beside}",
        plugin_errors.OPENCL_DRIVER,
        _IN_IMAGE.format("intel-opencl-icd"),
    )


def _plugin(kind: str, said: str) -> DiagnosisStep:
    if not said.strip():
        remedy = "the first step above that is missing says what to do"
        return DiagnosisStep(
            "plugin", "missing", f"OpenVINO's {kind} plugin loads and finds none", remedy, remedy
        )
    explained = plugin_errors.explain(said)
    if explained is None:
        last = plugin_errors.condense(said)
        report = "the first step above that is missing, or else the plugin's documentation"
        return DiagnosisStep(
            "plugin", "missing", f"the {kind} plugin says: {last[:200]}", report, report
        )
    return DiagnosisStep("plugin", "missing", explained.meaning, explained.remedy, explained.remedy)


def _one_line(text: str) -> str:
    return " ".join(text.split())
