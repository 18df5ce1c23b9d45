"""What compilers say of a model that they reject, in words, with what to do about it.

One table: the first row whose pattern is found in the text stands for it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Explained:
    """An error in words.

    Args:
        meaning: What is wrong, in one line.
        remedy: What to do about it.
        operations: Whether single operations of the model may be what it is about.
    """

    meaning: str
    remedy: str
    operations: bool = True


INSTALL = "ovtool devices --install-npu-compiler"
_STATIC = "give sizes to open dimensions with --shape; sizes that depend on values must go"

_TABLE: tuple[tuple[str, Explained], ...] = (
    (
        r"Missing upper bound for one or more nodes",
        Explained("a size inside the model is open and has no upper bound", _STATIC),
    ),
    (
        r"Wrong value (\S+) for property key INFERENCE_PRECISION_HINT\. Supported values: ([^|]+)",
        Explained(
            r"the device does not compute in \1, only in \2",
            "leave --precision at default",
            operations=False,
        ),
    ),
    (
        r"VCL compiler loading failed|openvino_intel_npu_compiler\S*: cannot open",
        Explained("the NPU's compiler library is no part of this OpenVINO package", INSTALL, False),
    ),
    (
        r"Could not find an NPU device|No available devices|NPU driver .*not found",
        Explained(
            "the compiler of the NPU's driver was asked for, and there is no NPU here",
            "name a platform, as --device NPU.4000: ovtool's offline compiler needs no driver",
            False,
        ),
    ),
    (
        r"did not end within",
        Explained("the compile took too long and was ended", "try a smaller model or batch", False),
    ),
    (
        r"the compiler died",
        Explained(
            "the compiler itself died",
            "report it to its makers with the model, or replace the operations named",
        ),
    ),
    (
        r"String attribute \S+ is not supported",
        Explained(
            "the compiler cannot take an operation over and does not name it",
            "replace the operations named, or run them on another device (HETERO:NPU,CPU)",
        ),
    ),
    (
        r"[Uu]nsupported|not supported|[Uu]nknown operation|isn't supported",
        Explained(
            "the compiler does not support something in the model",
            "replace the operations named, or run them on another device (HETERO:NPU,CPU)",
        ),
    ),
)

_OTHER = Explained(
    "the compiler rejects the model",
    "replace the operations named, or run them on another device (HETERO:NPU,CPU)",
)


def explain(said: str) -> Explained:
    """Return what an error means; the text may be several lines."""
    for pattern, row in _TABLE:
        found = re.search(pattern, said)
        if found:
            meaning = found.expand(row.meaning).strip() if found.groups() else row.meaning
            return Explained(meaning, row.remedy, row.operations)
    return _OTHER


def telling(said: str) -> str:
    """Return what was said without the places in its source code, in at most 300 characters."""
    noise = re.compile(r"^(Exception from src|Check '|While validating|\s*$)")
    parts = [part.strip() for part in re.split(r"\s*\|\s*|\n", said) if not noise.match(part)]
    text = re.sub(r"Exception from src\S+:\d+:\s*", "", " ".join(parts))
    return text if len(text) <= 300 else f"{text[:297]}..."
