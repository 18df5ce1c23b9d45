"""Errors of OpenVINO's plugins, their meaning and remedy: one table, the first match wins.

The texts are those of openvino 2026.4.1, provoked in the plugins where possible.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_DIAGNOSE = "see ovtool devices --why"
NPU_DRIVER = (
    "install Intel's NPU driver: sudo snap install intel-npu-driver on Ubuntu, or the packages"
    " intel-level-zero-npu and intel-driver-compiler-npu from"
    " github.com/intel/linux-npu-driver/releases"
)
OPENCL_LOADER = "sudo apt-get install ocl-icd-libopencl1 intel-opencl-icd"
OPENCL_DRIVER = "sudo apt-get install intel-opencl-icd"


@dataclass(frozen=True, slots=True)
class KnownError:
    """A known error.

    Args:
        pattern: Regular expression; ``meaning`` and ``remedy`` may use its groups.
        operations: Whether single operations of the model may be the cause.
    """

    id: str
    pattern: str
    meaning: str
    remedy: str
    operations: bool = False


@dataclass(frozen=True, slots=True)
class Explanation:
    """The meaning of an error and its remedy, one line each; see :class:`KnownError`."""

    id: str
    meaning: str
    remedy: str
    operations: bool = False

    @property
    def line(self) -> str:
        """Meaning and remedy on one line."""
        return f"{self.meaning}; {self.remedy}"


KNOWN_ERRORS: tuple[KnownError, ...] = (
    KnownError(
        "no-opencl-loader",
        r"libOpenCL\.so(\.\d+)*: cannot open shared object",
        "the OpenCL loader libOpenCL.so.1 is not installed",
        OPENCL_LOADER,
    ),
    KnownError(
        "no-gpu",
        r"\[GPU\] Can't get \w+ property as no supported devices found",
        "the OpenCL loader finds no Intel GPU",
        f"{OPENCL_DRIVER}; {_DIAGNOSE}",
    ),
    KnownError(
        "no-npu-compiler",
        r"VCL compiler loading failed|libopenvino_intel_npu_compiler(_loader)?\.so",
        "the NPU compiler is not installed: this OpenVINO package does not include it",
        "for ovtool check: ovtool devices --install-npu-compiler; to run, use a machine with an NPU"
        f" and its driver: {NPU_DRIVER}",
    ),
    KnownError(
        "no-npu",
        r"Could not find an? (valid )?NPU device|No NPU devices were found|No available backend",
        "the NPU plugin finds no NPU",
        f"{NPU_DRIVER}; {_DIAGNOSE}",
    ),
    KnownError(
        "open-dimension",
        r"Missing upper bound for one or more nodes",
        "the NPU compiler does not support open dimensions without an upper bound",
        "fix every dimension with --shape NAME=SHAPE; remove sizes inside the model that depend on"
        " values",
        operations=True,
    ),
    KnownError(
        "precision",
        r"Wrong value (?P<requested>\S+) for property key INFERENCE_PRECISION_HINT\."
        r" Supported values: (?P<supported>[\w, ]+)",
        "the device does not support {requested}, only {supported}",
        "choose one of them with --precision, or default",
    ),
    KnownError(
        "attribute",
        r"String attribute (?P<name>\S+) is not supported",
        "the compiler does not support an operation with the attribute {name}",
        "replace the operation, which ovtool check identifies, or use another device",
        operations=True,
    ),
    KnownError(
        "no-plugin",
        r'Device with "(?P<name>[^"]+)" name is not registered|'
        r"libopenvino_\w+_plugin\S*\" ?(was )?not found",
        "this OpenVINO installation has no such plugin",
        "pip install --force-reinstall openvino",
    ),
    KnownError(
        "library",
        r'Cannot load library "[^"]*": (?P<library>[^\s:]+): cannot open shared object file',
        "the plugin does not load: {library} is not installed",
        "find its package: apt-file search {library}",
    ),
)


def explain(text: str, more: tuple[KnownError, ...] = ()) -> Explanation | None:
    """Explain a plugin's error by :data:`KNOWN_ERRORS`, then ``more``; None for an unknown one."""
    for known in KNOWN_ERRORS + more:
        match = re.search(known.pattern, text)
        if match:
            groups = {k: (v or "").strip(" .,") for k, v in match.groupdict().items()}
            meaning, remedy = known.meaning.format(**groups), known.remedy.format(**groups)
            return Explanation(known.id, meaning, remedy, known.operations)
    return None
