"""What OpenVINO's plugins say when they fail, and what that means: one table, first match wins.

Taken from openvino 2026.4.1, from the plugins themselves as far as they could be made to say it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LOOK = "ovtool devices --why looks further"
NPU_DRIVER = (
    "install Intel's NPU driver: sudo snap install intel-npu-driver on Ubuntu, or the packages"
    " intel-level-zero-npu and intel-driver-compiler-npu of"
    " github.com/intel/linux-npu-driver/releases"
)
OPENCL_LOADER = "sudo apt-get install ocl-icd-libopencl1 intel-opencl-icd"
OPENCL_DRIVER = "sudo apt-get install intel-opencl-icd"


@dataclass(frozen=True, slots=True)
class Known:
    """An error text that is understood; ``meaning`` and ``remedy`` may use its groups.

    ``operations`` says whether single operations of the model may be what it is about.
    """

    pattern: str
    meaning: str
    remedy: str
    operations: bool = False


@dataclass(frozen=True, slots=True)
class Explained:
    """What an error means and what to do about it, in a line each."""

    meaning: str
    remedy: str
    operations: bool = False

    @property
    def line(self) -> str:
        """Both in one line."""
        return f"{self.meaning}; {self.remedy}"


KNOWN: tuple[Known, ...] = (
    Known(
        r"libOpenCL\.so(\.\d+)*: cannot open shared object",
        "no OpenCL loader: libOpenCL.so.1 is not installed",
        OPENCL_LOADER,
    ),
    Known(
        r"\[GPU\] Can't get \w+ property as no supported devices found",
        "the OpenCL loader finds no Intel GPU",
        f"{OPENCL_DRIVER}; {LOOK}",
    ),
    Known(
        r"VCL compiler loading failed|libopenvino_intel_npu_compiler(_loader)?\.so",
        "the NPU's compiler is not installed: this OpenVINO package brings none",
        "ovtool devices --install-npu-compiler gets it for ovtool check; to run, use a machine with"
        f" an NPU, whose driver has a compiler: {NPU_DRIVER}",
    ),
    Known(
        r"Could not find an? (valid )?NPU device|No NPU devices were found|No available backend",
        "the NPU plugin finds no NPU",
        f"{NPU_DRIVER}; {LOOK}",
    ),
    Known(
        r"Missing upper bound for one or more nodes",
        "the NPU's compiler takes no open dimension without an upper bound",
        "fix every dimension with --shape NAME=SHAPE, a number for each ?; sizes inside the model"
        " that depend on values must go",
        operations=True,
    ),
    Known(
        r"Wrong value (?P<asked>\S+) for property key INFERENCE_PRECISION_HINT\."
        r" Supported values: (?P<known>[\w, ]+)",
        "the device does not run in {asked}, only in {known}",
        "ask for one of those with --precision, or for default",
    ),
    Known(
        r"String attribute (?P<name>\S+) is not supported",
        "the compiler does not take an operation of the model, one with the attribute {name}, and"
        " does not say which",
        "replace the operation, which ovtool check finds, or run the model on another device",
        operations=True,
    ),
    Known(
        r'Device with "(?P<name>[^"]+)" name is not registered|'
        r"libopenvino_\w+_plugin\S*\" ?(was )?not found",
        "OpenVINO has no such plugin here",
        "pip install --force-reinstall openvino",
    ),
    Known(
        r'Cannot load library "[^"]*": (?P<library>[^\s:]+): cannot open shared object file',
        "its plugin does not load: {library} is not installed",
        "apt-file search {library} names its package",
    ),
)


def explain(text: str, more: tuple[Known, ...] = ()) -> Explained | None:
    """Return what a plugin's error means by :data:`KNOWN` and then ``more``; None if not known."""
    for known in KNOWN + more:
        found = re.search(known.pattern, text)
        if found:
            groups = {k: (v or "").strip(" .,") for k, v in found.groupdict().items()}
            return Explained(
                known.meaning.format(**groups),
                known.remedy.format(**groups),
                known.operations,
            )
    return None


def readable(text: str) -> str:
    """Return a plugin's exception as one line, without the places in its source code."""
    lines = [line.strip() for line in text.splitlines()]
    kept = [
        line
        for line in lines
        if line and not line.startswith(("Exception from src", "Check '", "While validating node"))
    ]
    return " ".join(kept or lines)[:500]
