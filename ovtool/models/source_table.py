"""The kinds of source that can be read, and how a reference is recognised as one of them."""

from __future__ import annotations

import re
from pathlib import Path

from ovtool.core.errors import InputError
from ovtool.core.registry import Entry, Registry
from ovtool.core.variant import RECORD

SOURCES = Registry(
    "source",
    {
        "ir": Entry("ovtool.models.ir:read", "OpenVINO IR: x.xml with x.bin beside it"),
        "onnx": Entry("ovtool.models.onnx:read", "ONNX: x.onnx"),
        "tensorflow": Entry(
            "ovtool.models.tensorflow:read", "TensorFlow: SavedModel folder or frozen graph x.pb"
        ),
        "tflite": Entry("ovtool.models.tensorflow:read_tflite", "TensorFlow Lite: x.tflite"),
        "paddle": Entry("ovtool.models.paddle:read", "Paddle: x.pdmodel with x.pdiparams"),
        "torch": Entry(
            "ovtool.models.torch:read",
            "torch module made by a function of your own code: module:function",
        ),
        "torch-export": Entry(
            "ovtool.models.torch_export:read", "torch ExportedProgram: x.pt2 by torch.export.save"
        ),
        "torch-file": Entry(
            "ovtool.models.torch_file:read",
            "pickled torch module or TorchScript, only with --trust: x.pt, x.pth, x.bin, ...",
        ),
        "sample": Entry(
            "ovtool.models.bundled.models:read", "pretrained model of a Python package", "demo"
        ),
    },
)

SUFFIXES = {
    ".xml": "ir",
    ".onnx": "onnx",
    ".pb": "tensorflow",
    ".tflite": "tflite",
    ".pdmodel": "paddle",
    ".json": "paddle",
    ".pt2": "torch-export",
    ".pt": "torch-file",
    ".pth": "torch-file",
    ".bin": "torch-file",
    ".ckpt": "torch-file",
    ".pkl": "torch-file",
    ".safetensors": "torch-file",
}

# One letter before the colon is a drive of Windows, not a module.
_FUNCTION = re.compile(r"[A-Za-z_][\w.]+:[A-Za-z_]\w*")


def kind_of(reference: str) -> str:
    """Return which row of :data:`SOURCES` reads a reference.

    Raises:
        InputError: It is a variant already, or nothing that can be recognised.
    """
    if reference.startswith("sample:"):
        return "sample"
    path = Path(reference)
    if path.is_dir():
        if (path / RECORD).is_file():
            raise InputError(
                f"{path} is a variant already, not a source", "compress, evaluate or sweep it as is"
            )
        return "tensorflow"
    if path.suffix.lower() in SUFFIXES:
        return SUFFIXES[path.suffix.lower()]
    if _FUNCTION.fullmatch(reference):
        return "torch"
    if not path.exists():
        raise InputError(
            f"model not found: {reference}",
            "give a file, a SavedModel folder, module:function or sample:NAME",
        )
    known = ", ".join(SUFFIXES)
    raise InputError(f"not a kind of model that is known: {reference}", f"known: {known}")
